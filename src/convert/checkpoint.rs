//! Opens a checkpoint of any format and lists its tensors, without loading them.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use super::{
    ConvertError, Names, legacy,
    pickle::{Pickle, PickleError, StorageRef, TensorRef, Value, ValueId},
    safetensors_file,
    tensor::{Placement, StoredTensor},
    torch_zip,
};

/// How a file is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// torch.save since PyTorch 1.6.
    TorchZip,
    /// torch.jit.save: a program with its parameters, of which the parameters are read.
    TorchScript,
    /// torch.save before, or with `_use_new_zipfile_serialization=False`.
    TorchLegacy,
    /// Named tensors, no pickle.
    Safetensors,
}

/// A checkpoint's state dict, its numbers still in the file.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file, for reading the numbers.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
    /// How it is built.
    pub format: Format,
    /// Under which key the state dict was found, if it was nested.
    pub nested_under: Option<String>,
    /// The tensors by their key in the file.
    pub tensors: BTreeMap<String, StoredTensor>,
}

/// The state dicts that published checkpoints nest, the preferred first: DINO's evaluation takes the teacher.
const NESTS: [&str; 6] = ["state_dict", "model_state_dict", "model", "net", "teacher", "student"];

/// Opens a checkpoint. `key`: which nested state dict to take; None: the file's own, or the first of the usual ones.
///
/// # Errors
/// The file cannot be read, is of another format, damaged, carries code, or has no state dict (there).
pub fn open(path: &Path, key: Option<&str>) -> Result<Checkpoint, ConvertError> {
    let io = |source| ConvertError::Io { action: "read", path: path.to_owned(), source };
    // O_NONBLOCK: a pipe or device is refused below, not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let not_a_checkpoint = |found: &str| ConvertError::Format { path: path.to_owned(), found: found.to_owned() };
    if !metadata.is_file() {
        return Err(not_a_checkpoint("a folder, pipe or device"));
    }
    let length = metadata.len();
    let mut head = [0; 265];
    let head_length = read_up_to(&file, &mut head).map_err(io)?;
    let source = Source { path, file, length };
    match &head[..head_length] {
        [b'P', b'K', 3, 4, ..] => torch_zip::open(source, key),
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors_file::open(source, key),
        [0x80, 0..=5, ..] => legacy::open(source, key),
        [] => Err(not_a_checkpoint("an empty file")),
        head if head.get(257..262) == Some(b"ustar") => Err(not_a_checkpoint(
            "a tar archive (PyTorch before 0.1.10 wrote such files: save it again with a newer one)",
        )),
        [b'<', ..] => Err(not_a_checkpoint("text, perhaps a web page saved in place of a download")),
        _ => Err(not_a_checkpoint("a file of another kind, or a damaged one")),
    }
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// An open file of a known format.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub file: File,
    pub length: u64,
}

