//! The numbers a bundle computes in.

use serde::{Deserialize, Serialize};

/// The numbers inside a graph; its inputs and outputs are the same with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32.
    #[default]
    Fp32,
    /// f16.
    Fp16,
    /// u8 x i8 where it costs much, f32 elsewhere.
    Int8,
}

impl Precision {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// How a graph was quantised, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// Pictures that the ranges of activations come from.
    pub calibration_pictures: u32,
    /// How many of these, evenly spread, `sim` and `kld` are of. Bundles that do not say: at most the first 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_pictures: Option<u32>,
    /// How ranges were made of them.
    pub ranges: String,
    /// Bits of a weight: 7 where the processor's 8-bit products saturate.
    pub weight_bits: u8,
    /// Share, in [0, 1], of the multiplications with constant weights that are in int8.
    pub int8_share: f64,
    /// Layers in f32 because their own drift was too large.
    pub float_for_drift: Vec<String>,
    /// Layers in f32 because there is nothing to gain.
    pub float_for_size: Vec<String>,
    /// Mean SIM between the final heatmaps of f32 and int8 on the judged pictures.
    pub sim: f64,
    /// Mean KLD from the one to the other, in nats.
    pub kld: f64,
}
