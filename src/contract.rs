//! The model bundle and its contract: what `model.onnx` promises, as `model.yaml` writes it down.
//!
//! A bundle is a folder with these two files; others in it are not looked at. The node refuses one whose ONNX file
//! disagrees with its contract; everything a guess could get wrong (actions, sizes, thresholds) is read from here, never
//! assumed.

mod parity;
mod precision;
mod presence;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::one_line;

pub use parity::{Drift, HeatAgreement, Parity, PictureSource, ReferenceKind};
pub use precision::{Precision, Quantisation};
pub use presence::{Calibration, PresenceQuality, SourceQuality};

/// The ONNX file's name inside a bundle.
pub const MODEL_FILE: &str = "model.onnx";
/// The contract's name inside a bundle.
pub const CONTRACT_FILE: &str = "model.yaml";
/// Input tensor: u8 [B, H, W, 3], RGB, at network size. Normalisation is inside the graph.
pub const INPUT_IMAGE: &str = "image";
/// Output tensor: f32 [B, A, h, w], Theta_pixel's class maps before any normalisation.
pub const OUTPUT_HEATMAP: &str = "heatmap";
/// Output tensor: f32 [B, A] in [0, 1], how much the image affords each action at all.
pub const OUTPUT_PRESENCE: &str = "presence";
/// The side B of those tensors, where a graph leaves it open.
pub const BATCH: &str = "batch";
/// The contract format this code reads and writes.
pub const FORMAT: u32 = 1;

/// An ONNX file cannot be larger: protobuf's own limit.
const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;
const MAX_CONTRACT_BYTES: u64 = 1 << 20;
const MAX_ACTIONS: usize = 4096;
/// What is wrong with a contract, in characters: it may name a key of any length.
const LONGEST_PROBLEM: usize = 600;
const MAX_SIDE: u32 = 8192;

/// What the ONNX file of a bundle promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelContract {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The model's name, for people and for [`Self::model_id`].
    pub name: String,
    /// SHA-256 of `model.onnx`, 64 lower-case hex digits.
    pub sha256: String,
    /// Size of the input image the graph takes, in pixels.
    pub input: Size,
    /// Size of the class maps it gives: one cell per patch.
    pub heatmap: Size,
    /// The actions, in class order: `heatmap[:, i]` and `presence[:, i]` belong to `actions[i]`.
    pub actions: Vec<String>,
    /// Where presence comes from.
    pub presence: Presence,
    /// Heat in [0, 1] from which a pixel belongs to a region, where the user sets none.
    pub heat_threshold: f32,
    /// How the model came to be.
    pub provenance: Provenance,
}

/// Height and width in pixels (or cells), in this order everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// Which pooled class scores `presence` is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceSource {
    /// Theta_scam's class activation map of the same image: the scores L_cls trains.
    Scam,
    /// Theta_pixel's own class maps: no extra cost.
    Pixel,
}

/// How presence was computed at export.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// The branch it was pooled from.
    pub source: PresenceSource,
}

/// How the model came to be: for people, and for reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// False for seeded weights, and where no loss trained the maps on an action: the heat means nothing.
    pub trained: bool,
    /// What it was trained on, or where the numbers come from.
    pub source: String,
    /// SHA-256 of the weights file.
    pub weights_sha256: String,
    /// The command that wrote the bundle.
    pub command: String,
    /// What it computes in. Bundles that do not say are in f32.
    #[serde(default)]
    pub precision: Precision,
    /// How it was quantised; for int8 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<Quantisation>,
    /// How exact it is. None: nothing was compared.
    #[serde(default)]
    pub parity: Option<Parity>,
    /// How far its presence can be trusted. None: it was not measured, and presence is as the network gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceQuality>,
}

/// Why a bundle is refused. Every message names the file, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file system said no.
    #[error("model bundle: cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The contract is not what [`ModelContract`] describes.
    #[error("model bundle: {path}: {message}")]
    Contract {
        /// The contract file.
        path: PathBuf,
        /// Key, expected and found.
        message: String,
    },
    /// The ONNX file is not the one the contract was written for.
    #[error("model bundle: {path}: {what}: expected {expected}, found {found}")]
    Mismatch {
        /// The ONNX file.
        path: PathBuf,
        /// Which promise is broken.
        what: String,
        /// What the contract promises.
        expected: String,
        /// What the file holds.
        found: String,
    },
}

/// A bundle whose ONNX file agrees with its contract: checksum, inputs, outputs, no data outside the file.
#[derive(Debug)]
pub struct Bundle {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// The contract.
    pub contract: ModelContract,
    /// The verified bytes of `model.onnx`.
    pub onnx: Vec<u8>,
}

impl ModelContract {
    /// Bytes of one picture of the model's input, u8 [H, W, 3].
    pub fn input_bytes(&self) -> usize {
        3 * self.input.height as usize * self.input.width as usize
    }

    /// "<name>:<first 12 hex digits of the checksum>", as the messages carry it.
    pub fn model_id(&self) -> String {
        let digits = self.sha256.get(..12).unwrap_or(&self.sha256);
        format!("{}:{digits}", self.name)
    }

