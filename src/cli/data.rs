//! `looptrans data`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::progress;
use crate::{
    convert::ActionList,
    data::{
        Dataset, PictureFinding, check_pictures,
        index::{LeftOut, Source},
    },
    perceive::decode::Limits,
};

/// Pictures of a training set: more than any camera's, little enough to decode several at a time.
pub(super) const LIMITS: Limits = Limits { max_image_pixels: 100_000_000 };
/// Lines of each kind that a table shows; --json has them all.
const SHOWN: usize = 20;

/// Look at a dataset.
#[derive(Debug, Args)]
pub(super) struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Check(Check),
}

/// Say what a dataset holds, what is wrong with it, and what training on it would use.
///
/// Folders: ROOT/SPLIT/trainset/{exocentric,egocentric}/AFFORDANCE/OBJECT/*.jpg and
/// ROOT/SPLIT/testset/{egocentric,GT}/AFFORDANCE/OBJECT/NAME.{jpg,png}, as AGD20K and HICO-IIF have them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  looptrans data check AGD20K --split Seen
  looptrans data check HICO-IIF
  looptrans data check my_kitchen --affordances open,hold,pour --json

Exit code 1: there is something to mend. Training leaves out what is named here, and says so.")]
struct Check {
    #[command(flatten)]
    dataset: DatasetArguments,
    /// Look at names only; open no picture.
    #[arg(long)]
    names_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Which dataset.
#[derive(Debug, Args)]
pub(super) struct DatasetArguments {
    /// The dataset's folder.
    root: PathBuf,
    /// The split's folder in it; not given: ROOT holds trainset and testset itself.
    #[arg(long, value_name = "FOLDER")]
    split: Option<String>,
    /// The actions in class order: a vocabulary (agd20k-seen, agd20k-unseen, hico-iif), a list like cut,hold,open, or a
    /// file with one per line or a YAML list [default: the split's affordances.txt, else its published list, else the folders'
    /// names].
    #[arg(long, value_name = "NAME|LIST|FILE")]
    affordances: Option<String>,
}

impl DatasetArguments {
    /// Lists its pictures.
    pub fn open(&self) -> anyhow::Result<Dataset> {
        let affordances = self.affordances.as_deref().map(ActionList::read).transpose()?;
        let affordances = affordances.map_or_else(Vec::new, |list| list.actions);
        Ok(Dataset::open(&Source { root: &self.root, split: self.split.as_deref(), affordances: &affordances })?)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    folder: &'a PathBuf,
    /// Per affordance, in class order.
    affordances: Vec<Counts<'a>>,
    /// Samples of an epoch: exocentric pictures with an egocentric one beside them.
    samples: usize,
    tests: usize,
    left_out: &'a [LeftOut],
    /// None where no picture was opened.
    findings: Option<&'a [PictureFinding]>,
}

#[derive(Serialize)]
struct Counts<'a> {
    name: &'a str,
    objects: usize,
    exo: usize,
    ego: usize,
    tests: usize,
}

impl Data {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            DataCommand::Check(arguments) => arguments.run(),
        }
    }
}

impl Check {
    fn run(&self) -> anyhow::Result<()> {
        let dataset = self.dataset.open()?;
        let findings = if self.names_only { None } else { Some(look(&dataset, &LIMITS)?) };
        let report = Report {
            folder: &dataset.folder,
            affordances: counts(&dataset),
            samples: dataset.samples(),
            tests: dataset.test.len(),
            left_out: &dataset.left_out,
            findings: findings.as_deref(),
        };
        super::print_report(self.json, &report, &rows(&report))?;
        if report.samples == 0 && report.tests == 0 {
            bail!("{}: no pictures to train on or to test with", dataset.folder.display());
        }
        let problems = dataset.left_out.len() + findings.as_ref().map_or(0, Vec::len);
        if problems > 0 {
            bail!("{}: {problems} things to mend", dataset.folder.display());
        }
        Ok(())
    }
}

pub(super) fn look(dataset: &Dataset, limits: &Limits) -> anyhow::Result<Vec<PictureFinding>> {
    let pictures: usize = dataset.train.iter().map(|folder| folder.exo.len() + folder.ego.len()).sum();
    let bar = progress::counting("looking at pictures", pictures + dataset.test.len())?;
    let findings = check_pictures(dataset, limits, &|| bar.inc(1));
    bar.finish_and_clear();
    Ok(findings)
}

fn counts(dataset: &Dataset) -> Vec<Counts<'_>> {
    let mut counts: Vec<Counts<'_>> =
        dataset.affordances.iter().map(|name| Counts { name, objects: 0, exo: 0, ego: 0, tests: 0 }).collect();
    for folder in &dataset.train {
        let count = &mut counts[folder.label];
        (count.objects, count.exo, count.ego) =
            (count.objects + 1, count.exo + folder.exo.len(), count.ego + folder.ego.len());
    }
    for item in &dataset.test {
        counts[item.label].tests += 1;
    }
    counts
}

fn rows(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let mut rows = vec![("dataset", report.folder.display().to_string())];
    for Counts { name, objects, exo, ego, tests } in &report.affordances {
        let line =
            format!("{name}: {objects} objects, {exo} exo and {ego} ego pictures to train on, {tests} to test with");
        rows.push(("affordance", line));
    }
    rows.push(("an epoch", format!("{} samples", report.samples)));
    rows.push(("test", format!("{} pictures", report.tests)));
    let left_out = report.left_out.iter().map(|left| format!("{}: {}", left.path.display(), left.reason));
    push_some(&mut rows, "left out", left_out);
    let findings = report.findings.unwrap_or_default();
    let wrong = findings.iter().map(|found| format!("{}: {}", found.path.display(), found.finding));
    push_some(&mut rows, "wrong", wrong);
    if report.findings.is_some() && findings.is_empty() {
        rows.push(("pictures", "all can be read".to_owned()));
    }
    rows
}

/// The first of many lines, and how many more there are.
pub(super) fn push_some(
    rows: &mut Vec<(&'static str, String)>,
    name: &'static str,
    lines: impl ExactSizeIterator<Item = String>,
) {
    let more = lines.len().saturating_sub(SHOWN);
    rows.extend(lines.take(SHOWN).map(|line| (name, line)));
    if more > 0 {
        rows.push((name, format!("and {more} more; --json names them all")));
    }
}
