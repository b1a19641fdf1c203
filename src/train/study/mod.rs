//! Comparisons: arms (settings of runs) times seeds, trained on the same kept features, tested on several sets, in one table.
//!
//! ```text
//! Request -> Study::prepare: sets (which splits share training pictures) -> folder -> feature stores
//!         -> Study::measure: some steps of each arm -> Estimate
//!         -> Study::run: run::Plan for each (arm, seed, training pictures) -> run::Trained on each test set -> result.json
//!         -> Study::report: table.json, table.md, figure.svg, pictures_SET.png
//! ```
//!
//! Arms are compared by the network after the last epoch: no epoch is chosen by test scores. A run that is done is a file; one
//! that was interrupted goes on from its checkpoint; the table says the same however often that happened.

mod arms;
mod figure;
mod floors;
mod measure;
mod saved;
mod sets;
mod sheet;
mod stores;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

pub use arms::{Arm, ablation, chosen, systems};
pub use floors::Floors;
pub use measure::{ArmCost, Estimate};
pub use sets::Set;
pub use table::{Row, SetTable, Statistic, Table};

use super::{
    TrainError,
    ranks::Alone,
    run::{self, Device, FeatureOrigin, Job, LAST, Plan, Tests, Trained, io_error},
    settings::Settings,
    store::{Kept, Progress, Volume},
};
use crate::{contract, data::Dataset, export::bundle::write_file, perceive::decode::Limits};
use saved::{Folder, Identity, RunResult, Shown, Tested};
use sets::{Sets, Training};
use stores::Stores;

/// The table, for programs.
pub const TABLE_JSON: &str = "table.json";
/// The table, for people.
pub const TABLE_MARKDOWN: &str = "table.md";
/// The table as bars.
pub const FIGURE: &str = "figure.svg";
/// Test pictures of each set that the sheets show.
const SHOWN: usize = 4;

/// What is to be compared.
#[derive(Debug)]
pub struct Request<'a> {
    /// For people: the command that asks.
    pub command: &'a str,
    /// At least one; all with the same augmentation, which a store has one of.
    pub arms: Vec<Arm>,
    /// At least one.
    pub seeds: Vec<u64>,
    /// A folder that all sets lie in.
    pub root: &'a Path,
    /// At least one.
    pub sets: Vec<Set>,
    /// A weights file, as `looptrans train` takes it.
    pub backbone: &'a Path,
    /// The feature store's folder; None: within the comparison's. The one of WSMA, which reads other features, lies beside it,
    /// with `-two-blocks` behind its name.
    pub store: Option<&'a Path>,
    /// What a store keeps of each training picture.
    pub kept: Kept,
    /// The comparison's folder.
    pub out: &'a Path,
    /// Keep the weights of every run, which take most of the room.
    pub keep_weights: bool,
}

/// Where and how it runs.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// CPU or a GPU.
    pub device: Device,
    /// Larger pictures are refused.
    pub limits: Limits,
    /// Set to end it after the step it is in; the same request goes on.
    pub stop: &'a AtomicBool,
}

/// What happens, for those who watch it.
#[derive(Debug)]
pub enum Event<'a> {
    /// Files were read for their SHA-256.
    Looked {
        /// So many,
        done: usize,
        /// of so many.
        of: usize,
    },
    /// A feature store is to be filled, and takes this.
    StoreSize(Volume),
    /// A feature store grows.
    Store(Progress),
    /// An arm was measured.
    Measured {
        /// So many,
        done: usize,
        /// of so many.
        of: usize,
    },
    /// A run begins, or goes on.
    Run {
        /// Counted from 1,
        place: usize,
        /// of so many.
        of: usize,
        /// Of the arm.
        title: &'a str,
        /// Of all its draws.
        seed: u64,
        /// What it is trained on.
        training: &'a str,
    },
    /// Something of a run is done.
    Work {
        /// Seconds of the estimate that are behind.
        done: f64,
        /// All of them.
        of: f64,
    },
    /// Test items that have no score.
    Skipped {
        /// The test set.
        set: &'a str,
        /// Each with its reason.
        reasons: Vec<String>,
    },
}

/// A comparison ready to run.
#[derive(Debug)]
pub struct Study<'a> {
    command: &'a str,
    arms: Vec<Arm>,
    seeds: Vec<u64>,
    sets: Sets,
    backbone: &'a Path,
    stores: Stores,
    keep_weights: bool,
    folder: Folder,
    host: Host<'a>,
}

/// One run.
struct Cell<'s> {
    arm: &'s Arm,
    seed: u64,
    training: &'s Training,
    folder: PathBuf,
}

