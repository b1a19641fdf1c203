//! `looptrans cluster`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{data::LIMITS, given, progress};
use crate::train::{
    cluster::{CLUSTERS, Event, Outcome, Plan, Quality, SHEET, Settings},
    concepts::Assignment,
    ranks::Alone,
    run::{Device, Job, LAST, METRICS},
};

/// Train the concept clusters that LoopTrans finds parts with.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans cluster AGD20K --split Seen --backbone dino.safetensors --out runs/seen_clusters
  looptrans cluster AGD20K --out runs/seen_clusters --resume
  looptrans train AGD20K --split Seen --backbone dino.safetensors --clusters runs/seen_clusters/clusters.safetensors \\
      --out runs/seen

No labels are used: the concepts are trained to split each picture's patches into parts that belong together (their
modularity). `looptrans train --clusters k-means` finds parts without training.

Ctrl-C ends the run after the step it is in; --resume goes on. On a CPU with the same number of threads the resumed run
is, bit for bit, the one that was not interrupted.

In the run's folder: clusters.safetensors (the published keys), parts.png (training pictures beside their parts in
colours: look at it), last.safetensors (to go on from), metrics.csv (modularity of every step).

Training on a GPU is written but was never run.")]
pub(super) struct Cluster {
    /// The dataset's folder, as for `looptrans data check`.
    data: PathBuf,
    /// The run's folder.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Go on with the run in --out, by the settings it has.
    #[arg(long, conflicts_with_all = ["backbone", "batch", "seed", "lr", "split", "affordances", "parts", "layers",
        "assignment", "views", "variants", "threads"])]
    resume: bool,
    /// DINO's weights, or a whole model's whose backbone to take.
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    backbone: Option<PathBuf>,
    /// The split's folder in the dataset's.
    #[arg(long, value_name = "FOLDER")]
    split: Option<String>,
    /// The actions in class order, as for `looptrans train`.
    #[arg(long, value_name = "NAME|LIST|FILE")]
    affordances: Option<String>,
    /// Which training pictures to take.
    #[arg(long, value_enum, default_value_t = Views::Ego)]
    views: Views,
    /// Steps in all [default: 2500].
    #[arg(long)]
    steps: Option<u64>,
    /// Pictures of a step [default: 32].
    #[arg(long)]
    batch: Option<usize>,
    /// Learning rate [default: 0.0001].
    #[arg(long)]
    lr: Option<f64>,
    /// Of every random draw [default: 42].
    #[arg(long)]
    seed: Option<u64>,
    /// Most parts of a picture [default: 4].
    #[arg(long)]
    parts: Option<i64>,
    /// Layers of the concept generator [default: 8].
    #[arg(long)]
    layers: Option<i64>,
    /// How the loss reads cosines.
    #[arg(long, value_enum, default_value_t = AssignmentArgument::CosinePlusOne)]
    assignment: AssignmentArgument,
    /// Augmentations of each picture to keep in memory [default: 1]; 0: run the backbone anew for every draw.
    #[arg(long)]
    variants: Option<u32>,
    /// Threads of libtorch [default: its own choice].
    #[arg(long)]
    threads: Option<u32>,
    /// Where to compute: cpu, cuda, or cuda:1 for the second GPU.
    #[arg(long, default_value = "cpu", value_parser = given::device)]
    device: Device,
    /// Do not open every picture before training.
    #[arg(long)]
    skip_check: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Views {
    /// Egocentric ones alone.
    Ego,
    /// Exocentric ones too.
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AssignmentArgument {
    /// cos + 1, as LoopTrans reads them.
    CosinePlusOne,
    /// max(0, cos), as ACSeg's paper has it.
    Clamped,
}

#[derive(Serialize)]
struct Report<'a> {
    finished: bool,
    folder: &'a PathBuf,
    steps: u64,
    quality: Option<&'a Quality>,
}

impl Cluster {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let plan = if self.resume {
            Plan::resume(&self.out, self.steps)?
        } else {
            Plan::new(self.settings(), self.backbone.as_deref().context("--backbone is missing")?, &self.out)?
        };
        let Settings { split, affordances, .. } = plan.settings();
        let dataset = given::open_dataset(&self.data, (split.as_deref(), affordances.as_deref()), self.skip_check)?;
        let stop = given::stop_on_signals()?;
        let job = Job { dataset: &dataset, device: self.device, limits: LIMITS, stop: &stop, ranks: &Alone };
        let bar = progress::staged(progress::COUNT)?;
        let outcome = plan.train(&job, &mut |event| show(&bar, event))?;
        bar.finish_and_clear();
        self.report(&outcome)
    }

    fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            seed: self.seed.unwrap_or(default.seed),
            steps: self.steps.unwrap_or(default.steps),
            batch: self.batch.unwrap_or(default.batch),
            lr: self.lr.unwrap_or(default.lr),
            parts: self.parts.unwrap_or(default.parts),
            layers: self.layers.unwrap_or(default.layers),
            assignment: match self.assignment {
                AssignmentArgument::CosinePlusOne => Assignment::CosinePlusOne,
                AssignmentArgument::Clamped => Assignment::Clamped,
            },
            exo: self.views == Views::Both,
            variants: self.variants.unwrap_or(default.variants),
            threads: self.threads.unwrap_or(default.threads),
            split: self.split.clone(),
            affordances: self.affordances.clone(),
            ..default
        }
    }

    fn report(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let Outcome { state, quality } = outcome;
        let quality = quality.as_ref();
        let report = Report { finished: quality.is_some(), folder: &self.out, steps: state.step, quality };
        let mut rows = vec![("run", self.out.display().to_string())];
        match quality {
            None => rows.push(("stopped", format!("after step {}; go on with --resume ({LAST})", state.step))),
            Some(quality) => {
                let Quality { pictures, modularity, modularity_of_k_means: other, parts_used, pictures_by_parts } =
                    quality;
                rows.push(("clusters", self.out.join(CLUSTERS).display().to_string()));
                rows.push(("modularity", format!("{modularity:.4} over {pictures} pictures (k-means: {other:.4})")));
                rows.push((
                    "parts used",
                    format!("{parts_used:.2} a picture; pictures by parts: {pictures_by_parts:?}"),
                ));
                rows.push(("sheet", self.out.join(SHEET).display().to_string()));
            }
        }
        rows.push(("metrics", self.out.join(METRICS).display().to_string()));
        super::print_report(self.json, &report, &rows)
    }
}

fn show(bar: &ProgressBar, event: &Event) {
    match *event {
        Event::Memory(bytes) => {
            const MIB: f64 = 1024.0 * 1024.0;
            bar.suspend(|| eprintln!("descriptors in memory: {:.1} MiB (--variants 0 keeps none)", bytes as f64 / MIB));
        }
        Event::Descriptors { done, of } => {
            progress::at(bar, "descriptors", done as u64, of as u64);
        }
        Event::Step { step, of, modularity } => {
            progress::at(bar, "steps", step, of);
            bar.set_message(format!("modularity {modularity:.4}"));
        }
    }
}
