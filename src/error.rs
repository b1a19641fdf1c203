//! One error for the whole library, a variant per stage. Each stage's own type holds the evidence: what was expected,
//! what was found, in which file.

#[cfg(feature = "onnx")]
use crate::parity::ParityError;
use crate::{
    config::ConfigError,
    contract::BundleError,
    convert::ConvertError,
    export::{ExportError, precision::PrecisionError},
    perceive::InferError,
};

/// What can stop a program at start-up. Errors of a single frame are [`crate::perceive::FrameError`]: they reject that
/// frame and are counted, they never stop anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter or settings file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model bundle is missing, damaged or not what its contract says.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime could not load or run the model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A checkpoint could not be turned into weights.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Weights could not be turned into a model bundle.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A graph could not be given another precision.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A bundle could not be compared with its weights.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Parity(#[from] ParityError),
}
