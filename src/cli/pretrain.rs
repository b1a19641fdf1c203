//! `looptrans pretrain`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{data::LIMITS, given, progress};
use crate::{
    export::seeded,
    train::{
        dino::{
            Architecture, BACKBONE, Event, HeadSizes, Init, Job, Outcome, Plan, Settings, gallery::Gallery,
            neighbours::Score,
        },
        run::{Device, LAST, METRICS},
    },
};

/// Train a backbone on pictures without labels (DINO).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans pretrain AGD20K/Seen/trainset --out runs/dino
  looptrans pretrain my_robots_pictures --init dino.safetensors --lr 0.00005 --epochs 10 --out runs/adapted
  looptrans pretrain my_robots_pictures --out runs/adapted --resume
  looptrans train AGD20K --split Seen --backbone runs/dino/backbone.safetensors --out runs/seen

All JPEG and PNG files below the folders are taken, at any depth, hidden ones and folders named GT aside.

Where pictures lie in folders named after what they show, each epoch says how many of them their 20 nearest others name
rightly (leave one out): the gauge to watch. The loss says little: it rises in the first steps, when the centre
spreads the teacher's answers, and it also falls when the network collapses. Signs of that are in metrics.csv, and are said
when they show.

The default is a small network for small pictures on a CPU. DINO's own: --arch vit_small_16 --local-side 96
--local-crops 8 --head-hidden 2048 --bottleneck 256 --prototypes 65536 --warmup 10, for days on large GPUs.

Ctrl-C ends the run after the step it is in; --resume goes on. On a CPU with the same number of threads the resumed run
is, bit for bit, the one that was not interrupted.

In the run's folder: backbone.safetensors (the teacher's, keys as in DINO's files), last.safetensors (to go on from),
metrics.csv.

Training on a GPU is written but was never run.")]
pub(super) struct Pretrain {
    /// Folders of pictures.
    #[arg(required = true, value_name = "FOLDER")]
    pictures: Vec<PathBuf>,
    /// The run's folder.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Go on with the run in --out, by the settings it has.
    #[arg(long, conflicts_with_all = ["init", "arch", "dim", "depth", "heads", "patch", "side", "local_side",
        "local_crops", "head_hidden", "bottleneck", "prototypes", "epochs", "batch", "lr", "warmup", "momentum", "clip",
        "seed", "threads", "scored"])]
    resume: bool,
    /// Start from this backbone, and take its shape (--side: for inputs of another side).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["arch", "dim", "depth", "heads", "patch"])]
    init: Option<PathBuf>,
    /// A shape by name, such as vit_tiny_16 or vit_small_16, which the flags below change
    /// [default: dim 192, depth 6, heads 6, patch 8, side 112].
    #[arg(long, value_name = "NAME", value_parser = architecture)]
    arch: Option<Architecture>,
    /// Channels of a token.
    #[arg(long)]
    dim: Option<usize>,
    /// Blocks.
    #[arg(long)]
    depth: Option<usize>,
    /// Attention heads; a divisor of --dim.
    #[arg(long)]
    heads: Option<usize>,
    /// Side of a patch in pixels.
    #[arg(long)]
    patch: Option<usize>,
    /// Side of the input in pixels; a multiple of --patch.
    #[arg(long)]
    side: Option<usize>,
    /// Side of a small view in pixels; a multiple of --patch [default: 48].
    #[arg(long)]
    local_side: Option<usize>,
    /// Small views of each picture [default: 4].
    #[arg(long)]
    local_crops: Option<usize>,
    /// Hidden units of the head [default: 256].
    #[arg(long)]
    head_hidden: Option<i64>,
    /// Channels that are compared with the prototypes [default: 64].
    #[arg(long)]
    bottleneck: Option<i64>,
    /// Prototypes that pictures are told apart by [default: 1024].
    #[arg(long)]
    prototypes: Option<i64>,
    /// Epochs in all [default: 50].
    #[arg(long)]
    epochs: Option<u64>,
    /// Pictures of a step [default: 64].
    #[arg(long)]
    batch: Option<usize>,
    /// Highest learning rate [default: 0.0005].
    #[arg(long)]
    lr: Option<f64>,
    /// Epochs in which the learning rate rises [default: 5].
    #[arg(long)]
    warmup: Option<u64>,
    /// How much of the teacher stays at the first step; it rises to 1 [default: 0.996].
    #[arg(long)]
    momentum: Option<f64>,
    /// Longest gradient of each parameter [default: 1].
    #[arg(long)]
    clip: Option<f64>,
    /// Of every random draw [default: 42].
    #[arg(long)]
    seed: Option<u64>,
    /// Threads of libtorch [default: its own choice].
    #[arg(long)]
    threads: Option<u32>,
    /// Pictures that the neighbours' score is of, at most; 0: no score [default: 1000].
    #[arg(long)]
    scored: Option<usize>,
    /// Where to compute: cpu, cuda, or cuda:1 for the second GPU.
    #[arg(long, default_value = "cpu", value_parser = given::device)]
    device: Device,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    finished: bool,
    folder: &'a Path,
    pictures: usize,
    steps: u64,
    /// Before training.
    before: Option<Score>,
    last: Option<Score>,
}

