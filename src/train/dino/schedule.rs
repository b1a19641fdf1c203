//! What changes from step to step: learning rate, weight decay, the teacher's momentum.

use std::f64::consts::PI;

use super::Settings;
use crate::train::adamw::Rates;

/// Where the learning rate ends.
const LAST_LR: f64 = 1e-6;
/// Weight decay at the first and the last step.
const WEIGHT_DECAY: [f64; 2] = [0.04, 0.4];

/// One step's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Of the optimiser.
    pub rates: Rates,
    /// How much of the teacher stays.
    pub momentum: f64,
    /// The prototypes are not trained yet.
    pub last_layer_frozen: bool,
}

/// All steps' numbers.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    lr: f64,
    momentum: f64,
    warmup: u64,
    frozen: u64,
    steps: u64,
}

impl Schedule {
    /// For a run of these settings with so many steps an epoch.
    pub fn new(settings: &Settings, epoch: u64) -> Self {
        Self {
            lr: settings.lr,
            momentum: settings.momentum,
            warmup: settings.warmup_epochs.min(settings.epochs).saturating_mul(epoch),
            frozen: settings.frozen_epochs.saturating_mul(epoch),
            steps: settings.epochs.saturating_mul(epoch),
        }
    }

    /// Of a step, counted from 0. The learning rate rises linearly through the warm-up; it then falls, and decay and
    /// momentum rise all the time, by half a cosine that ends at the last step.
    pub fn at(&self, step: u64) -> Moment {
        let share = |step: u64, of: u64| (step as f64 / of.saturating_sub(1).max(1) as f64).min(1.0);
        let all = share(step, self.steps);
        let lr = if step < self.warmup {
            self.lr * (step + 1) as f64 / self.warmup as f64
        } else {
            cosine(self.lr, LAST_LR.min(self.lr), share(step - self.warmup, self.steps.saturating_sub(self.warmup)))
        };
        let [first, last] = WEIGHT_DECAY;
        Moment {
            rates: Rates { lr, weight_decay: cosine(first, last, all) },
            momentum: cosine(self.momentum, 1.0, all),
            last_layer_frozen: step < self.frozen,
        }
    }
}

/// From one value at share 0 to another at share 1.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}
