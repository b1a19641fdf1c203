//! The loop over epochs and steps.

use std::{path::Path, sync::atomic::Ordering};

use tch::Tensor;

use super::{
    BEST, Event, Job, LAST, METRICS, REPORT, State, WEIGHTS,
    checkpoint::{tensors_of, write_checkpoint, write_weights},
    checks::first_not_finite,
    evaluate::{Evaluation, Test, evaluate},
    history::{At, History},
    learner::{Batch, Learner, Losses, Together},
    report,
};
use crate::{
    data::sampling::{EXO_PER_SAMPLE, ExoRule, Sample, Sampler, Variants},
    train::{
        TrainError,
        backbone::Features,
        features::FeatureSource,
        loss_report::System,
        optimizer::Optimizer,
        ranks::joint::{Joint, added, summed},
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
        let leads = self.job.ranks.leads();
        let steps = self.job.dataset.samples().div_ceil(self.state.settings.batch) as u64;
        let history = leads.then(|| History::open(self.out, terms, self.done(), steps));
        let mut history = history.transpose()?;
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
        if leads {
            write_weights(&self.out.join(WEIGHTS), self.learner, &self.state)?;
        }
        Ok(true)
    }

    /// Asked for on any rank: all end after the same step.
    fn stopped(&self) -> bool {
        self.job.ranks.any(self.job.stop.load(Ordering::Relaxed))
    }

    /// What is done, as lines of the history count it.
    fn done(&self) -> At {
        At { epoch: self.state.epoch + 1, step: self.state.step }
    }

    /// No file is written of a state that can't be gone on from or used: the older one stays. A loss does not show all of
    /// it, as a step's own outcome and running variances count in the next one only.
    fn check_state(&self) -> Result<(), TrainError> {
        match first_not_finite(&tensors_of(self.learner, &self.optimizer)) {
            None => Ok(()),
            Some((name, value)) => Err(self.not_finite(name.to_owned(), value, self.state.step)),
        }
    }

    fn save(&self) -> Result<(), TrainError> {
        // On every rank, so that all end.
        self.check_state()?;
        if !self.job.ranks.leads() {
            return Ok(());
        }
        write_checkpoint(&self.out.join(LAST), self.learner, &self.optimizer, &self.state)
    }

    fn step(
        &mut self,
        samples: &[Sample],
        place: u64,
        steps: u64,
        history: &mut Option<History>,
    ) -> Result<(), TrainError> {
        let Computed { named, total, gradients } = self.compute(samples, place)?;
        if let Some(name) = self.optimizer.not_finite(&gradients) {
            return Err(self.not_finite(format!("the gradient of {name}"), f64::NAN, self.state.step + 1));
        }
        let lr = self.state.settings.optimizer.lr_in(self.state.epoch);
        self.optimizer.step(&gradients, lr);
        self.state.step += 1;
        let at = self.done();
        if let Some(history) = history {
            history.step(at, lr, &named, total)?;
        }
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
            let part = self.part(part_samples, share, place + (index * part) as u64)?;
            let terms = part.named.iter().copied().chain([("the total loss", part.total)]);
            if let Some((name, value)) = terms.into_iter().find(|(_, value)| !value.is_finite()) {
                return Err(self.not_finite(name.to_owned(), value, self.state.step + 1));
            }
            computed.add(share, part);
        }
        computed.gradients = summed(self.job.ranks, &computed.gradients);
        Ok(computed)
    }

    /// Of a part's samples: their mean losses, and the gradients of these losses times `share`, the part's share of the
    /// step. The ranks divide the samples among them; the gradients are this rank's summand of the whole.
    fn part(&mut self, samples: &[Sample], share: f64, place: u64) -> Result<Computed, TrainError> {
        let ranks = self.job.ranks;
        if ranks.size() == 1 {
            let Losses { named, total } = self.learner.losses(&self.batch(samples, (place, 0))?, None)?;
            let value = total.double_value(&[]);
            return Ok(Computed { named, total: value, gradients: self.optimizer.gradients(&(total * share)) });
        }
        let own = ranks.slice(samples.len());
        let own_share = own.len() as f64 / samples.len() as f64;
        let joint = Joint::new(ranks, !own.is_empty());
        // A rank without samples goes along with one that counts nothing.
        let own = if own.is_empty() { 0..1 } else { own };
        let batch = self.batch(&samples[own.clone()], (place, own.start))?;
        let together = Together { ranks, joint: &joint, share: own_share };
        let Losses { named, total } = self.learner.losses(&batch, Some(together))?;
        let (names, mut values): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        values.push(total.double_value(&[]));
        let means = together.mean(&values);
        Ok(Computed {
            total: means[names.len()],
            named: names.into_iter().zip(means).collect(),
            gradients: joint.gradients(&(total * (own_share * share)), &self.optimizer.values()),
        })
    }

    /// `place`: of the part in the epoch, and of these samples in the part.
    fn batch(&mut self, samples: &[Sample], (place, before): (u64, usize)) -> Result<Batch, TrainError> {
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
            before,
        })
    }

    /// Tests and goes to the next epoch; false if it was stopped before the test was done.
    fn finish_epoch(&mut self, history: &mut Option<History>) -> Result<bool, TrainError> {
        self.check_state()?;
        let evaluation = self.test()?;
        if self.job.ranks.any(evaluation.is_none()) {
            return Ok(false);
        }
        let evaluation = evaluation.unwrap_or_default();
        let mean = evaluation.mean();
        let Job { dataset, limits, .. } = *self.job;
        let mut test = Test { network: &self.learner.network, source: &mut *self.source, dataset, limits };
        let views = report::views(&evaluation, &mut test)?;
        if let (Some(mean), Some(history)) = (&mean, history) {
            history.test(self.done(), mean, &views)?;
        }
        self.state.scores.push(mean);
        let epoch = self.state.epoch;
        (self.state.epoch, self.state.step) = (epoch + 1, 0);
        if !self.job.ranks.leads() {
            return Ok(true);
        }
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

    /// By rank 0, while the others wait. None: stopped on the way.
    fn test(&mut self) -> Result<Option<Evaluation>, TrainError> {
        let Job { dataset, limits, stop, ranks, .. } = *self.job;
        let of = dataset.test.len();
        if of == 0 || !ranks.leads() {
            return Ok(Some(Evaluation::default()));
        }
        let watch = &mut *self.watch;
        let mut test = Test { network: &self.learner.network, source: &mut *self.source, dataset, limits };
        evaluate(&mut test, stop, &mut |done| watch(&Event::Test { done, of }))
    }

    fn not_finite(&self, term: String, value: f64, step: u64) -> TrainError {
        TrainError::NotFinite { term, value, epoch: self.state.epoch + 1, step, checkpoint: self.out.join(LAST) }
    }
}

impl Computed {
    /// One part's, of so large a share of the samples.
    fn add(&mut self, share: f64, part: Self) {
        let Self { named, total, gradients } = part;
        if self.named.is_empty() {
            self.named = named.iter().map(|(name, _)| (*name, 0.0)).collect();
            self.gradients = gradients;
        } else {
            self.gradients = self.gradients.iter().zip(&gradients).map(|(a, b)| added(a, b)).collect();
        }
        self.total += share * total;
        self.named.iter_mut().zip(&named).for_each(|((_, sum), (_, value))| *sum += share * value);
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
