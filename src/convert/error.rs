//! Why a checkpoint is not converted.

use std::{fmt, io, path::PathBuf};

use super::pickle::PickleError;

/// Why a checkpoint is not converted. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The file system said no.
    #[error("convert: cannot {action} {path}: {source}")]
    Io {
        /// "read", "write" and the like.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Not a checkpoint of a known format.
    #[error(
        "convert: {path}: expected a PyTorch checkpoint (torch.save, zip or old format) or a safetensors file, \
         found {found}"
    )]
    Format {
        /// The checkpoint.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// Its pickle is damaged or carries code.
    #[error("convert: {path}: {source}")]
    Pickle {
        /// The checkpoint.
        path: PathBuf,
        /// The cause.
        source: PickleError,
    },
    /// The file's parts contradict each other.
    #[error("convert: {path}: {what}: expected {expected}, found {found}")]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// Which part.
        what: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// No state dict, or not where it was asked for.
    #[error("convert: {path}: expected a state dict {wanted}, found {found}")]
    NoStateDict {
        /// The checkpoint.
        path: PathBuf,
        /// Where.
        wanted: String,
        /// What is there instead.
        found: String,
    },
    /// A state dict of another network.
    #[error(
        "convert: {path}: expected the weights of DINO (cls_token, ...), LoopTrans (pixel_dec.*, ...), LOCATE \
         (aff_ego_proj.*, ...), WSMA (Hamburger.*, ...) or CLIP (token_embedding.weight, transformer.resblocks.*, ...), found \
         {found}"
    )]
    Unrecognised {
        /// The checkpoint.
        path: PathBuf,
        /// Its first keys.
        found: Names,
    },
    /// A known network, but not all of it.
    #[error("convert: {path}: not a whole {kind} checkpoint: {problems}")]
    Weights {
        /// The checkpoint.
        path: PathBuf,
        /// Which network.
        kind: &'static str,
        /// All that does not fit.
        problems: Box<Problems>,
    },
    /// The classifier's channels fit no action list, or not the one given.
    #[error("convert: {path}: aff_fc has {channels} channels: {message}")]
    Actions {
        /// The checkpoint.
        path: PathBuf,
        /// Classifier channels.
        channels: u64,
        /// What would fit.
        message: String,
    },
    /// An action list that cannot be used.
    #[error("convert: --actions {given}: {message}")]
    ActionList {
        /// As given.
        given: String,
        /// What is wrong.
        message: String,
    },
    /// Something already lies where the result should go.
    #[error("convert: {path} exists already: {remedy}")]
    Exists {
        /// The place.
        path: PathBuf,
        /// What the user can do.
        remedy: &'static str,
    },
}

/// What does not fit, each list in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// Keys that are not there.
    pub missing: Names,
    /// Keys that do not belong to this network.
    pub unexpected: Names,
    /// "key: expected shape, found shape" or type.
    pub misfits: Names,
    /// Keys that hold NaN, infinity or a value beyond f32.
    pub not_finite: Names,
}

impl Problems {
    /// Does all fit?
    pub fn is_empty(&self) -> bool {
        [&self.missing, &self.unexpected, &self.misfits, &self.not_finite].iter().all(|names| names.0.is_empty())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape or type", &self.misfits),
            ("with NaN or infinity", &self.not_finite),
        ];
        let mut separator = "";
        for (title, names) in lists {
            if !names.0.is_empty() {
                write!(f, "{separator}{} {title} ({names})", names.0.len())?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

/// Names from a file: shown shortened, without control characters, and the first few only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        const WIDTH: usize = 120;
        let mut separator = "";
        for name in self.0.iter().take(SHOWN) {
            let plain: String = name.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
            write!(f, "{separator}{plain}")?;
            separator = ", ";
        }
        match self.0.len() {
            0 => f.write_str("nothing"),
            n if n > SHOWN => write!(f, ", and {} more", n - SHOWN),
            _ => Ok(()),
        }
    }
}
