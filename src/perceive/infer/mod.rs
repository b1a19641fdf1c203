//! The model: network-size pixels in, class maps and presence out, computed by ONNX Runtime.
//!
//! ```text
//! u8 [H, W, 3] RGB at network size -> heatmap f32 [A, h, w] (class maps, not normalised) + presence f32 [A] in [0, 1]
//! ```
//!
//! The library is loaded at run time: see [`InferSettings::library`]. Which hardware computes is always an explicit
//! choice ([`ProviderChoice`]), and what it came to is reported ([`ProviderInUse`]), never guessed.

#[cfg(feature = "onnx")]
mod buffers;
#[cfg(feature = "onnx")]
mod engine_cache;
mod failure;
#[cfg(feature = "onnx")]
mod loaded;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod options;
#[cfg(feature = "onnx")]
pub mod probe;
#[cfg(feature = "onnx")]
mod profile;
#[cfg(feature = "onnx")]
mod provider;
#[cfg(feature = "onnx")]
mod runtime;
#[cfg(feature = "onnx")]
mod session;
mod settings;

use std::{collections::BTreeMap, path::PathBuf};

pub use crate::config::ProviderChoice;
use crate::contract::{BundleError, Size};
#[cfg(feature = "onnx")]
pub use engine_cache::Engines;
pub use failure::FailureKind;
#[cfg(feature = "onnx")]
pub use model::{BatchModel, Model, Released};
#[cfg(feature = "onnx")]
pub use provider::Prospects;
pub use settings::{GpuSettings, InferSettings};

/// The environment variable that names ONNX Runtime's library file, as the `ort` crate and our scripts use it.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The hardware that computes, and whether that is less than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInUse {
    /// What was asked for.
    pub requested: ProviderChoice,
    /// What computes; never [`ProviderChoice::Auto`].
    pub used: ProviderChoice,
    /// One line per provider that was tried in vain. Empty: nothing failed.
    pub failed: Vec<String>,
    /// What ran in the first run; None where that could not be counted.
    pub graph: Option<GraphShare>,
}

/// Which provider ran how much of the graph, as ONNX Runtime's own profile of one run tells it. The graph is the
/// optimised one: fused operators count once, and so does a part that a provider such as TensorRT compiled as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphShare {
    /// Nodes by the provider's name in ONNX Runtime, such as "CPUExecutionProvider".
    pub nodes: BTreeMap<String, usize>,
    /// Multiply-adds of its convolutions and matrix products in that run; what a provider compiled as a whole is not
    /// in it. None: there is an operator whose size the profile does not tell, such as a convolution of integers.
    pub multiply_adds: Option<u64>,
}

impl GraphShare {
    /// How many nodes there are.
    pub fn total_nodes(&self) -> usize {
        self.nodes.values().sum()
    }
}

impl std::fmt::Display for GraphShare {
    /// "CPUExecutionProvider 12, CUDAExecutionProvider 250 of 262 graph nodes"
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.nodes.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "{} of {} graph nodes", parts.join(", "), self.total_nodes())
    }
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
    #[error("ONNX Runtime: {step}: {}{cause}", .kind.before_cause())]
    Runtime {
        /// What was being done.
        step: &'static str,
        /// What its words tell of.
        kind: FailureKind,
        /// Its own words.
        cause: String,
    },
}

impl InferError {
    /// What the failure is about.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Runtime { kind, .. } => *kind,
            _ => FailureKind::Other,
        }
    }
}
