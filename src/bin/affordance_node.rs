//! The robot's node: `affordance_node --ros-args -r image:=/camera/image --params-file FILE`.

use std::{
    env,
    io::{Write, stderr, stdout},
    process::ExitCode,
};

use clap::Parser;
use looptrans_ros::{
    config::{NodeSettings, RosArgs},
    ros::{self, NODE_NAME},
};

/// Affordance heatmaps and grasp regions from camera images, over ROS 2. Everything else is set by ROS parameters and
/// remap rules, after --ros-args.
#[derive(Debug, Parser)]
#[command(name = NODE_NAME, version)]
struct Cli {
    /// Print every parameter with the value it would have, as a parameter file, and exit
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr must not turn into a panic.
            let _ = writeln!(stderr(), "{NODE_NAME}: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args_os()
        .map(|argument| argument.into_string().map_err(|bad| anyhow::anyhow!("command line: not UTF-8: {bad:?}")))
        .collect::<Result<_, _>>()?;
    let args = RosArgs::parse(arguments.get(1..).unwrap_or_default(), NODE_NAME)?;
    let program = arguments.first().map_or(NODE_NAME, String::as_str).to_owned();
    let cli = Cli::parse_from(std::iter::once(program).chain(args.user_args.iter().cloned()));
    let settings = NodeSettings::from_overrides(&args.overrides)?;
    if cli.print_config {
        write!(stdout(), "{}", settings.to_yaml())?;
        return Ok(());
    }
    if let Some(summary) = ros::run(&args, settings)? {
        writeln!(stdout(), "{}", serde_json::to_string(&summary)?)?;
    }
    Ok(())
}
