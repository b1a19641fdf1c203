//! `looptrans benchmark`.

use std::path::PathBuf;

use clap::Args;

use super::study::{Comparison, StudyArguments};
use crate::train::study::systems;

/// Train the baseline, each part of the closed loop, WSMA, LOCATE and LoopTrans on the same pictures, and print the table.
///
/// Rows: baseline, cam, denoise, cam_pixel, cam_denoise (the parts, as in `looptrans ablate`), wsma, locate, looptrans. Each is
/// trained on every split's own training pictures and tested on its test pictures; splits with the same training pictures
/// (Seen and Unseen of a drawn set) share their runs. WSMA and LOCATE have their published losses, and the epochs, batch,
/// augmentation and optimiser of the others; LOCATE also their saliency (looptrans.options.saliency).
///
/// WSMA needs --clip. Without it its row is wsma_no_text: one learned vector for each action stands in the text encoder's
/// place, which is not the published method. A backbone whose channels are no multiple of 64 can't carry WSMA: name the other
/// --rows then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans synth --out synthaff --seed 1
  looptrans benchmark synthaff --backbone small.safetensors --out runs/benchmark --estimate
  looptrans benchmark synthaff --backbone small.safetensors --out runs/benchmark
  looptrans benchmark AGD20K --splits Seen,Unseen --backbone dino.safetensors --clip clip.safetensors --out runs/agd20k --half

All runs read one feature store, which has every picture once, but WSMA's: these read another one beside it (STORE-two-blocks, of
twice the size). How long it takes is measured and said before it starts
(--estimate: and no more). Ctrl-C ends it after the step it is in, and the same command goes on; a run that is done is not
done again. Further --seeds and --rows may be asked for in the same folder, other settings, pictures or backbones are refused.

In the folder: table.md, table.json, figure.svg, pictures_SET.png (test pictures, heat of the first and the last row, of WSMA and
LOCATE, ground truth), runs/ROW/seed_N/SET/metrics.csv and report.html. The network after the last epoch is tested; no epoch is
chosen by test scores. The table has what a uniform map and a Gaussian on the centre score. On a CPU with the same number of threads the
same seeds give the same table.")]
pub(super) struct Benchmark {
    /// A drawn dataset (`looptrans synth`), or any whose splits lie in one folder.
    data: PathBuf,
    /// The splits' folders.
    #[arg(long, value_name = "FOLDERS", value_delimiter = ',', default_values_t = crate::synth::splits())]
    splits: Vec<String>,
    /// CLIP's text encoder for WSMA: safetensors, as `looptrans convert` makes them of OpenAI's RN50.pt (or a ViT's).
    #[arg(long, value_name = "FILE")]
    clip: Option<String>,
    #[command(flatten)]
    study: StudyArguments,
}

impl Benchmark {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut settings = self.study.settings(None)?;
        // The command's own list says which.
        settings.data.split = None;
        let splits = self.splits.iter().cloned().map(Some).collect();
        let arms = systems(&settings, self.clip.as_deref())?;
        self.study.run(Comparison { command: "benchmark", data: &self.data, splits, arms })
    }
}
