//! `looptrans losses`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    export::bundle::write_file,
    train::loss_report::{Clusters, LossReport, Settings, System, loss_report},
};

/// Compute every loss term, their total and all gradient norms of a fixed batch, for checks from outside.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans losses --weights looptrans.safetensors --batch batch.safetensors --json losses.json
  looptrans losses --weights looptrans.safetensors --clusters k-means --batch batch.safetensors
  looptrans losses --system locate --weights locate.safetensors --batch batch.safetensors --json -

The batch is a safetensors file of `ego` [B, 3, H, W] and `exo` [B, n, 3, H, W], f32, normalised already, and `label`
[B], int64: H and W multiples of the patch (224 in the published method), n exocentric pictures for each egocentric one
(3 as published). The heads run in training mode, the backbone is frozen; no file changes but the one named by --json.

So that nothing is drawn at random, LOCATE's k-means starts from the first, the middle and the last active patch of each
sample, and WSMA's factorisation from bases by rule.")]
pub(super) struct Losses {
    /// The network.
    #[arg(long, value_enum, default_value_t = SystemArgument::Looptrans)]
    system: SystemArgument,
    /// Weights of the network, as `looptrans convert` writes them.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Where LoopTrans' parts come from: a file with concept clusters, or k-means [default: the clusters in --weights].
    #[arg(long, value_name = "FILE|k-means")]
    clusters: Option<PathBuf>,
    /// The batch.
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,
    /// Behave as published also where it looks like a mistake: a part without patches passes for LoopTrans' background.
    #[arg(long)]
    reference_quirks: bool,
    /// Write the report as JSON; - writes it to stdout.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SystemArgument {
    Looptrans,
    Locate,
    Wsma,
}

impl Losses {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let system = match self.system {
            SystemArgument::Looptrans => System::LoopTrans,
            SystemArgument::Locate => System::Locate,
            SystemArgument::Wsma => System::Wsma,
        };
        if system != System::LoopTrans && (self.clusters.is_some() || self.reference_quirks) {
            anyhow::bail!("--clusters and --reference-quirks are for --system looptrans: the others have no clusters");
        }
        let clusters = match &self.clusters {
            None => Clusters::InWeights,
            Some(name) if name.as_os_str() == "k-means" => Clusters::KMeans,
            Some(file) => Clusters::File(file.clone()),
        };
        let report = loss_report(&Settings {
            system,
            weights: self.weights.clone(),
            clusters,
            batch: self.batch.clone(),
            reference_quirks: self.reference_quirks,
        })?;
        match &self.json {
            Some(path) if path.as_os_str() == "-" => super::print_report(true, &report, &[]),
            Some(path) => Ok(write_file(path, &serde_json::to_vec_pretty(&report)?)?),
            None => print_table(&report),
        }
    }
}

fn print_table(report: &LossReport) -> anyhow::Result<()> {
    let losses = report.losses.iter().map(|(name, value)| (*name, format!("{value:.6}")));
    let mut rows: Vec<(&str, String)> = losses.chain([("total", format!("{:.6}", report.total))]).collect();
    rows.extend(report.gradient_norms.iter().map(|(name, norm)| (name.as_str(), format!("gradient {norm:.4e}"))));
    super::print_report(false, report, &rows)
}
