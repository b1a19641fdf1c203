//! How long a comparison takes, from a few steps of each arm.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use serde::Serialize;

use super::{Arm, Event, Study, saved::RunResult, sets::Training};
use crate::{
    data::Dataset,
    train::{
        TrainError,
        run::{self, Job, Plan, Tests, Trained, io_error},
        settings::Settings,
    },
};

/// Steps of each arm that are taken; the first is not counted where there are others.
const STEPS: usize = 4;
/// Test items that are scored.
const ITEMS: usize = 16;
/// Measured here, in the comparison's folder.
const SCRATCH: &str = ".measured";

/// How long it will take on this machine, if nothing else runs on it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Estimate {
    /// Runs in all.
    pub runs: usize,
    /// Runs that are done.
    pub done: usize,
    /// Of all runs that are not, as if none of them had begun.
    pub seconds: f64,
    /// Of each arm.
    pub arms: BTreeMap<String, ArmCost>,
    #[serde(skip)]
    steps: BTreeMap<String, u64>,
    #[serde(skip)]
    items: BTreeMap<String, usize>,
}

/// What an arm costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ArmCost {
    /// Of a training step.
    pub step: f64,
    /// Of the test of one picture, by all its maps.
    pub item: f64,
    /// Of its runs that are not done, all seeds and training sets.
    pub all: f64,
}

impl Estimate {
    pub(super) fn step_seconds(&self, arm: &str) -> f64 {
        self.arms.get(arm).map_or(0.0, |cost| cost.step)
    }

    pub(super) fn of_run(&self, arm: &str, training: &Training) -> f64 {
        let Some(cost) = self.arms.get(arm) else { return 0.0 };
        let steps = self.steps.get(&training.name).copied().unwrap_or_default();
        let items = self.items.get(&training.name).copied().unwrap_or_default();
        cost.step * steps as f64 + cost.item * items as f64
    }
}

impl Study<'_> {
    /// Takes a few steps of each arm that has runs to do, in a folder of their own that is then removed. None: stopped.
    ///
    /// # Errors
    /// As [`Plan::train`].
    pub fn measure(&self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Option<Estimate>, TrainError> {
        let mut estimate = Estimate::default();
        let settings = self.arms.first().map(|arm| &arm.settings);
        let (epochs, batch) = settings.map_or((0, 1), |settings| (settings.epochs, settings.batch));
        for training in &self.sets.trainings {
            let steps = training.dataset.samples().div_ceil(batch) as u64 * epochs;
            estimate.steps.insert(training.name.clone(), steps);
            let items = training.tested.iter().map(|&set| self.sets.sets[set].dataset.test.len()).sum();
            estimate.items.insert(training.name.clone(), items);
        }
        for (place, arm) in self.arms.iter().enumerate() {
            let mut open = Vec::new();
            for cell in self.cells().into_iter().filter(|cell| cell.arm.name == arm.name) {
                estimate.runs += 1;
                match RunResult::read(&cell.folder)? {
                    Some(_) => estimate.done += 1,
                    None => open.push(cell.training),
                }
            }
            if let Some(training) = open.first() {
                let Some(cost) = self.cost(arm, training)? else { return Ok(None) };
                estimate.arms.insert(arm.name.clone(), cost);
                let all: f64 = open.iter().map(|training| estimate.of_run(&arm.name, training)).sum();
                estimate.arms.insert(arm.name.clone(), ArmCost { all, ..cost });
                estimate.seconds += all;
            }
            watch(Event::Measured { done: place + 1, of: self.arms.len() });
        }
        Ok(Some(estimate))
    }

    fn cost(&self, arm: &Arm, training: &Training) -> Result<Option<ArmCost>, TrainError> {
        let scratch = self.folder.path().join(SCRATCH);
        let remove = || match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", &scratch)(error)),
            _ => Ok(()),
        };
        // Of a call that was killed.
        remove()?;
        let mut settings = Settings { epochs: STEPS as u64, ..arm.settings.clone() };
        if let Some(own) = &mut settings.locate {
            // The first epoch has no prototypes, and all others have.
            own.proto_from_epoch = 0;
        }
        let (enough, mut ends) = (AtomicBool::new(false), vec![Instant::now()]);
        let job = Job { stop: &enough, ..self.job(&training.dataset) };
        Plan::new(settings, self.backbone, &scratch)?.with_features(self.origin(arm)).train(&job, &mut |event| {
            if let run::Event::Step { .. } = event {
                ends.push(Instant::now());
                enough.store(ends.len() > STEPS || self.stopped(), Ordering::Relaxed);
            }
        })?;
        let took: Vec<f64> = ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let item = self.item_cost(arm, training, &scratch)?;
        remove()?;
        Ok(item.map(|item| ArmCost { step: median(&took[usize::from(took.len() > 1)..]), item, all: 0.0 }))
    }

    fn item_cost(&self, arm: &Arm, training: &Training, run: &Path) -> Result<Option<f64>, TrainError> {
        let mut network = Trained::open(run, self.host.device)?;
        let whole = &self.sets.sets[training.tested[0]].dataset;
        let test = whole.test.iter().take(ITEMS).cloned().collect();
        let dataset = Dataset { train: Vec::new(), test, left_out: Vec::new(), ..whole.clone() };
        let store = self.stores.of(arm);
        let tests = Tests { dataset: &dataset, store: &store, limits: self.host.limits };
        let start = Instant::now();
        for &maps in network.maps() {
            if network.evaluate(maps, &tests, self.host.stop, &mut |_| {})?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(start.elapsed().as_secs_f64() / dataset.test.len().max(1) as f64))
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