impl<'a> Study<'a> {
    /// Reads every picture, takes the folder, and fills the feature stores; None if it was stopped on the way.
    ///
    /// # Errors
    /// The folder holds something else, or a comparison with other settings; pictures, the backbone or a text encoder can't be
    /// used.
    pub fn prepare(
        request: Request<'a>,
        host: Host<'a>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Self>, TrainError> {
        check(&request)?;
        let Request { command, arms, seeds, root, sets, backbone, store, kept, out, keep_weights } = request;
        let Some(sets) = Sets::new(root, sets, host.stop, watch)? else { return Ok(None) };
        let of_backbone = contract::sha256_hex(&fs::read(backbone).map_err(io_error("read", backbone))?);
        let names = sets.sets.iter().map(|set| set.name.clone()).zip(sets.fingerprints.clone());
        let identity = Identity::new(command, of_backbone, kept, names.collect()).with(&arms)?;
        let folder = Folder::open(out, identity)?;
        let stores = Stores::at(store.map_or_else(|| out.join("store"), Path::to_owned));
        let Host { device, limits, stop } = host;
        let job = Job { dataset: &sets.all, device, limits, stop, ranks: &Alone };
        if !stores.fill(&arms, (backbone, kept), job, watch)? {
            return Ok(None);
        }
        Ok(Some(Self { command, arms, seeds, sets, backbone, stores, keep_weights, folder, host }))
    }

