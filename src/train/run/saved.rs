//! Checkpoints of the other trained networks, as [`super::tensor_file`] writes them: tensors, and a state in JSON.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};
use tch::Tensor;

use super::{LAST, lock, tensor_file};
use crate::{
    export::weights::{DESCRIPTION, Description},
    train::TrainError,
};

/// Which command's checkpoints: the metadata key of their state, which has the format's number in it.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Kind {
    pub key: &'static str,
    /// For people.
    pub command: &'static str,
}

/// A checkpoint's content.
#[derive(Debug)]
pub(in crate::train) struct Saved<S> {
    pub state: S,
    pub tensors: BTreeMap<String, Tensor>,
}

impl<S: DeserializeOwned> Saved<S> {
    fn read(path: &Path, kind: Kind) -> Result<Self, TrainError> {
        let file = tensor_file::read(path)?;
        let refuse = |found: String| TrainError::File {
            path: path.to_owned(),
            expected: format!("a checkpoint of {} ({})", kind.command, kind.key),
            found,
        };
        let json = file.metadata.get(kind.key).ok_or_else(|| refuse("safetensors of something else".to_owned()))?;
        let state = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { state, tensors: file.tensors })
    }
}

/// Writes a checkpoint: at every moment `path` is either as it was or whole.
pub(in crate::train) fn write<S: Serialize>(
    path: &Path,
    kind: Kind,
    tensors: &BTreeMap<String, Tensor>,
    state: &S,
) -> Result<(), TrainError> {
    tensor_file::write(path, tensors, (kind.key, json(path, state)?))
}

/// Writes weights to use, which belong to no actions.
pub(in crate::train) fn write_weights(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    source: String,
    heads: usize,
) -> Result<(), TrainError> {
    let description = Description { actions: Vec::new(), trained: true, source, heads: Some(heads), checkpoint: None };
    tensor_file::write(path, tensors, (DESCRIPTION, json(path, &description)?))
}

/// Makes the folder of a new run, or refuses one that holds a run. `result`: the file that a run ends with. The folder is
/// this process's for as long as the file is held.
pub(in crate::train) fn new_folder(out: &Path, result: &str) -> Result<File, TrainError> {
    fs::create_dir_all(out).map_err(tensor_file::io_error("create", out))?;
    let lock = lock(out)?;
    refuse_run(out, &[result])?;
    tensor_file::remove_unfinished(out)?;
    Ok(lock)
}

/// The folder of a run that goes on, and its checkpoint; see [`new_folder`].
pub(in crate::train) fn old_folder<S: DeserializeOwned>(
    out: &Path,
    kind: Kind,
) -> Result<(File, Saved<S>), TrainError> {
    let path = out.join(LAST);
    // Nothing is written to a folder without a run.
    File::open(&path).map_err(tensor_file::io_error("read", &path))?;
    let lock = lock(out)?;
    tensor_file::remove_unfinished(out)?;
    Ok((lock, Saved::read(&path, kind)?))
}

/// Refuses a folder with a checkpoint or one of these files, which a new run would replace.
pub(super) fn refuse_run(out: &Path, results: &[&str]) -> Result<(), TrainError> {
    let mut names = [LAST].iter().chain(results);
    let Some(name) = names.find(|name| out.join(name).exists()) else { return Ok(()) };
    let remedy = if *name == LAST { "go on with it by --resume, or name another --out" } else { "name another --out" };
    Err(TrainError::File {
        path: out.join(name),
        expected: format!("no run in this folder ({remedy})"),
        found: "one's file".to_owned(),
    })
}

fn json(path: &Path, value: &impl Serialize) -> Result<String, TrainError> {
    serde_json::to_string(value).map_err(|error| tensor_file::io_error("write", path)(error.into()))
}
