//! `looptrans convert`.

use std::path::PathBuf;

use clap::Args;

use crate::convert::{self, ActionList, Hints, Kind, Report, Settings};

/// Turn a published checkpoint into a weights file, without Python.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans convert best_looptrans_seen.pth --out looptrans.safetensors
  looptrans convert dino_deitsmall16_pretrain.pth --out dino.safetensors
  looptrans convert dino_deitsmall16_pretrain_full_checkpoint.pth --key student --out student.safetensors
  looptrans convert cluster_seen.pth --out concepts.safetensors
  looptrans convert RN50.pt --out clip.safetensors
  looptrans convert mine.pth --actions kitchen_actions.txt --out kitchen.safetensors

Reads what torch.save writes (.pth, .pt, .pth.tar; zip or old format), the parameters of TorchScript archives (OpenAI's CLIP)
and safetensors, of DINO, LoopTrans, LOCATE, WSMA, LoopTrans' concept clusters and CLIP's text encoder (for WSMA), and executes
nothing of it. Numbers become f32. The number of classes tells the dataset:
36 actions are AGD20K Seen, 25 its Unseen split, 10 HICO-IIF; for others name them with --actions.")]
pub(super) struct Convert {
    /// The checkpoint.
    checkpoint: PathBuf,
    /// The safetensors file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The actions in class order: a vocabulary (agd20k-seen, agd20k-unseen, hico-iif), a list like cut,hold,open, or a
    /// file with one per line or a YAML list.
    #[arg(long, value_name = "NAME|LIST|FILE")]
    actions: Option<String>,
    /// The state dict to take, where the checkpoint holds several [default: DINO's teacher].
    #[arg(long)]
    key: Option<String>,
    /// Attention heads of a block; needed only where a head has not 64 channels, as it has in every DINO model.
    #[arg(long)]
    heads: Option<usize>,
    /// Replace a file that is already there.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Convert {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let actions = self.actions.as_deref().map(ActionList::read).transpose()?;
        let report = convert::convert(&Settings {
            checkpoint: self.checkpoint.clone(),
            out: self.out.clone(),
            key: self.key.clone(),
            hints: Hints { actions, heads: self.heads },
            force: self.force,
        })?;
        super::print_report(self.json, &report, &rows(&report))
    }
}

fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let Report { dim, depth, heads, patch, side, .. } = report;
    let nested = report.nested_under.as_ref().map(|key| format!(", under {key:?}")).unwrap_or_default();
    let mut rows = vec![
        ("checkpoint", format!("{} ({}{nested})", report.checkpoint.path.display(), report.kind.name())),
        ("sha256", report.checkpoint.sha256.clone()),
    ];
    rows.push(match report.kind {
        Kind::Clip => ("text encoder", format!("{depth} blocks, {dim} channels, {heads} heads")),
        Kind::Concepts => ("concepts", format!("clusters for a backbone of {dim} channels")),
        _ => ("backbone", format!("{depth} blocks, {dim} channels, {heads} heads, patch {patch}, image {side}x{side}")),
    });
    if !report.actions.is_empty() {
        let split = report.split.map(|split| format!(" ({split})")).unwrap_or_default();
        rows.push(("actions", format!("{}{split}, {} noise heads", report.actions.len(), report.noise_heads)));
    }
    rows.push(("tensors", format!("{} ({:.2} M numbers)", report.tensors, report.parameters as f64 / 1e6)));
    if !report.ignored.is_empty() {
        rows.push(("left out", format!("{} tensors that have no part in it", report.ignored.len())));
    }
    rows.push(("weights", format!("{} ({} bytes)", report.weights.path.display(), report.weights.bytes)));
    rows
}
