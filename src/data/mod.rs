//! Pictures on disk to training samples and test items, in the folder layout of AGD20K and HICO-IIF. No libtorch.
//!
//! ```text
//! <root>/<split>/trainset/{exocentric,egocentric}/<affordance>/<object>/*.jpg
//! <root>/<split>/testset/{egocentric,GT}/<affordance>/<object>/<name>.{jpg,png}
//!
//! <root>/<split>/affordances.txt: the affordances in class order, one per line; the published datasets have none
//!
//! index (which pictures there are) -> sampling (which of them make one sample) -> augment (their pixels)
//!                                  -> truth (a test item's ground truth) -> evaluation (scores)
//! ```
//!
//! The order of everything is that of sorted names, so that the same folder gives the same data on every machine.

pub mod augment;
mod check;
pub mod evaluation;
pub mod index;
pub mod sampling;
pub mod truth;

use std::path::PathBuf;

pub use check::{Finding, PictureFinding, check_pictures, leave_out};
pub use index::{Dataset, TestItem, TrainFolder};

use crate::perceive::picture::PictureError;

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system said no.
    #[error("data: cannot read {path}: {source}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No folder with a trainset or testset.
    #[error("data: {root}: expected {expected}, found {found}")]
    Layout {
        /// The folder given.
        root: PathBuf,
        /// The folders that were looked for.
        expected: String,
        /// The folders that are there.
        found: String,
    },
    /// Folders of affordances that the list does not name.
    #[error(
        "data: {folder}: affordance folders that are not in the list: {unknown}; the list: {known}. Remedy: name all of \
         them with --affordances, or take the folders away"
    )]
    Unlisted {
        /// The folder that holds them.
        folder: PathBuf,
        /// Their names.
        unknown: String,
        /// The list.
        known: String,
    },
    /// The class list that a split brings along is none.
    #[error("data: {path}: {cause}")]
    ClassList {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        cause: String,
    },
    /// Nothing to train on or to test with.
    #[error("data: {folder}: no {what}")]
    Nothing {
        /// Where they should be.
        folder: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A picture can't be read.
    #[error("data: {0}")]
    Picture(#[from] PictureError),
    /// A picture can't be resized to what training takes.
    #[error("data: {path}: {cause}")]
    Resize {
        /// The picture.
        path: PathBuf,
        /// What the resizer said.
        cause: String,
    },
}
