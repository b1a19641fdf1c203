//! Lower precision for a finished graph, however it was built: ONNX in, ONNX out, the same inputs and outputs.
//!
//! ```text
//! fp16: half (every f32 constant and value becomes f16)
//! int8: layers (what can be quantised) -> calibrate (ranges of their inputs on pictures) -> search (which layers stay in
//!       float, by the drift of the final heatmaps) -> qdq (QuantizeLinear and DequantizeLinear around the others)
//! ```
//!
//! Int8 is static: weights are symmetric, one scale per output channel; activations are u8 with one scale and zero point
//! per tensor. That is the form that ONNX Runtime's CPU kernels compute in; TensorRT asks for signed activations and does
//! not take it.

#[cfg(feature = "onnx")]
mod bundle;
#[cfg(feature = "onnx")]
mod calibrate;
mod constants;
#[cfg(feature = "onnx")]
mod drift;
mod half;
mod layers;
mod qdq;
mod ranges;
mod reduced_range;
#[cfg(feature = "onnx")]
mod search;

use std::path::PathBuf;

#[cfg(feature = "onnx")]
pub use self::{
    bundle::{Change, Changed, change},
    calibrate::{MAX_PICTURES, Pictures, folder_pictures, observe},
    drift::{HeatDrift, Judge},
    search::{Int8, Int8Settings, LayerDrift, int8},
};
pub use self::{
    half::fp16,
    layers::{Kind, Layer, find as find_layers},
    qdq::{Plan, quantise},
    ranges::{Observation, Observations, Range, RangeRule},
    reduced_range::{ReduceRange, cpu_saturates},
};
use crate::{
    config::ConfigError,
    contract::BundleError,
    metrics::MetricError,
    perceive::{FrameError, InferError, picture::PictureError},
};

/// Why a graph cannot be given another precision.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrecisionError {
    /// It is in lower precision already, in part at least.
    #[error("precision: expected a graph in f32, found {operator} at {at:?}: it is in lower precision already")]
    Already {
        /// The value that says so.
        at: String,
        /// Operator or type.
        operator: String,
    },
    /// The graph is not one that this understands.
    #[error("precision: {what}: expected {expected}, found {found}")]
    Graph {
        /// Which part.
        what: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A constant beyond f16's range.
    #[error("precision: constant {name:?} holds {value}: fp16 ends at 65504")]
    Overflow {
        /// Its name.
        name: String,
        /// The value.
        value: f32,
    },
    /// No layer is worth quantising, or none can be.
    #[error("precision: int8: expected a MatMul, Gemm or Conv with constant weights, found none in the graph")]
    NothingToQuantise,
    /// NaN or infinity inside the network, so that there is no range.
    #[error("precision: calibration: {name:?} holds {value}: the network does not work on this picture")]
    NotFinite {
        /// The value's name.
        name: String,
        /// What it holds.
        value: f32,
    },
    /// The calibration folder can't be read.
    #[error("precision: calibration folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The calibration folder holds no picture.
    #[error("precision: calibration folder {path}: expected JPEG or PNG pictures, found none{}",
        .first.as_ref().map(|first| format!(" in {files} files; the first: {first}")).unwrap_or_default())]
    NoPictures {
        /// The folder.
        path: PathBuf,
        /// How many files it holds.
        files: usize,
        /// What is wrong with the first of them.
        first: Option<PictureError>,
    },
    /// No class map that is not flat, so that there is no heat to compare.
    #[error("precision: every class map is flat on all {pictures} pictures: there is no heat to compare")]
    NoHeat {
        /// How many pictures were tried.
        pictures: usize,
    },
    /// Int8 was asked for without pictures.
    #[error("precision: int8: expected calibration pictures, found none")]
    NoCalibration,
    /// The bundle's graph does not parse, though it passed its checks.
    #[error("precision: not an ONNX file that export wrote: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The node's own limit for pictures could not be had.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A picture could not be run.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The graph could not be opened.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The new graph does not keep the contract.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Heatmaps could not be compared.
    #[error(transparent)]
    Metric(#[from] MetricError),
}
