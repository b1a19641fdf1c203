//! The commands of `looptrans`: each parses its arguments, calls the library and prints what came of it.

#[cfg(feature = "train")]
mod ablate;
mod bench;
#[cfg(feature = "train")]
mod benchmark;
#[cfg(feature = "train")]
mod cluster;
mod convert;
mod data;
mod eval;
mod export;
#[cfg(feature = "train")]
mod given;
#[cfg(feature = "train")]
mod losses;
mod predict;
#[cfg(feature = "train")]
mod pretrain;
mod progress;
#[cfg(feature = "train")]
mod store;
#[cfg(feature = "train")]
mod study;
mod synth;
#[cfg(feature = "train")]
mod train;

use std::io::{self, Write};

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Affordance heatmaps and grasp regions, offline.
#[derive(Debug, Parser)]
#[command(name = "looptrans", version, about, propagate_version = true)]
#[cfg_attr(
    not(feature = "train"),
    command(
        after_help = "losses, store, train, cluster, pretrain, ablate and benchmark are in builds with --features train alone (README, \
                      Train)."
    )
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Convert),
    Data(data::Data),
    Eval(eval::Eval),
    Synth(synth::Synth),
    SeedWeights(export::SeedWeights),
    Export(export::Export),
    Predict(predict::Predict),
    Bench(bench::Bench),
    #[cfg(feature = "train")]
    Losses(losses::Losses),
    #[cfg(feature = "train")]
    Store(store::Store),
    #[cfg(feature = "train")]
    Train(train::Train),
    #[cfg(feature = "train")]
    Cluster(cluster::Cluster),
    #[cfg(feature = "train")]
    Pretrain(pretrain::Pretrain),
    #[cfg(feature = "train")]
    Ablate(ablate::Ablate),
    #[cfg(feature = "train")]
    Benchmark(benchmark::Benchmark),
}

/// Runs the command.
///
/// # Errors
/// Whatever stopped it, for one line on stderr.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Convert(arguments) => arguments.run(),
        Command::Data(arguments) => arguments.run(),
        Command::Eval(arguments) => arguments.run(),
        Command::Synth(arguments) => arguments.run(),
        Command::SeedWeights(arguments) => arguments.run(),
        Command::Export(arguments) => arguments.run(),
        Command::Predict(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        #[cfg(feature = "train")]
        Command::Losses(arguments) => arguments.run(),
        #[cfg(feature = "train")]
        Command::Store(arguments) => alone("store build").and_then(|()| arguments.run()),
        #[cfg(feature = "train")]
        Command::Train(arguments) => arguments.run(),
        #[cfg(feature = "train")]
        Command::Cluster(arguments) => alone("cluster").and_then(|()| arguments.run()),
        #[cfg(feature = "train")]
        Command::Pretrain(arguments) => alone("pretrain").and_then(|()| arguments.run()),
        #[cfg(feature = "train")]
        Command::Ablate(arguments) => alone("ablate").and_then(|()| arguments.run()),
        #[cfg(feature = "train")]
        Command::Benchmark(arguments) => alone("benchmark").and_then(|()| arguments.run()),
    }
}

/// Refuses to be one of several processes, which would overwrite each other's files.
#[cfg(feature = "train")]
fn alone(command: &str) -> anyhow::Result<()> {
    match crate::train::ranks::launched() {
        0 | 1 => Ok(()),
        many => anyhow::bail!(
            "{command}: expected one process (of all commands `train` alone shares its work), found {many}"
        ),
    }
}

/// Prints a report to stdout: as JSON, or as the table `rows` of (name, value).
fn print_report(json: bool, report: &impl Serialize, rows: &[(&str, String)]) -> anyhow::Result<()> {
    if json {
        return print_json(report);
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    print_text(&lines.concat())
}

fn print_json(report: &impl Serialize) -> anyhow::Result<()> {
    print_text(&(serde_json::to_string_pretty(report)? + "\n"))
}

fn print_text(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
