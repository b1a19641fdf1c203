//! The model: network-size pixels in, class maps and presence out, computed by ONNX Runtime.
//!
//! ```text
//! u8 [H, W, 3] RGB at network size -> heatmap f32 [A, h, w] (class maps, not normalised) + presence f32 [A] in [0, 1]
//! ```
//!
//! The library is loaded at run time: see [`InferSettings::library`]. Which hardware computes is always an explicit
//! choice ([`ProviderChoice`]), and what it came to is reported ([`ProviderInUse`]), never guessed.

#[cfg(feature = "onnx")]
pub mod probe;
#[cfg(feature = "onnx")]
mod provider;
#[cfg(feature = "onnx")]
mod runtime;
#[cfg(feature = "onnx")]
mod session;

use std::path::PathBuf;

pub use crate::config::ProviderChoice;
use crate::contract::{BundleError, Size};
#[cfg(feature = "onnx")]
pub use session::Model;

/// The environment variable that names ONNX Runtime's library file, as the `ort` crate and our scripts use it.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// How to load and run a model.
#[derive(Debug, Clone, Default)]
pub struct InferSettings {
    /// ONNX Runtime's library file. None: [`LIBRARY_VARIABLE`], and without that the system's own by its usual name.
    /// One process uses one library: the first model loaded decides.
    pub library: Option<PathBuf>,
    /// The hardware asked for.
    pub provider: ProviderChoice,
    /// May the CPU serve when the hardware asked for can't be had?
    pub allow_fallback: bool,
    /// Which of several GPUs, from 0.
    pub device_id: u32,
    /// Threads for one operator; 0 = one per core.
    pub intra_op_threads: usize,
}

/// The hardware that computes, and whether that is less than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInUse {
    /// What was asked for.
    pub requested: ProviderChoice,
    /// What computes; never [`ProviderChoice::Auto`].
    pub used: ProviderChoice,
    /// One line per provider that was tried in vain. Empty: nothing failed.
    pub failed: Vec<String>,
}

impl ProviderInUse {
    /// True when something that should work did not: a provider asked for by name, or one that `auto` found in the
    /// library.
    pub fn is_degraded(&self) -> bool {
        !self.failed.is_empty()
    }
}

/// The model's answer for one picture, borrowed from the model until its next run.
#[derive(Debug, Clone, Copy)]
pub struct ClassMaps<'a> {
    /// Theta_pixel's class maps, f32 [A, h, w] row by row, not normalised. All finite.
    pub maps: &'a [f32],
    /// h and w.
    pub size: Size,
    /// How much the picture affords each action, f32 [A] in [0, 1]. All finite.
    pub presence: &'a [f32],
}

impl<'a> ClassMaps<'a> {
    /// One action's map, f32 [h, w]; empty if there is no such action.
    pub fn map(&self, class_id: usize) -> &'a [f32] {
        let cells = self.size.height as usize * self.size.width as usize;
        self.maps.chunks_exact(cells.max(1)).nth(class_id).unwrap_or_default()
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// ONNX Runtime's library can't be used.
    #[error(
        "ONNX Runtime: cannot use {path}: {cause}. Remedy: set {LIBRARY_VARIABLE} to a libonnxruntime.so of version \
         {minimum} or newer (in a Python wheel of onnxruntime it lies in onnxruntime/capi/)"
    )]
    Library {
        /// The file that was tried.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// The oldest version that serves.
        minimum: String,
    },
    /// A provider asked for can't be had, and falling back was not allowed.
    #[error(
        "execution provider {requested} can't be had: {}. allow_fallback is off, so the CPU may not stand in",
        .failed.join("; ")
    )]
    Provider {
        /// The name asked for.
        requested: &'static str,
        /// One line per provider that was tried.
        failed: Vec<String>,
    },
    /// The bundle is not what its contract says.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A setting has no meaning for this model.
    #[error("{setting}: expected {expected}, found {found}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// ONNX Runtime refused the model or failed to run it.
    #[error("ONNX Runtime: {step}: {cause}")]
    Runtime {
        /// What was being done.
        step: &'static str,
        /// Its own words.
        cause: String,
    },
}
