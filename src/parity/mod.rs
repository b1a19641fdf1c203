//! Is an exported graph the same function? Answers of a bundle beside those of a reference with the same weights, and
//! what each rewrite of the graph is worth.
//!
//! ```text
//! pictures (drawn by rule, or a folder) -> reference (libtorch, else the graph without rewrites) -> compare -> Parity
//!                                       -> candidate (a bundle in ONNX Runtime)                /
//! ```

pub mod agreement;
mod compare;
pub mod pictures;
pub mod presence;
pub mod reference;
pub mod rewrites;

use std::path::PathBuf;

pub use compare::{Answer, compare};

#[cfg(feature = "train")]
use crate::train::TrainError;
use crate::{
    export::ExportError,
    metrics::MetricError,
    perceive::{FrameError, InferError, picture::PictureError},
};

/// Why a bundle could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParityError {
    /// The folder of pictures can't be listed.
    #[error("parity: cannot read the pictures in {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is nothing to compare on.
    #[error("parity: {path}: expected JPEG or PNG pictures, found none")]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// Not enough labelled pictures to calibrate presence on.
    #[error(
        "parity: {path}: expected test pictures of several kinds of objects, at least two of a kind, some of which afford an \
         action of the model and some do not; found too few"
    )]
    TooFewLabelled {
        /// The dataset's folder.
        path: PathBuf,
    },
    /// A picture can't be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// ONNX Runtime can't be had or does not take the graph.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A picture can't be resized, or an answer can't be used.
    #[error("parity: {0}")]
    Frame(#[from] FrameError),
    /// The graph of the reference can't be built.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The network can't be run on libtorch.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Heatmaps that can't be scored.
    #[error("parity: {0}")]
    Metric(#[from] MetricError),
    /// Answers of different lengths.
    #[error("parity: {output}: the reference gives {expected} numbers, the bundle {found}")]
    Length {
        /// Which output.
        output: &'static str,
        /// The reference's.
        expected: usize,
        /// The bundle's.
        found: usize,
    },
}
