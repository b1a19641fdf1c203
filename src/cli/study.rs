//! What `looptrans ablate` and `looptrans benchmark` share: a comparison from its arguments to its table.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use serde::Serialize;

use super::{
    data::LIMITS,
    given::{self, assignment, device, number, text},
    progress,
};
use crate::train::{
    run::Device,
    settings::{Assignment, NO_TEXT_ENCODER, Settings},
    store::{Kept, Precision, Progress},
    study::{Arm, Estimate, Event, FIGURE, Host, Request, Set, Study, TABLE_JSON, TABLE_MARKDOWN, Table, chosen},
};

#[derive(Debug, Args)]
pub(super) struct StudyArguments {
    /// The comparison's folder: new, or of the same comparison, which then goes on.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// DINO's weights, or a whole model's whose backbone to take, as `looptrans convert` or `pretrain` writes them.
    #[arg(long, value_name = "FILE")]
    backbone: PathBuf,
    /// LoopTrans' settings, YAML as in config/train [default: as published]. Every row has them, but for what it is about.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Override one key of the settings.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,
    /// Epochs of each run.
    #[arg(long)]
    epochs: Option<u64>,
    /// Samples of a step.
    #[arg(long)]
    batch: Option<usize>,
    /// Where LoopTrans' parts come from: a file with concept clusters, in-backbone, or k-means.
    #[arg(long, value_name = "FILE|in-backbone|k-means")]
    clusters: Option<String>,
    /// The actions in class order: a vocabulary, a list like cut,hold,open, or a file with one per line.
    #[arg(long, value_name = "NAME|LIST|FILE")]
    affordances: Option<String>,
    /// A run of every row for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Rows of the table [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rows: Vec<String>,
    /// The feature store that all runs read [default: FOLDER/store]; filled where it is not.
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Augmentations of each training picture in the store.
    #[arg(long, value_name = "R", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    variants: u32,
    /// Keep the store in half precision.
    #[arg(long)]
    half: bool,
    /// Where to compute: cpu, cuda, or cuda:1 for the second GPU.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Say how long it takes, and stop: the store is filled and some steps are measured.
    #[arg(long)]
    estimate: bool,
    /// Keep every run's checkpoint and weights; else they go once the run is tested.
    #[arg(long)]
    keep_weights: bool,
    /// Do not open every picture before: one that can't be read then stops it when its turn comes.
    #[arg(long)]
    skip_check: bool,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// What one of the two commands compares.
pub(super) struct Comparison<'a> {
    pub command: &'a str,
    pub data: &'a Path,
    /// Splits' folders in `data`; None: that folder itself.
    pub splits: Vec<Option<String>>,
    pub arms: Vec<Arm>,
}

impl StudyArguments {
    /// LoopTrans' settings with the flags that stand for single keys.
    pub fn settings(&self, split: Option<&str>) -> anyhow::Result<Settings> {
        if self.set.iter().any(|assignment| assignment.key == "seed") {
            bail!("--set seed: the seeds of a comparison are given by --seeds");
        }
        let flags = [
            ("epochs", number(self.epochs)),
            ("batch", number(self.batch)),
            ("looptrans.clusters", text(self.clusters.as_deref())),
            ("data.split", text(split)),
            ("data.affordances", text(self.affordances.as_deref())),
        ];
        given::settings(self.settings.as_deref(), &self.set, flags)
    }

    pub fn run(&self, comparison: Comparison<'_>) -> anyhow::Result<()> {
        let Comparison { command, data, splits, arms } = comparison;
        let arms = chosen(arms, &self.rows)?;
        if arms.iter().any(|arm| arm.settings.has_no_text_encoder()) {
            eprintln!("no --clip: WSMA {NO_TEXT_ENCODER}");
        }
        let sets = splits.iter().map(|split| self.open(data, split.as_deref(), &arms)).collect::<Result<_, _>>()?;
        let stop = given::stop_on_signals()?;
        let host = Host { device: self.device, limits: LIMITS, stop: &stop };
        let request = Request {
            command,
            arms,
            seeds: self.seeds.clone(),
            root: data,
            sets,
            backbone: &self.backbone,
            store: self.store.as_deref(),
            kept: Kept { variants: self.variants, precision: if self.half { Precision::F16 } else { Precision::F32 } },
            out: &self.out,
            keep_weights: self.keep_weights,
        };
        let view = View { bar: progress::staged(progress::SHARE)? };
        let done = compare(request, host, self.estimate, &view);
        view.bar.finish_and_clear();
        let kept = || format!("what is done is kept in {}; the same command goes on", self.out.display());
        match done.with_context(kept)? {
            Some(Done::Table(table)) => self.report(&table),
            Some(Done::Estimate(estimate)) => self.report_estimate(&estimate),
            None => super::print_report(
                self.json,
                &Stopped { finished: false, folder: &self.out },
                &[("stopped", format!("the same command goes on ({})", self.out.display()))],
            ),
        }
    }

