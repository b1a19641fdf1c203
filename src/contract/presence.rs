//! What a bundle says of how far its presence can be trusted: measured when it was exported, on labelled pictures.

use serde::{Deserialize, Serialize};

use super::PresenceSource;

/// Presence as a probability: sigmoid(logit / temperature + bias), inside the graph.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Above 1: the logits promise too much.
    pub temperature: f64,
    /// How much more often than the logits say an action is there.
    pub bias: f64,
}

impl Calibration {
    /// The logits as they are.
    pub const NONE: Self = Self { temperature: 1.0, bias: 0.0 };
}

impl Default for Calibration {
    fn default() -> Self {
        Self::NONE
    }
}

/// How presence was calibrated and how good it is, on pictures that were not calibrated with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceQuality {
    /// What is folded into the graph.
    pub calibration: Calibration,
    /// Labelled pictures that it was fitted on.
    pub fitted_on: u32,
    /// Other pictures that the figures below are of.
    pub measured_on: u32,
    /// Pairs of such a picture and an action that its object affords.
    pub positives: u32,
    /// Pairs of such a picture and an action that its kind of object is never filed under.
    pub negatives: u32,
    /// Every source that was looked at; the bundle's own has the highest AUROC on the pictures that were fitted on. Its
    /// figures are those of the bundle, in its precision; of another source, those of the graph in f32.
    pub sources: Vec<SourceQuality>,
}

/// One source of presence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceQuality {
    /// Which.
    pub source: PresenceSource,
    /// How often a positive pair has a higher presence than a negative one; 0.5 is chance. No calibration changes it.
    pub auroc: f64,
    /// Expected calibration error (15 bins) of the logits as they are.
    pub ece_before: f64,
    /// Expected calibration error of the source's own calibration.
    pub ece_after: f64,
    /// What was fitted for this source.
    pub calibration: Calibration,
}
