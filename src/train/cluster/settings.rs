//! The settings of a cluster run.

use serde::{Deserialize, Serialize};

use crate::train::{TrainError, concepts::Assignment, settings::MAX_THREADS};

/// What a run is made of. The default is ACSeg's training on LoopTrans' network, its unpublished constants as a public
/// re-implementation has them (AdamW 1e-4, decay 0.01, batch 32).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of every random draw.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Pictures of a step.
    pub batch: usize,
    /// Learning rate.
    pub lr: f64,
    /// Of all parameters.
    pub weight_decay: f64,
    /// Longest gradient, all parameters together.
    pub clip: f64,
    /// Concepts K: at most as many parts a picture.
    pub parts: i64,
    /// Layers of the generator.
    pub layers: i64,
    /// How the loss reads similarities.
    pub assignment: Assignment,
    /// Train on exocentric pictures too, not on egocentric ones alone.
    pub exo: bool,
    /// Augmentations of each picture, computed once and kept in memory; 0: every draw is augmented anew.
    pub variants: u32,
    /// libtorch's threads; 0: its own choice.
    pub threads: u32,
    /// A checkpoint after so many steps.
    pub save_every: u64,
    /// The split's folder in the dataset's.
    pub split: Option<String>,
    /// The actions, as `looptrans train` takes them.
    pub affordances: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 42,
            steps: 2500,
            batch: 32,
            lr: 1e-4,
            weight_decay: 0.01,
            clip: 1.0,
            parts: 4,
            layers: 8,
            assignment: Assignment::CosinePlusOne,
            exo: false,
            variants: 1,
            threads: 0,
            save_every: 250,
            split: None,
            affordances: None,
        }
    }
}

impl Settings {
    /// # Errors
    /// A number that makes no sense.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let refuse = |what, expected: &str, found: String| {
            Err(TrainError::Values { what, expected: expected.to_owned(), found })
        };
        let counts = [("steps", self.steps), ("batch", self.batch as u64), ("save_every", self.save_every)];
        if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return refuse(what, "at least 1", "0".to_owned());
        }
        for (what, value, least) in [
            ("lr", self.lr, f64::MIN_POSITIVE),
            ("clip", self.clip, f64::MIN_POSITIVE),
            ("weight decay", self.weight_decay, 0.0),
        ] {
            if !(value.is_finite() && value >= least) {
                return refuse(what, if least > 0.0 { "above 0" } else { "0 or more" }, value.to_string());
            }
        }
        if self.threads as usize > MAX_THREADS {
            return refuse("threads", "at most 1024", self.threads.to_string());
        }
        const MOST: i64 = 64;
        for (what, value) in [("parts", self.parts), ("layers", self.layers)] {
            if !(1..=MOST).contains(&value) {
                return refuse(what, "1 to 64", value.to_string());
            }
        }
        Ok(())
    }
}