    /// All runs, those of one seed together, so that what is stopped early can be compared most.
    fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for training in &self.sets.trainings {
                for arm in &self.arms {
                    let folder = self.folder.run(&arm.name, seed, &training.name);
                    cells.push(Cell { arm, seed, training, folder });
                }
            }
        }
        cells
    }

    fn job<'s>(&'s self, dataset: &'s Dataset) -> Job<'s> {
        let Host { device, limits, stop } = self.host;
        Job { dataset, device, limits, stop, ranks: &Alone }
    }

    fn stopped(&self) -> bool {
        self.host.stop.load(Ordering::Relaxed)
    }

    fn origin(&self, arm: &Arm) -> FeatureOrigin {
        // Every picture was read when the store was filled.
        FeatureOrigin::Store { folder: self.stores.of(arm), verify: false }
    }

    /// Trains and tests what is not done yet. True: all is done; false: stopped, and the same request goes on.
    ///
    /// # Errors
    /// As [`Plan::train`]; test items none of which can be scored.
    pub fn run(&self, estimate: &Estimate, watch: &mut dyn FnMut(Event<'_>)) -> Result<bool, TrainError> {
        let (cells, of) = (self.cells(), estimate.seconds);
        let (count, mut behind) = (cells.len(), 0.0);
        for (place, cell) in cells.into_iter().enumerate() {
            if RunResult::read(&cell.folder)?.is_some() {
                continue;
            }
            if self.stopped() {
                return Ok(false);
            }
            let (title, training) = (cell.arm.title.as_str(), cell.training.name.as_str());
            watch(Event::Run { place: place + 1, of: count, title, seed: cell.seed, training });
            let mut work = |share: f64| watch(Event::Work { done: behind + share, of });
            if !self.train(&cell, estimate, &mut work)? {
                return Ok(false);
            }
            let Some(result) = self.test(&cell, watch)? else { return Ok(false) };
            result.write(&cell.folder)?;
            if !self.keep_weights {
                remove_weights(&cell.folder)?;
            }
            behind += estimate.of_run(&cell.arm.name, cell.training);
            watch(Event::Work { done: behind, of });
        }
        Ok(true)
    }

    fn train(&self, cell: &Cell<'_>, estimate: &Estimate, work: &mut dyn FnMut(f64)) -> Result<bool, TrainError> {
        let settings = Settings { seed: cell.seed, ..cell.arm.settings.clone() };
        let plan = if cell.folder.join(LAST).exists() {
            let plan = Plan::resume(&cell.folder, None)?;
            if *plan.settings() != settings {
                let (path, expected) = (cell.folder.join(LAST), "a checkpoint with this arm's settings".to_owned());
                return Err(TrainError::File { path, expected, found: "others".to_owned() });
            }
            plan
        } else {
            Plan::new(settings, self.backbone, &cell.folder)?
        };
        let step_seconds = estimate.step_seconds(&cell.arm.name);
        let plan = plan.with_features(self.origin(cell.arm));
        let outcome = plan.train(&self.job(&cell.training.dataset), &mut |event| {
            if let run::Event::Step { at: (epoch, step), of: (_, steps), .. } = event {
                work(((epoch - 1) * steps + step) as f64 * step_seconds);
            }
        })?;
        Ok(outcome.finished)
    }

    /// None: stopped.
    fn test(&self, cell: &Cell<'_>, watch: &mut dyn FnMut(Event<'_>)) -> Result<Option<RunResult>, TrainError> {
        let mut network = Trained::open(&cell.folder, self.host.device)?;
        let mut result = RunResult { tests: Default::default() };
        for &index in &cell.training.tested {
            let set = &self.sets.sets[index];
            let Some(tested) = self.test_on(&mut network, set, cell.arm)? else { return Ok(None) };
            let reasons: Vec<String> = tested.skipped.iter().map(|(_, reason)| reason.clone()).collect();
            if !reasons.is_empty() {
                watch(Event::Skipped { set: &set.name, reasons });
            }
            result.tests.insert(set.name.clone(), tested);
        }
        Ok(Some(result))
    }

    fn test_on(&self, network: &mut Trained, set: &Set, arm: &Arm) -> Result<Option<Tested>, TrainError> {
        let store = self.stores.of(arm);
        let tests = Tests { dataset: &set.dataset, store: &store, limits: self.host.limits };
        let (mut means, mut skipped) = (Vec::new(), Vec::new());
        for &maps in network.maps() {
            let Some(evaluation) = network.evaluate(maps, &tests, self.host.stop, &mut |_| {})? else {
                return Ok(None);
            };
            means.push(evaluation.mean().ok_or_else(|| TrainError::Values {
                what: "test items",
                expected: format!("at least one of {} that can be scored", set.name),
                found: evaluation.skipped.first().map_or_else(|| "none".to_owned(), |(_, reason)| reason.clone()),
            })?);
            skipped = evaluation.skipped;
        }
        let items = sheet::items(&set.dataset);
        let maps = network.heat(arms::tested(&arm.settings), &tests, &items)?;
        let shown = items.into_iter().zip(maps).map(|(item, map)| {
            let (rows, columns) = map.dim();
            Shown { item, rows, columns, values: map.into_iter().collect() }
        });
        Ok(Some(Tested { pixel: means[0], scam: means.get(1).copied(), skipped, shown: shown.collect() }))
    }

    /// Puts the results in a table, and writes it with its figure and sheets beside the runs.
    ///
    /// # Errors
    /// A run that is not done; a picture of a sheet that can't be read; a file that can't be written.
    pub fn report(&self) -> Result<Table, TrainError> {
        let mut results = Vec::new();
        for cell in self.cells() {
            let result = RunResult::read(&cell.folder)?.ok_or_else(|| TrainError::File {
                path: cell.folder.clone(),
                expected: "a run that is done".to_owned(),
                found: "one that is not".to_owned(),
            })?;
            results.push((cell.arm.name.clone(), cell.seed, result));
        }
        let table = Table::of(self, &results)?;
        let out = self.folder.path();
        saved::write(&out.join(TABLE_JSON), &table)?;
        write_file(&out.join(TABLE_MARKDOWN), table.markdown().as_bytes())?;
        write_file(&out.join(FIGURE), figure::svg(&table).as_bytes())?;
        let Some(&seed) = self.seeds.first() else { return Ok(table) };
        for set in &self.sets.sets {
            let of = |arm: &'_ Arm| {
                let result = results.iter().find(|(name, of, result)| {
                    *name == arm.name && *of == seed && result.tests.contains_key(&set.name)
                });
                result.map(|(.., result)| (arm.title.clone(), result.tests[&set.name].shown.clone()))
            };
            let columns: Vec<_> = arms::on_sheets(&self.arms).filter_map(of).collect();
            let png = sheet::png(&set.dataset, &columns, &self.host.limits)?;
            write_file(&out.join(format!("pictures_{}.png", set.name)), &png)?;
        }
        Ok(table)
    }
}

/// Can these be compared?
fn check(request: &Request<'_>) -> Result<(), TrainError> {
    let refuse =
        |what, expected: &str, found: String| Err(TrainError::Values { what, expected: expected.to_owned(), found });
    let Some(first) = request.arms.first() else { return refuse("rows", "at least one", "none".to_owned()) };
    if request.seeds.is_empty() || request.sets.is_empty() {
        return refuse("seeds and test sets", "at least one of each", "none".to_owned());
    }
    let mut seeds = request.seeds.clone();
    seeds.sort_unstable();
    if let Some(twice) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse("seeds", "each once", format!("{} twice", twice[0]));
    }
    let other = request.arms.iter().find(|arm| arm.settings.augmentation != first.settings.augmentation);
    match other {
        None => Ok(()),
        Some(arm) => refuse("augmentation", "the same of all rows", format!("another of {}", arm.name)),
    }
}

fn remove_weights(run: &Path) -> Result<(), TrainError> {
    for name in [LAST, run::WEIGHTS] {
        let path = run.join(name);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}
