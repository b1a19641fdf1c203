//! The robot's node: `affordance_node --ros-args -r image:=/camera/image --params-file FILE`.

use std::{
    convert::Infallible,
    io::{Write, stderr, stdout},
    os::unix::process::CommandExt,
    process::Command,
};

use anyhow::anyhow;
use clap::Parser;
use looptrans_ros::{
    config::{ParameterSet, RosArgs, config_text},
    error::whole_line,
    memory,
    ros::{self, NODE_NAME, NodeError, log_file},
    telemetry,
};

/// Exit status when the model hangs: EX_SOFTWARE of sysexits.h. The node is sound: start it anew.
const HUNG: i32 = 70;
/// Exit status when the GPU is lost to this process: EX_OSERR of sysexits.h. Another process can use it: start it anew.
const CONTEXT_LOST: i32 = 71;

/// Affordance heatmaps and grasp regions from camera images, over ROS 2.
///
/// Set it up by ROS parameters and remap rules: affordance_node --ros-args -r image:=/camera/image --params-file FILE
#[derive(Debug, Parser)]
#[command(name = NODE_NAME, version)]
struct Cli {
    /// Print a parameter file with every parameter, its default and what it does, and exit
    #[arg(long)]
    print_config: bool,
}

fn main() {
    memory::settle();
    telemetry::refuse();
    let code = match start() {
        Ok(()) => 0,
        Err(error) => {
            // A closed stderr must not turn into a panic.
            let _ = writeln!(stderr(), "{NODE_NAME}: {}", whole_line(&error.to_string()));
            match error.downcast_ref() {
                Some(NodeError::Hung(_)) => HUNG,
                Some(NodeError::ContextLost(_)) => CONTEXT_LOST,
                _ => 1,
            }
        }
    };
    let _ = stdout().flush();
    // Without C++'s destructors of static objects: a model that is being loaded at this moment still works with them, which
    // has ended in SIGSEGV. Whatever is ours was let go by `start`.
    signal_hook::low_level::exit(code)
}

fn start() -> anyhow::Result<()> {
    let args = RosArgs::from_process(NODE_NAME)?;
    let cli = Cli::parse_from(std::iter::once(NODE_NAME).chain(args.user_args.iter().map(String::as_str)));
    if cli.print_config {
        stdout().write_all(config_text().as_bytes())?;
        return Ok(());
    }
    let parameters = ParameterSet::from_overrides(&args.overrides)?;
    if let Some(obstacle) = log_file::obstacle(&args) {
        let _ = writeln!(stderr(), "[WARN] [{NODE_NAME}]: {obstacle}");
        match restart(&log_file::WITHOUT_LOG_FILE)? {}
    }
    if let Some(summary) = ros::run(&args, parameters, std::process::abort)? {
        writeln!(stdout(), "{}", serde_json::to_string(&summary)?)?;
    }
    Ok(())
}

/// Begins this process anew with more arguments: rcl gets them from the process, and they cannot be changed within it.
fn restart(more: &[&str]) -> anyhow::Result<Infallible> {
    let mut args = std::env::args_os();
    let called = args.next().unwrap_or_else(|| NODE_NAME.into());
    let program = std::env::current_exe();
    let error = program.map_or_else(|error| error, |path| Command::new(path).arg0(called).args(args).args(more).exec());
    Err(anyhow!("cannot start anew with {}: {error}", more.join(" ")))
}
