//! Named weights to an ONNX graph and a model bundle, written from Rust.
//!
//! ```text
//! seeded (numbers by rule) -> weights file
//! weights file -> weights (checked names, shapes, values) -> theta_pixel { vit, heads } on graph -> bundle folder
//! ```
//!
//! Each stage names its nodes after the weights it uses, so that a node in a profile leads to its parameters.

mod attention;
pub mod bundle;
pub mod graph;
pub mod heads;
pub mod layers;
pub mod layout;
pub mod positions;
pub mod precision;
pub mod recipe;
pub mod rewrites;
pub mod seeded;
pub mod theta_pixel;
pub mod vit;
pub mod weights;

use std::path::PathBuf;

use crate::contract::{BundleError, Size};

/// Why weights cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file system said no.
    #[error("export: cannot {action} {path}: {source}")]
    Io {
        /// "read", "write" and the like.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("export: {path}: expected a safetensors file, found {source}")]
    NotSafetensors {
        /// The weights file.
        path: PathBuf,
        /// The cause.
        source: safetensors::SafeTensorError,
    },
    /// The file's own description (actions, origin, heads) is missing or contradicts its weights.
    #[error("export: {path}: {what}: expected {expected}, found {found}")]
    Description {
        /// The weights file.
        path: PathBuf,
        /// Which fact.
        what: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Keys that are missing, unexpected, of another shape, or hold NaN or infinity.
    #[error("export: {path}: weights do not fit: {problems}")]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// All of them.
        problems: weights::Problems,
    },
    /// An affordance the weights do not know.
    #[error("export: affordance {name:?}: expected one of {known}{hint}")]
    UnknownAffordance {
        /// What was asked for.
        name: String,
        /// The weights' own list.
        known: String,
        /// ", did you mean ...?" or nothing.
        hint: String,
    },
    /// An input that is no whole number of patches.
    #[error(
        "export: input size: expected sides of 1 to {longest} pixels that are multiples of the patch, {patch}, found \
         {}x{} (height x width)",
        .found.height, .found.width
    )]
    InputSize {
        /// What was asked for.
        found: Size,
        /// Side of a patch in pixels.
        patch: usize,
        /// The longest side.
        longest: u32,
    },
    /// Something already lies where the result should go.
    #[error("export: {path} exists: expected nothing there, found {found}; {remedy}")]
    Exists {
        /// The place.
        path: PathBuf,
        /// What lies there.
        found: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The written bundle does not pass the checks of its reader.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}
