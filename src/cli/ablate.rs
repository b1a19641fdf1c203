//! `looptrans ablate`.

use std::path::PathBuf;

use clap::Args;

use super::study::{Comparison, StudyArguments};
use crate::train::study::ablation;

/// Train the rows of the paper's ablation and print the table: what each part of LoopTrans is worth.
///
/// Rows: baseline (LOCATE without its choice of parts, and L_corr), cam (+ shared activation map), denoise (+ L_dill and noise
/// heads), cam_pixel, cam_denoise, looptrans (all). A row is judged by P, but by G_ego where there is a shared activation map
/// and no L_pixel, because there a loss trains G_ego on the action and none trains P on it; the scores of both maps are in the
/// table. On AGD20K's Seen split the paper's figures stand beside.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans ablate AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors --out runs/ablation
  looptrans ablate synthaff --split Seen_full --backbone small.safetensors --out runs/ablation --seeds 1,2,3,4,5
  looptrans ablate AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors --out runs/two \\
      --rows baseline,looptrans --seeds 42 --estimate

All rows read one feature store. How long it takes is measured and said before it starts (--estimate: and no more). Ctrl-C
ends it after the step it is in, and the same command goes on; a run that is done is not done again. Further --seeds and
--rows may be asked for in the same folder, other settings, pictures or backbones are refused.

In the folder: table.md, table.json, figure.svg, pictures_SET.png (test pictures, heat of the first and the last row, ground
truth), runs/ROW/seed_N/SET/metrics.csv and report.html. The network after the last epoch is tested; no epoch is chosen by
test scores. On a CPU with the same number of threads the same seeds give the same table.")]
pub(super) struct Ablate {
    /// The dataset's folder, as for `looptrans data check`.
    data: PathBuf,
    /// The split's folder in the dataset's.
    #[arg(long, value_name = "FOLDER")]
    split: Option<String>,
    #[command(flatten)]
    study: StudyArguments,
}

impl Ablate {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let settings = self.study.settings(self.split.as_deref())?;
        let splits = vec![settings.data.split.clone()];
        self.study.run(Comparison { command: "ablate", data: &self.data, splits, arms: ablation(&settings)? })
    }
}
