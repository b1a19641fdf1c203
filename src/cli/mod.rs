//! The commands of `looptrans`: each parses its arguments, calls the library and prints what came of it.

mod convert;
mod export;

use std::io::{self, Write};

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Affordance heatmaps and grasp regions, offline.
#[derive(Debug, Parser)]
#[command(name = "looptrans", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Convert),
    SeedWeights(export::SeedWeights),
    Export(export::Export),
}

/// Runs the command.
///
/// # Errors
/// Whatever stopped it, for one line on stderr.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Convert(arguments) => arguments.run(),
        Command::SeedWeights(arguments) => arguments.run(),
        Command::Export(arguments) => arguments.run(),
    }
}

/// Prints a report to stdout: as JSON, or as the table `rows` of (name, value).
fn print_report(json: bool, report: &impl Serialize, rows: &[(&str, String)]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        writeln!(out, "{name:width$}  {value}")?;
    }
    Ok(())
}