impl Pretrain {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let plan = if self.resume {
            Plan::resume(&self.out)?
        } else {
            let init = self.init.as_deref().map(|file| Init { file, side: self.side });
            Plan::new(self.settings(), init, &self.out)?
        };
        let gallery = Gallery::open(&self.pictures)?;
        let stop = given::stop_on_signals()?;
        let job = Job { gallery: &gallery, device: self.device, limits: LIMITS, stop: &stop };
        let bar = progress::staged(progress::COUNT)?;
        let outcome = plan.train(&job, &mut |event| show(&bar, event))?;
        bar.finish_and_clear();
        self.report(&outcome, gallery.pictures.len())
    }

    fn settings(&self) -> Settings {
        let default = Settings::default();
        let shape = self.arch.unwrap_or(default.architecture);
        let dim = self.dim.unwrap_or(shape.dim);
        Settings {
            architecture: Architecture {
                dim,
                depth: self.depth.unwrap_or(shape.depth),
                heads: self.heads.unwrap_or(shape.heads),
                patch: self.patch.unwrap_or(shape.patch),
                side: self.side.unwrap_or(shape.side),
                hidden: dim.saturating_mul(4),
            },
            head: HeadSizes {
                hidden: self.head_hidden.unwrap_or(default.head.hidden),
                bottleneck: self.bottleneck.unwrap_or(default.head.bottleneck),
                prototypes: self.prototypes.unwrap_or(default.head.prototypes),
            },
            seed: self.seed.unwrap_or(default.seed),
            epochs: self.epochs.unwrap_or(default.epochs),
            batch: self.batch.unwrap_or(default.batch),
            local_crops: self.local_crops.unwrap_or(default.local_crops),
            local_side: self.local_side.unwrap_or(default.local_side),
            lr: self.lr.unwrap_or(default.lr),
            warmup_epochs: self.warmup.unwrap_or(default.warmup_epochs),
            momentum: self.momentum.unwrap_or(default.momentum),
            clip: self.clip.unwrap_or(default.clip),
            threads: self.threads.unwrap_or(default.threads),
            scored: self.scored.unwrap_or(default.scored),
            ..default
        }
    }

    fn report(&self, outcome: &Outcome, pictures: usize) -> anyhow::Result<()> {
        let Outcome { finished, state } = outcome;
        let before = state.scores.first().copied().flatten();
        let last = state.scores.last().copied().flatten();
        let report = Report { finished: *finished, folder: &self.out, pictures, steps: state.step, before, last };
        let mut rows = vec![("run", self.out.display().to_string()), ("pictures", pictures.to_string())];
        if *finished {
            rows.push(("backbone", self.out.join(BACKBONE).display().to_string()));
        } else {
            rows.push(("stopped", format!("after step {}; go on with --resume ({LAST})", state.step)));
        }
        if let (Some(before), Some(last)) = (before, last) {
            rows.push(("neighbours", format!("{} (before training: {:.3})", in_words(&last), before.accuracy)));
        }
        rows.push(("metrics", self.out.join(METRICS).display().to_string()));
        super::print_report(self.json, &report, &rows)
    }
}

fn in_words(score: &Score) -> String {
    let Score { accuracy, chance, pictures } = score;
    format!("{accuracy:.3} of {pictures} pictures named rightly, the most frequent class: {chance:.3}")
}

fn show(bar: &ProgressBar, event: &Event) {
    match *event {
        Event::Step { step, of, epoch, loss, monitors } => {
            progress::at(bar, format!("epoch {epoch}"), step, of);
            bar.set_message(format!("loss {loss:.3}, teacher's entropy {:.2}", monitors.entropy));
        }
        Event::Epoch { epoch, score, collapse } => {
            if let Some(score) = &score {
                bar.suspend(|| eprintln!("epoch {epoch}: {}", in_words(score)));
            }
            if let Some(sign) = collapse {
                bar.suspend(|| eprintln!("epoch {epoch}: collapsed? {sign}. Remedy: a lower --lr, or more pictures"));
            }
        }
    }
}

fn architecture(name: &str) -> Result<Architecture, String> {
    let named = seeded::Architecture::named(name);
    let all = || seeded::Architecture::ALL.map(|architecture| architecture.name).join(", ");
    named
        .map(|architecture| Architecture::of(&architecture.sizes(0)))
        .ok_or_else(|| format!("expected one of {}", all()))
}
