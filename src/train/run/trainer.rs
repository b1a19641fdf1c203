//! The loop over epochs and steps.

use std::{path::Path, sync::atomic::Ordering};

use tch::Tensor;

use super::{
    BEST, Event, Job, LAST, METRICS, REPORT, State, WEIGHTS,
    checkpoint::{write_checkpoint, write_weights},
    evaluate::{Evaluation, Test, evaluate},
    history::{At, History},
    learner::{Batch, Learner, Losses},
    report,
};
use crate::{
    data::sampling::{EXO_PER_SAMPLE, ExoRule, Sample, Sampler, Variants},
    train::{
        TrainError, backbone::Features, features::FeatureSource, loss_report::System, optimizer::Optimizer,
        settings::Settings,
    },
};

/// A run in progress.
pub(super) struct Trainer<'a, 'b> {
    pub job: &'a Job<'a>,
    pub out: &'a Path,
    pub learner: &'a Learner,
    pub optimizer: Optimizer,
    pub state: State,
    pub source: &'a mut dyn FeatureSource,
    pub variants: Variants,
    pub watch: &'a mut (dyn FnMut(&Event<'_>) + 'b),
}

/// What a step's samples give.
#[derive(Default)]
struct Computed {
    /// The mean loss terms over the samples.
    named: Vec<(&'static str, f64)>,
    /// Their weighted sum.
    total: f64,
    /// Its gradients, in the optimiser's order.
    gradients: Vec<Tensor>,
}

impl Trainer<'_, '_> {
    /// True: to the end; false: stopped on the way. Both leave a checkpoint.
    pub fn run(&mut self) -> Result<bool, TrainError> {
        let terms = terms(&self.state.settings);
        let steps = self.job.dataset.samples().div_ceil(self.state.settings.batch) as u64;
        let mut history = History::open(self.out, terms, self.done(), steps)?;
        // At once: a folder that can't be written to is not found out after hours.
        self.save()?;
        let dataset = self.job.dataset;
        let exo = self.state.settings.wsma.as_ref().map_or(ExoRule::Drawn, |own| own.exo);
        let sampler = Sampler::new(dataset, self.state.settings.seed, self.variants).with_exo(exo);
        while self.state.epoch < self.state.settings.epochs {
            let order = sampler.order(self.state.epoch);
            while self.state.step < steps {
                if self.stopped() {
                    return self.save().map(|()| false);
                }
                let first = self.state.step as usize * self.state.settings.batch;
                let last = order.len().min(first + self.state.settings.batch);
                let epoch = self.state.epoch;
                let samples: Vec<Sample> =
                    (first..last).map(|place| sampler.sample(order[place], epoch, place as u64)).collect();
                self.step(&samples, first as u64, steps, &mut history)?;
                if self.state.step.is_multiple_of(self.state.settings.save_every_steps) {
                    self.save()?;
                }
            }
            if !self.finish_epoch(&mut history)? {
                return self.save().map(|()| false);
            }
        }
        write_weights(&self.out.join(WEIGHTS), self.learner, &self.state)?;
        Ok(true)
    }

    fn stopped(&self) -> bool {
        self.job.stop.load(Ordering::Relaxed)
    }

    /// What is done, as lines of the history count it.
    fn done(&self) -> At {
        At { epoch: self.state.epoch + 1, step: self.state.step }
    }

    fn save(&self) -> Result<(), TrainError> {
        write_checkpoint(&self.out.join(LAST), self.learner, &self.optimizer, &self.state)
    }

    fn step(&mut self, samples: &[Sample], place: u64, steps: u64, history: &mut History) -> Result<(), TrainError> {
        let Computed { named, total, gradients } = self.compute(samples, place)?;
        if let Some(name) = self.optimizer.not_finite(&gradients) {
            return Err(self.not_finite(format!("the gradient of {name}"), f64::NAN));
        }
        let lr = self.state.settings.optimizer.lr_in(self.state.epoch);
        self.optimizer.step(&gradients, lr);
        self.state.step += 1;
        let at = self.done();
        history.step(at, lr, &named, total)?;
        let of = (self.state.settings.epochs, steps);
        (self.watch)(&Event::Step { at: (at.epoch, at.step), of, losses: &named, total });
        Ok(())
    }

    /// Losses and gradients of the samples, part by part.
    fn compute(&mut self, samples: &[Sample], place: u64) -> Result<Computed, TrainError> {
        let part = samples.len().div_ceil(self.state.settings.accumulation);
        let mut computed = Computed::default();
        for (index, part_samples) in samples.chunks(part).enumerate() {
            let share = part_samples.len() as f64 / samples.len() as f64;
            let batch = self.batch(part_samples, place + (index * part) as u64)?;
            let Losses { named, total } = self.learner.losses(&batch)?;
            let value = total.double_value(&[]);
            let terms = named.iter().copied().chain([("the total loss", value)]);
            if let Some((name, value)) = terms.into_iter().find(|(_, value)| !value.is_finite()) {
                return Err(self.not_finite(name.to_owned(), value));
            }
            computed.add(share, &named, value, self.optimizer.gradients(&(total * share)));
        }
        Ok(computed)
    }