    /// Reads the text of a contract file.
    ///
    /// # Errors
    /// What is wrong with it: see [`Self::validate`].
    pub fn from_yaml(text: &[u8]) -> Result<Self, String> {
        // First of all, for another format has keys of its own. What can't be read at all is told below.
        let of_format = match serde_yaml::from_slice(text) {
            Ok(AnyContract { format }) => check_format(format),
            Err(_) => Ok(()),
        };
        let contract = of_format.and_then(|()| serde_yaml::from_slice(text).map_err(|error| error.to_string()));
        let valid = contract.and_then(|contract: Self| contract.validate().map(|()| contract));
        valid.map_err(|problem| one_line(&problem, LONGEST_PROBLEM))
    }

    /// Checks every value. The error names the key, what is allowed and what was found.
    pub fn validate(&self) -> Result<(), String> {
        let side_ok = |side: u32| (1..=MAX_SIDE).contains(&side);
        check_format(self.format)?;
        if !is_plain_name(&self.name) {
            return Err(format!("name: expected 1 to 128 printable characters, found {:?}", self.name));
        }
        if !is_sha256(&self.sha256) {
            return Err(format!("sha256: expected 64 lower-case hex digits, found {:?}", self.sha256));
        }
        for (key, size) in [("input", self.input), ("heatmap", self.heatmap)] {
            if !side_ok(size.height) || !side_ok(size.width) {
                return Err(format!(
                    "{key}: expected sides of 1 to {MAX_SIDE}, found {}x{} (height x width)",
                    size.height, size.width
                ));
            }
        }
        if self.actions.is_empty() || self.actions.len() > MAX_ACTIONS {
            return Err(format!("actions: expected 1 to {MAX_ACTIONS}, found {}", self.actions.len()));
        }
        for (index, action) in self.actions.iter().enumerate() {
            if !is_plain_name(action) {
                return Err(format!("actions[{index}]: expected 1 to 128 printable characters, found {action:?}"));
            }
            if self.actions[..index].contains(action) {
                return Err(format!("actions[{index}]: expected each action once, found {action:?} again"));
            }
        }
        if !(0.0..=1.0).contains(&self.heat_threshold) {
            return Err(format!("heat_threshold: expected 0 to 1, found {}", self.heat_threshold));
        }
        Ok(())
    }
}

/// A contract of any format.
#[derive(Deserialize)]
struct AnyContract {
    format: u32,
}

fn check_format(found: u32) -> Result<(), String> {
    if found == FORMAT { Ok(()) } else { Err(format!("format: expected {FORMAT}, found {found}")) }
}

/// Printable and bounded, so that it can travel in any message or file name hint.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn is_sha256(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// SHA-256 as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Bundle {
    /// Reads a bundle and checks contract, checksum and graph.
    ///
    /// # Errors
    /// A file is missing, is not a regular file of the folder itself (links are refused: they could lead out of it),
    /// is too large, is not a contract, or `model.onnx` has another checksum than the contract says or fails
    /// [`crate::onnx::check`].
    pub fn load(folder: &Path) -> Result<Self, BundleError> {
        let contract_path = folder.join(CONTRACT_FILE);
        let text = read_file(&contract_path, MAX_CONTRACT_BYTES)?;
        let refuse = |message: String| BundleError::Contract { path: contract_path.clone(), message };
        let contract = ModelContract::from_yaml(&text).map_err(refuse)?;

        let model_path = folder.join(MODEL_FILE);
        let onnx = read_file(&model_path, MAX_MODEL_BYTES)?;
        let found = sha256_hex(&onnx);
        if found != contract.sha256 {
            return Err(BundleError::Mismatch {
                path: model_path,
                what: format!("sha256 of its {} bytes", onnx.len()),
                expected: contract.sha256,
                found,
            });
        }
        crate::onnx::check(&onnx, &contract, &model_path)?;
        Ok(Self { folder: folder.to_owned(), contract, onnx })
    }
}

/// Reads a regular file of at most `max_bytes`, never through a link and never blocking on a pipe or device.
fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, BundleError> {
    let io = |source| BundleError::Io { path: path.to_owned(), source };
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| io(explain_link(path, e)))?;
    let metadata = file.metadata().map_err(io)?;
    let mismatch = |expected: String, found: String| BundleError::Mismatch {
        path: path.to_owned(),
        what: "file".to_owned(),
        expected,
        found,
    };
    if !metadata.is_file() {
        return Err(mismatch("a regular file".to_owned(), "a folder, pipe or device".to_owned()));
    }
    if metadata.len() == 0 || metadata.len() > max_bytes {
        return Err(mismatch(format!("1 to {max_bytes} bytes"), format!("{} bytes", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // `take`: a file that grows while it is read stays bounded.
    file.take(max_bytes).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// O_NOFOLLOW reports a link as "too many levels of symbolic links"; say what is meant.
fn explain_link(path: &Path, error: std::io::Error) -> std::io::Error {
    match fs::symlink_metadata(path) {
        Ok(m) if m.file_type().is_symlink() => std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "expected a regular file, found a symbolic link (a bundle's files must lie in its own folder)",
        ),
        _ => error,
    }
}
