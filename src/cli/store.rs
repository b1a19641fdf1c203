//! `looptrans store`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{
    data::LIMITS,
    given::{self, assignment, device},
    progress,
};
use crate::train::{
    ranks::Alone,
    run::{Device, Job},
    settings::Assignment,
    store::{Builder, Precision, Progress, Recipe, Volume},
};

/// Keep what the frozen backbone says of a dataset's pictures, for `looptrans train --store`.
#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Build(Build),
}

/// Run the backbone once on some augmented variants of each training picture and on the test pictures.
///
/// Training on the store then draws from these variants and does not run the backbone any more. ViT-S/16 at 224 pixels takes
/// 306 KB a view (keys 301, CLS attention 5), half of it with --half; what the whole store takes is said before anything is computed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans store build AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors \\
      --variants 4 --half --out stores/seen
  looptrans train AGD20K --settings config/train/looptrans_agd20k_seen.yaml --backbone dino.safetensors --out runs/seen \\
      --store stores/seen

Ctrl-C, kill -9 or a full disk cost the last 64 views at most: the same command goes on. Pictures that changed in between are
computed again. A store serves every run on the same backbone, augmentation, pictures and keys: LoopTrans and LOCATE, of
the last block, can share one where they augment alike; WSMA, of the last two, needs its own (--set system=wsma).

Building on a GPU is written but was never run.")]
struct Build {
    /// The dataset's folder, as for `looptrans data check`.
    data: PathBuf,
    /// The store's folder.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// DINO's weights, or a whole model's whose backbone to take, as `looptrans convert` or `pretrain` writes them.
    #[arg(long, value_name = "FILE")]
    backbone: PathBuf,
    /// Augmentations of each training picture.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    variants: u32,
    /// Keep half precision: half the size; losses differ by less than a thousandth.
    #[arg(long)]
    half: bool,
    /// Where augmentation and data are read from, as for `looptrans train` [default: LoopTrans as published].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Override one key of the settings.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,
    /// The split's folder in the dataset's.
    #[arg(long, value_name = "FOLDER")]
    split: Option<String>,
    /// The actions in class order: a vocabulary, a list like cut,hold,open, or a file: one per line, or YAML.
    #[arg(long, value_name = "NAME|LIST|FILE")]
    affordances: Option<String>,
    /// Where to compute: cpu, cuda, or cuda:1 for the second GPU.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Do not open every picture before: one that can't be read then stops the build when its turn comes.
    #[arg(long)]
    skip_check: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    finished: bool,
    folder: &'a Path,
    variants: u32,
    precision: Precision,
    /// Views that are there.
    done: u64,
    #[serde(flatten)]
    volume: Volume,
}

impl Store {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            StoreCommand::Build(arguments) => arguments.run(),
        }
    }
}

impl Build {
    fn run(&self) -> anyhow::Result<()> {
        let flags = [
            ("data.split", given::text(self.split.as_deref())),
            ("data.affordances", given::text(self.affordances.as_deref())),
        ];
        let settings = given::settings(self.settings.as_deref(), &self.set, flags)?;
        let named = (settings.data.split.as_deref(), settings.data.affordances.as_deref());
        let dataset = given::open_dataset(&self.data, named, self.skip_check)?;
        let stop = given::stop_on_signals()?;
        let limits = LIMITS;
        let job = Job { dataset: &dataset, device: self.device, limits, stop: &stop, ranks: &Alone };
        let precision = if self.half { Precision::F16 } else { Precision::F32 };
        let (backbone, out, variants) = (self.backbone.as_path(), self.out.as_path(), self.variants);
        let keys = settings.system.keys();
        let recipe = Recipe { backbone, augmentation: settings.augmentation, variants, precision, keys, out };
        let builder = Builder::new(recipe, job)?;
        let volume = builder.volume();
        let Volume { rows, row_bytes, bytes } = volume;
        eprintln!(
            "{rows} views ({variants} of each training picture, {} to test with) of {} each: {} in {}",
            dataset.test.len(),
            HumanBytes(row_bytes),
            HumanBytes(bytes),
            out.display()
        );
        let bar = progress::staged(progress::COUNT)?;
        let mut kept = 0;
        let built = builder.run(&mut |at| match at {
            Progress::Pictures { done, of } => progress::at(&bar, "pictures' SHA-256", done as u64, of as u64),
            Progress::Rows { done, of } => {
                kept = done;
                progress::at(&bar, "views", done, of);
            }
        });
        bar.finish_and_clear();
        let what_is_kept = || format!("{kept} of {rows} views are kept in {}; the same command goes on", out.display());
        let finished = built.with_context(what_is_kept)?;
        let report = Report { finished, folder: out, variants, precision, done: kept, volume };
        let mut lines = vec![("store", out.display().to_string())];
        lines.push(("views", format!("{kept} of {rows}, {}", HumanBytes(bytes))));
        if !finished {
            lines.push(("stopped", "the same command goes on".to_owned()));
        }
        super::print_report(self.json, &report, &lines)
    }
}