impl Source<'_> {
    pub(super) fn io(&self, source: io::Error) -> ConvertError {
        ConvertError::Io { action: "read", path: self.path.to_owned(), source }
    }

    pub(super) fn pickle(&self, source: PickleError) -> ConvertError {
        ConvertError::Pickle { path: self.path.to_owned(), source }
    }

    pub(super) fn damaged(&self, what: &str, expected: &str, found: impl Into<String>) -> ConvertError {
        ConvertError::Damaged {
            path: self.path.to_owned(),
            what: what.to_owned(),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    pub(super) fn no_state_dict(&self, key: Option<&str>, found: Names) -> ConvertError {
        let wanted = match key {
            Some(key) => format!("under the key {key:?}"),
            None => format!("(names to tensors), by itself or under one of {}", NESTS.join(", ")),
        };
        ConvertError::NoStateDict { path: self.path.to_owned(), wanted, found: found.to_string() }
    }

    /// The tensors of a pickle's state dict. `locate`: the bytes of a storage in the file.
    pub(super) fn tensors(
        &self,
        pickle: &Pickle,
        key: Option<&str>,
        locate: impl Fn(&StorageRef) -> Result<std::ops::Range<u64>, ConvertError>,
    ) -> Result<(Option<String>, BTreeMap<String, StoredTensor>), ConvertError> {
        let (nested_under, entries) =
            state_dict(pickle, key).ok_or_else(|| self.no_state_dict(key, Names(text_keys(pickle, pickle.root()))))?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in named_tensors(pickle, entries) {
            self.add(&mut tensors, (name, self.place(pickle, name, tensor, &locate)?))?;
        }
        Ok((nested_under.map(str::to_owned), tensors))
    }

    /// The parameters of a TorchScript archive's module, those of modules within it by names joined with dots: its state
    /// dict.
    pub(super) fn script_tensors(
        &self,
        pickle: &Pickle,
        locate: impl Fn(&StorageRef) -> Result<std::ops::Range<u64>, ConvertError>,
    ) -> Result<BTreeMap<String, StoredTensor>, ConvertError> {
        const MAX_DEPTH: usize = 64;
        const MAX_MODULES: usize = 100_000;
        const MAX_NAME: usize = 1024;
        let mut tensors = BTreeMap::new();
        let mut modules = vec![(String::new(), 0, pickle.root())];
        let mut seen = 0;
        let too_much = |what: &str| {
            let expected = format!("at most {MAX_MODULES} modules, {MAX_DEPTH} deep, and names of {MAX_NAME} bytes");
            self.damaged("TorchScript archive", &expected, what)
        };
        while let Some((prefix, depth, module)) = modules.pop() {
            let Value::Module(Some(attributes)) = module else { continue };
            let Value::Dict(entries) = pickle.value(*attributes) else { continue };
            if depth > MAX_DEPTH {
                return Err(too_much("deeper ones"));
            }
            for (key, value) in entries {
                let Value::Text(key) = pickle.value(*key) else { continue };
                if prefix.len() + key.len() > MAX_NAME {
                    return Err(too_much("a longer name"));
                }
                match pickle.value(*value) {
                    Value::Tensor(tensor) => {
                        let name = format!("{prefix}{key}");
                        let stored = self.place(pickle, &name, tensor, &locate)?;
                        self.add(&mut tensors, (&name, stored))?;
                    }
                    // A file may refer to one module, and to one name, as often as it likes.
                    Value::Module(_) if seen == MAX_MODULES => return Err(too_much("more modules")),
                    inner @ Value::Module(_) => {
                        seen += 1;
                        modules.push((format!("{prefix}{key}."), depth + 1, inner));
                    }
                    _ => {}
                }
            }
        }
        Ok(tensors)
    }

    fn add(
        &self,
        tensors: &mut BTreeMap<String, StoredTensor>,
        (name, stored): (&str, StoredTensor),
    ) -> Result<(), ConvertError> {
        match tensors.insert(name.to_owned(), stored) {
            None => Ok(()),
            Some(_) => Err(self.damaged("state dict", "each key once", format!("{:?} twice", shorten(name)))),
        }
    }

    fn place(
        &self,
        pickle: &Pickle,
        name: &str,
        tensor: &TensorRef,
        locate: impl Fn(&StorageRef) -> Result<std::ops::Range<u64>, ConvertError>,
    ) -> Result<StoredTensor, ConvertError> {
        let Value::Storage(storage) = pickle.value(tensor.storage) else {
            return Err(self.damaged(name, "a storage", "something else"));
        };
        let bytes = locate(storage)?;
        let placement = Placement {
            element: storage.element,
            shape: &tensor.shape,
            strides: &tensor.strides,
            offset: tensor.offset.saturating_add(storage.view_offset),
            storage: bytes.clone(),
        };
        StoredTensor::place(&placement).ok_or_else(|| {
            let found = format!(
                "shape {:?} with strides {:?} from element {} of {} bytes",
                tensor.shape,
                tensor.strides,
                tensor.offset,
                bytes.end.saturating_sub(bytes.start)
            );
            self.damaged(&shorten(name), "a tensor inside its storage", found)
        })
    }
}

/// Text that came from a file, fit for a message.
pub(super) fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(120).collect()
}

type Entries<'a> = &'a [(ValueId, ValueId)];

fn state_dict<'a>(pickle: &'a Pickle, key: Option<&'a str>) -> Option<(Option<&'a str>, Entries<'a>)> {
    let Value::Dict(root) = pickle.root() else {
        return None;
    };
    let has_tensors = |entries: Entries<'a>| named_tensors(pickle, entries).next().is_some();
    let nested = |wanted: &str| {
        let is_wanted = |id: &ValueId| matches!(pickle.value(*id), Value::Text(text) if &**text == wanted);
        match pickle.value(root.iter().rev().find(|(key, _)| is_wanted(key))?.1) {
            Value::Dict(entries) if has_tensors(entries) => Some(entries.as_slice()),
            _ => None,
        }
    };
    match key {
        Some(key) => nested(key).map(|entries| (Some(key), entries)),
        None if has_tensors(root) => Some((None, root)),
        None => NESTS.iter().find_map(|&nest| nested(nest).map(|entries| (Some(nest), entries))),
    }
}

/// What is no tensor (an epoch, a score) is no weight either and is passed over.
fn named_tensors<'a>(pickle: &'a Pickle, entries: Entries<'a>) -> impl Iterator<Item = (&'a str, &'a TensorRef)> {
    entries.iter().filter_map(|(key, value)| match (pickle.value(*key), pickle.value(*value)) {
        (Value::Text(name), Value::Tensor(tensor)) => Some((&**name, tensor)),
        _ => None,
    })
}

fn text_keys(pickle: &Pickle, value: &Value) -> Vec<String> {
    let Value::Dict(entries) = value else {
        return vec!["something that is no dictionary".to_owned()];
    };
    let text = |(key, _): &(ValueId, ValueId)| match pickle.value(*key) {
        // A file may name one long key as often as it likes.
        Value::Text(text) => Some(shorten(text)),
        _ => None,
    };
    entries.iter().filter_map(text).collect()
}