    fn batch(&mut self, samples: &[Sample], place: u64) -> Result<Batch, TrainError> {
        let ego = samples.iter().map(|sample| sample.ego);
        let draws: Vec<_> = ego.chain(samples.iter().flat_map(|sample| sample.exo)).collect();
        let features = self.source.train(&draws)?;
        let count = samples.len() as i64;
        let part = |start: i64, length: i64| Features {
            grid: features.grid,
            descriptors: features.descriptors.narrow(0, start, length),
            cls_attention: features.cls_attention.narrow(0, start, length),
        };
        let labels: Vec<i64> = samples.iter().map(|sample| sample.label as i64).collect();
        Ok(Batch {
            ego: part(0, count),
            exo: part(count, count * EXO_PER_SAMPLE as i64),
            labels: Tensor::from_slice(&labels).to_device(self.job.device),
            epoch: self.state.epoch,
            place,
        })
    }

    /// Tests and goes to the next epoch; false if it was stopped before the test was done.
    fn finish_epoch(&mut self, history: &mut History) -> Result<bool, TrainError> {
        let evaluation = match self.test()? {
            Some(evaluation) => evaluation,
            None if self.stopped() => return Ok(false),
            None => Evaluation { items: Vec::new(), skipped: Vec::new() },
        };
        let mean = evaluation.mean();
        let Job { dataset, limits, .. } = *self.job;
        let mut test = Test { network: &self.learner.network, source: &mut *self.source, dataset, limits };
        let views = report::views(&evaluation, &mut test)?;
        if let Some(mean) = &mean {
            history.test(self.done(), mean, &views)?;
        }
        self.state.scores.push(mean);
        let epoch = self.state.epoch;
        (self.state.epoch, self.state.step) = (epoch + 1, 0);
        let best = mean.is_some() && self.state.best().is_some_and(|(best, _)| best as u64 == epoch);
        if best {
            write_weights(&self.out.join(BEST), self.learner, &self.state)?;
        }
        self.save()?;
        let (report, metrics) = (self.out.join(REPORT), self.out.join(METRICS));
        report::write(&report, &metrics, &self.state, (&evaluation, dataset, &views))?;
        let evaluation = (!self.job.dataset.test.is_empty()).then_some(&evaluation);
        (self.watch)(&Event::Epoch { epoch: epoch + 1, evaluation, best });
        Ok(true)
    }

    fn test(&mut self) -> Result<Option<Evaluation>, TrainError> {
        let Job { dataset, limits, stop, .. } = *self.job;
        let of = dataset.test.len();
        if of == 0 {
            return Ok(None);
        }
        let watch = &mut *self.watch;
        let mut test = Test { network: &self.learner.network, source: &mut *self.source, dataset, limits };
        evaluate(&mut test, stop, &mut |done| watch(&Event::Test { done, of }))
    }

    fn not_finite(&self, term: String, value: f64) -> TrainError {
        let (epoch, step) = (self.state.epoch + 1, self.state.step + 1);
        TrainError::NotFinite { term, value, epoch, step, checkpoint: self.out.join(LAST) }
    }
}

impl Computed {
    /// One part's terms, total and gradients, of so large a share of the samples; the gradients have it in them.
    fn add(&mut self, share: f64, named: &[(&'static str, f64)], total: f64, gradients: Vec<Tensor>) {
        if self.named.is_empty() {
            self.named = named.iter().map(|(name, _)| (*name, 0.0)).collect();
            self.gradients = gradients;
        } else {
            self.gradients = self.gradients.iter().zip(&gradients).map(|(a, b)| added(a, b)).collect();
        }
        self.total += share * total;
        self.named.iter_mut().zip(named).for_each(|((_, sum), (_, value))| *sum += share * value);
    }
}

/// The names of a system's terms, in their order.
fn terms(settings: &Settings) -> &'static [&'static str] {
    match settings.system {
        System::LoopTrans => &["ego_cls", "exo_cls", "mse", "dice", "corr", "dill", "con"],
        System::Locate => &["ego_cls", "exo_cls", "proto", "con"],
        System::Wsma => &["ego_cls", "exo_cls", "d", "lrela", "clip"],
    }
}

/// A gradient that does not exist counts as none.
fn added(a: &Tensor, b: &Tensor) -> Tensor {
    match (a.defined(), b.defined()) {
        (true, true) => a + b,
        (true, false) => a.shallow_clone(),
        _ => b.shallow_clone(),
    }
}
