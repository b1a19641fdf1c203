//! Published checkpoints to a weights file, without Python and without executing anything.
//!
//! ```text
//! checkpoint file -> checkpoint (torch_zip | legacy | safetensors_file; pickle describes, nothing is loaded)
//!   -> recognise (DINO | LoopTrans | LOCATE | WSMA | concepts | CLIP's text encoder, all keys and shapes)
//!   -> write (tensor by tensor, as f32) -> safetensors
//! ```
//!
//! A checkpoint is untrusted: sizes are checked before memory is taken, names are compared and never used as paths,
//! and no output appears unless all of it is right.

mod actions;
mod checkpoint;
pub mod clip;
mod error;
mod expected;
mod legacy;
mod pickle;
mod recognise;
mod safetensors_file;
mod tensor;
mod torch_zip;
mod write;
mod wsma;

use std::{
    fs::File,
    io::{self, Seek},
    path::PathBuf,
};

use serde::Serialize;

pub use actions::ActionList;
pub(crate) use actions::read_text;
pub use checkpoint::Format;
pub use error::{ConvertError, Names, Problems};
#[cfg(feature = "train")]
pub(crate) use expected::{ClusterSizes, cluster_entries};
pub use expected::{Expected, Kind};
pub use pickle::PickleError;
pub use recognise::Hints;
#[cfg(feature = "train")]
pub(crate) use write::file_header;

use crate::export::weights::{CheckpointOrigin, Description};

/// What to convert.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// The safetensors file to write.
    pub out: PathBuf,
    /// Which nested state dict to take; None: the checkpoint's own, or the first of the usual ones.
    pub key: Option<String>,
    /// What the user knows about it.
    pub hints: Hints,
    /// Replace a file that is already there.
    pub force: bool,
}

/// What was converted.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The network.
    pub kind: Kind,
    /// How the checkpoint is built.
    pub format: Format,
    /// Key its state dict was nested under.
    pub nested_under: Option<String>,
    /// Embedding dimension.
    pub dim: usize,
    /// Transformer blocks; 0, as `heads`, `patch` and `side`, for concept clusters alone. CLIP's text encoder has no
    /// `patch` and no `side`.
    pub depth: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of the image it was trained on, in pixels.
    pub side: usize,
    /// The vocabulary its actions are, if a public one.
    pub split: Option<&'static str>,
    /// Its actions in class order.
    pub actions: Vec<String>,
    /// Channels of the classifier beyond the actions.
    pub noise_heads: usize,
    /// Does it hold LoopTrans' concept clusters?
    pub concept_clusters: bool,
    /// Tensors written.
    pub tensors: usize,
    /// Numbers in them, batch counters aside.
    pub parameters: u64,
    /// Keys left out, such as DINO's projection head.
    pub ignored: Vec<String>,
    /// The checkpoint.
    pub checkpoint: FileReport,
    /// The weights file.
    pub weights: FileReport,
}

/// A file of a [`Report`].
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: String,
}

/// Converts a checkpoint.
///
/// # Errors
/// See [`ConvertError`]. `settings.out` is then as it was before.
pub fn convert(settings: &Settings) -> Result<Report, ConvertError> {
    let path = &settings.checkpoint;
    let checkpoint = checkpoint::open(path, settings.key.as_deref())?;
    write::check_place(&settings.out, &checkpoint.file, settings.force)?;
    let recognised = recognise::recognise(path, &checkpoint, &settings.hints)?;
    let sha256 = sha256_of(&checkpoint.file).map_err(write::io_error("read", path))?;
    let origin = CheckpointOrigin {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        sha256: sha256.clone(),
        kind: recognised.kind.name().to_lowercase(),
        nested_under: checkpoint.nested_under.clone(),
        split: recognised.split.map(str::to_owned),
    };
    let description = description(&recognised, origin, settings.hints.heads);
    let json = serde_json::to_string(&description).map_err(|e| write::io_error("write", path)(e.into()))?;
    let place = (settings.out.as_path(), settings.force);
    let written = write::write(&recognised, (path, &checkpoint.file), json, place)?;

    let sizes = recognised.sizes;
    let floats = recognised.tensors.iter().filter(|(key, _)| !crate::export::layout::is_counter(key));
    Ok(Report {
        kind: recognised.kind,
        format: checkpoint.format,
        nested_under: checkpoint.nested_under.clone(),
        dim: sizes.dim,
        depth: sizes.depth,
        heads: sizes.heads,
        patch: sizes.patch,
        side: sizes.grid * sizes.patch,
        split: recognised.split,
        noise_heads: sizes.channels.saturating_sub(recognised.actions.len()),
        concept_clusters: recognised.tensors.keys().any(|key| crate::export::layout::is_cluster(key)),
        tensors: recognised.tensors.len(),
        parameters: floats.map(|(_, tensor)| tensor.shape().iter().product::<u64>()).sum(),
        actions: recognised.actions,
        ignored: recognised.ignored,
        checkpoint: FileReport { path: path.clone(), bytes: checkpoint.length, sha256 },
        weights: FileReport { path: settings.out.clone(), bytes: written.bytes, sha256: written.sha256 },
    })
}

fn description(recognised: &recognise::Recognised<'_>, origin: CheckpointOrigin, heads: Option<usize>) -> Description {
    let split = recognised.split.map(|split| format!(", {split}")).unwrap_or_default();
    Description {
        actions: recognised.actions.clone(),
        trained: true,
        source: format!("{} checkpoint {}{split}", recognised.kind.name(), checkpoint::shorten(&origin.file)),
        heads,
        checkpoint: Some(origin),
    }
}

fn sha256_of(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut sink = write::Hashing::new(io::sink());
    io::copy(&mut file, &mut sink)?;
    Ok(sink.finish().0.sha256)
}
