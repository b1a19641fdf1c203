//! The models on libtorch: for training, and as the reference of every export. The only folder that names `tch`.
//!
//! ```text
//! image -> backbone (DINO, frozen) -> descriptors -> adapter (aff_proj) -> F
//!   exo F -> theta_scam -> classifier -> G_exo      what is done, seen from outside
//!   ego F -> theta_scam -> classifier -> G_ego      the same activation map on the robot's view (LoopTrans only)
//!   ego F -> theta_pixel -> classifier -> P         the class maps that are evaluated and exported
//! ```
//!
//! The losses on them are in [`losses`], the parts of pictures that these compare with in [`concepts`] and [`locate_parts`].
//!
//! Parameter names are the published `state_dict` keys, so published checkpoints load by name ([`weights`]).

pub mod adamw;
mod adapter;
pub mod backbone;
mod branch;
mod classifier;
pub mod cluster;
pub mod concepts;
pub mod dino;
pub mod eager;
pub mod features;
mod generator;
pub mod inference;
pub mod locate;
pub mod locate_parts;
pub mod looptrans;
pub mod loss_report;
pub mod losses;
mod network;
mod norm;
pub mod optimizer;
pub mod ranks;
pub mod run;
pub mod settings;
mod shape;
pub mod store;
pub mod study;
mod tensor;
mod theta_pixel;
mod theta_scam;
pub mod trace;
pub mod weights;
pub mod wsma;

use std::path::PathBuf;

use crate::{
    data::DataError,
    export::{ExportError, weights::Problems},
    perceive::picture::PictureError,
};

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
    /// The file system said no.
    #[error("train: cannot {action} {path}: {source}")]
    Io {
        /// "read", "write" and the like.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("train: {path}: expected {expected}, found {found}")]
    File {
        /// It.
        path: PathBuf,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A loss, a gradient or what is trained became NaN or infinite.
    #[error(
        "train: {term} is {value} in epoch {epoch}, step {step}: stopped; {checkpoint} holds the last good state. \
         Remedy: a lower --lr, or other weights of the losses, in a new --out"
    )]
    NotFinite {
        /// The loss term, the gradient of which parameter, or which tensor of a checkpoint.
        term: String,
        /// NaN or an infinity.
        value: f64,
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1.
        step: u64,
        /// What to resume from.
        checkpoint: PathBuf,
    },
    /// The weights file does not fit the model.
    #[error("train: {path}: weights do not fit: {problems}")]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// All that does not fit.
        problems: Box<Problems>,
    },
    /// The weights file does not say what it is.
    #[error(transparent)]
    Describe(#[from] ExportError),
    /// Settings that are unknown or make no sense.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// A dataset or a picture of it can't be used.
    #[error(transparent)]
    Data(#[from] DataError),
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
    /// Numbers or types other than those that make sense.
    #[error("train: {what}: expected {expected}, found {found}")]
    Values {
        /// Of what.
        what: &'static str,
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
}

impl From<PictureError> for TrainError {
    fn from(error: PictureError) -> Self {
        Self::Data(error.into())
    }
}
