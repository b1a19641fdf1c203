//! SynthAff: a drawn dataset in AGD20K's folder layout, with exact ground truth. No libtorch.
//!
//! ```text
//! plan (which pictures) -> picture (one of them) = backdrop + kinds (the object, of parts bound to actions)
//!                                                  + actor (a hand, an arm, someone: how much of the part is hidden)
//!                       -> canvas (pixels and the part's mask) -> truth (its density) -> write (files, manifest)
//! ```
//!
//! The same seed gives the same bytes on every machine: draws are integers, and drawing takes only the operations that
//! IEEE 754 fixes to the last bit (+ - * / and square roots), in the same order whatever the number of threads. Nothing
//! here knows what will be trained on the pictures.
//!
//! What makes the set hard in the way of real pictures: parts of all actions share their materials, so that only small
//! marks and the shape tell them apart; actors hide the part to a measured degree; poses of hands and places go with the
//! action, though they say nothing of the part.

mod actor;
mod affordance;
mod backdrop;
mod canvas;
mod chance;
mod geometry;
mod hand;
pub mod kinds;
mod manifest;
mod paint;
mod picture;
mod plan;
mod shape;
mod sheet;
mod sketch;
mod truth;
mod write;

use std::path::PathBuf;

pub use actor::Occlusion;
pub use affordance::Affordance;
pub use backdrop::Setting;
pub use hand::HandPose;
pub use manifest::{Counts, Manifest};
pub use picture::{Action, Drawn, Shot, View};
pub use plan::{Size, splits};
#[cfg(feature = "train")]
pub(crate) use sheet::letters;
pub use sheet::sheet;
pub use truth::{PartBox, density, part_box};
pub use write::{Report, Settings, picture_count, write};

/// Why a set was not drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// Something is in the way.
    #[error("synth: {path} is {found}; choose another place")]
    Exists {
        /// The place asked for.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The file system said no.
    #[error("synth: cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A picture could not be encoded.
    #[error("synth: cannot encode a picture: {0}")]
    Encode(#[from] image::ImageError),
    /// The manifest could not be put in words.
    #[error("synth: cannot write the manifest: {0}")]
    Manifest(String),
    /// A drawing thread ended before its time.
    #[error("synth: a drawing thread failed")]
    Worker,
}
