//! The models on libtorch: for training, and as the reference of every export. The only folder that names `tch`.
//!
//! ```text
//! image -> backbone (DINO, frozen) -> descriptors -> adapter (aff_proj) -> F
//!   exo F -> theta_scam -> classifier -> G_exo      what is done, seen from outside
//!   ego F -> theta_scam -> classifier -> G_ego      the same activation map on the robot's view (LoopTrans only)
//!   ego F -> theta_pixel -> classifier -> P         the class maps that are evaluated and exported
//! ```
//!
//! Parameter names are the published `state_dict` keys, so published checkpoints load by name ([`weights`]).

mod adapter;
pub mod backbone;
mod branch;
mod classifier;
pub mod eager;
pub mod locate;
pub mod looptrans;
mod norm;
mod theta_pixel;
mod theta_scam;
pub mod trace;
pub mod weights;

use std::path::PathBuf;

use crate::export::weights::Problems;

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// libtorch or the file system said no.
    #[error("train: cannot read {path}: {source}")]
    Read {
        /// The weights file.
        path: PathBuf,
        /// The cause.
        source: tch::TchError,
    },
    /// The weights file does not fit the model.
    #[error("train: {path}: weights do not fit: {problems}")]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// All that does not fit.
        problems: Box<Problems>,
    },
    /// A tensor of another shape than the model takes.
    #[error("train: {what}: expected {expected}, found {found:?}")]
    Input {
        /// Which tensor.
        what: &'static str,
        /// Its shape in words.
        expected: String,
        /// The shape that came.
        found: Vec<i64>,
    },
}