    fn open(&self, data: &Path, split: Option<&str>, arms: &[Arm]) -> anyhow::Result<Set> {
        let affordances = arms.first().and_then(|arm| arm.settings.data.affordances.as_deref());
        let dataset = given::open_dataset(data, (split, affordances), self.skip_check)?;
        let name = split.map(str::to_owned).or_else(|| Some(data.file_name()?.to_string_lossy().into_owned()));
        Ok(Set { name: name.unwrap_or_else(|| "data".to_owned()), dataset })
    }

    fn report(&self, table: &Table) -> anyhow::Result<()> {
        if self.json {
            return super::print_json(table);
        }
        super::print_text(&table.markdown())?;
        let path = |name| self.out.join(name).display().to_string();
        eprintln!("{}, {}, {}, {}", path(TABLE_JSON), path(TABLE_MARKDOWN), path(FIGURE), path("pictures_*.png"));
        Ok(())
    }

    fn report_estimate(&self, estimate: &Estimate) -> anyhow::Result<()> {
        let mut rows = vec![("all", duration(estimate.seconds))];
        let row = |(name, cost): (&String, &crate::train::study::ArmCost)| {
            let (step, item, all) = (cost.step, 1e3 * cost.item, duration(cost.all));
            format!("{name}: {step:.3} s a step, {item:.1} ms a test picture, {all} in all")
        };
        rows.extend(estimate.arms.iter().map(|arm| ("row", row(arm))));
        super::print_report(self.json, estimate, &rows)
    }
}

#[derive(Serialize)]
struct Stopped<'a> {
    finished: bool,
    folder: &'a Path,
}

enum Done {
    Table(Box<Table>),
    Estimate(Estimate),
}

/// None: stopped.
fn compare(request: Request<'_>, host: Host<'_>, estimate_only: bool, view: &View) -> anyhow::Result<Option<Done>> {
    let Some(study) = Study::prepare(request, host, &mut |event| view.show(&event))? else { return Ok(None) };
    let Some(estimate) = study.measure(&mut |event| view.show(&event))? else { return Ok(None) };
    if estimate_only {
        return Ok(Some(Done::Estimate(estimate)));
    }
    view.bar.suspend(|| {
        let Estimate { runs, done, seconds, .. } = estimate;
        let long = duration(seconds);
        eprintln!("{runs} runs, {done} of them done; the others take about {long} at the speed of the first steps");
    });
    if !study.run(&estimate, &mut |event| view.show(&event))? {
        return Ok(None);
    }
    Ok(Some(Done::Table(Box::new(study.report()?))))
}

fn duration(seconds: f64) -> String {
    HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// What people see while it runs.
struct View {
    bar: ProgressBar,
}

impl View {
    fn show(&self, event: &Event<'_>) {
        let at = |stage: &'static str, done, of| progress::at(&self.bar, stage, done, of);
        match event {
            Event::Looked { done, of } => at("pictures' SHA-256", *done as u64, *of as u64),
            Event::Store(Progress::Pictures { done, of }) => at("looking at pictures", *done as u64, *of as u64),
            Event::Store(Progress::Rows { done, of }) => at("feature store", *done, *of),
            Event::StoreSize(volume) => self.bar.suspend(|| {
                eprintln!("feature store: {} views, {}", volume.rows, HumanBytes(volume.bytes));
            }),
            Event::Measured { done, of } => at("measuring steps", *done as u64, *of as u64),
            Event::Run { place, of, title, seed, training } => {
                let run = format!("run {place}/{of}: {title}, seed {seed}, {training}");
                // In a log file there is no bar, and a run takes minutes.
                if self.bar.is_hidden() {
                    eprintln!("{run}");
                }
                self.bar.set_message(run);
            }
            Event::Work { done, of } => at("training", (1e3 * done) as u64, (1e3 * of) as u64),
            Event::Skipped { set, reasons } => self.bar.suspend(|| {
                reasons.iter().for_each(|reason| eprintln!("{set}: not tested: {reason}"));
            }),
        }
    }
}
