//! Writes the weights file: tensor by tensor out of the checkpoint, aside first, in place only when it is whole.

use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, PersistError};

use super::{ConvertError, Names, Problems, recognise::Recognised, tensor::StoredTensor};
use crate::export::layout::is_counter;

/// The format aligns the first tensor to this.
const ALIGNMENT: usize = 8;

/// Refuses early, before the long work, what [`write`] would refuse at its end.
pub(super) fn check_place(out: &Path, source: &File, force: bool) -> Result<(), ConvertError> {
    let exists = |remedy| Err(ConvertError::Exists { path: out.to_owned(), remedy });
    let metadata = match fs::metadata(out) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error("look at", out)(source)),
        Ok(metadata) => metadata,
    };
    let source = source.metadata().map_err(io_error("look at", out))?;
    if (metadata.dev(), metadata.ino()) == (source.dev(), source.ino()) {
        return exists("it is the checkpoint itself, choose another place");
    }
    match (metadata.is_file(), force) {
        (false, _) => exists("it is no regular file, choose another place"),
        (true, false) => exists("choose another place, or replace it with --force"),
        (true, true) => Ok(()),
    }
}

/// What was written.
pub(super) struct Written {
    pub bytes: u64,
    pub sha256: String,
}

/// Writes `description` and the tensors, floats as f32 and counters as i64.
///
/// # Errors
/// A tensor holds NaN or infinity, or the file system says no; `out` is as it was before in each case.
pub(super) fn write(
    recognised: &Recognised<'_>,
    (path, file): (&Path, &File),
    description: String,
    (out, force): (&Path, bool),
) -> Result<Written, ConvertError> {
    let tensors = in_file_order(recognised);
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let aside = tempfile::Builder::new()
        .prefix(".looptrans-convert-")
        // As any new file: the umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(io_error("write into", folder))?;

    let header = header(&tensors, description).map_err(|e| io_error("write", out)(io::Error::other(e)))?;
    let mut sink = Hashing::new(BufWriter::new(aside.as_file()));
    sink.write_all(&header).map_err(io_error("write", out))?;
    let not_finite = copy_tensors(&tensors, file, &mut sink).map_err(io_error("copy tensors to", out))?;
    if !not_finite.0.is_empty() {
        let problems = Box::new(Problems { not_finite, ..Problems::default() });
        return Err(ConvertError::Weights { path: path.to_owned(), kind: recognised.kind.name(), problems });
    }
    let (written, buffer) = sink.finish();
    let file = buffer.into_inner().map_err(io::IntoInnerError::into_error).map_err(io_error("write", out))?;
    file.sync_all().map_err(io_error("write", out))?;
    persist(aside, out, force)?;
    Ok(written)
}

/// Gives the keys of the tensors that hold NaN or infinity.
fn copy_tensors(tensors: &[(&str, &StoredTensor)], file: &File, sink: &mut impl Write) -> io::Result<Names> {
    let mut not_finite = Names::default();
    for (key, tensor) in tensors {
        if !write_tensor(key, tensor, file, sink)? {
            not_finite.0.push((*key).to_owned());
        }
    }
    Ok(not_finite)
}

/// As safetensors itself orders: wider types first, so that all lie aligned; then by name.
fn in_file_order<'a>(recognised: &'a Recognised<'_>) -> Vec<(&'a str, &'a StoredTensor)> {
    let mut tensors: Vec<_> = recognised.tensors.iter().map(|(key, tensor)| (key.as_str(), *tensor)).collect();
    tensors.sort_by_key(|(key, _)| (!is_counter(key), *key));
    tensors
}

fn header(tensors: &[(&str, &StoredTensor)], description: String) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut end = 0;
    let infos = tensors.iter().map(|(key, tensor)| {
        let dtype = if is_counter(key) { Dtype::I64 } else { Dtype::F32 };
        let shape: Vec<usize> = tensor.shape().iter().map(|&side| side as usize).collect();
        let start = end;
        end += shape.iter().product::<usize>() * (dtype.bitsize() / 8);
        ((*key).to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    file_header((crate::export::weights::DESCRIPTION, description), infos.collect())
}

/// The start of a safetensors file with one entry of metadata; the tensors' bytes follow in this order.
pub(crate) fn file_header(
    (key, json): (&str, String),
    infos: Vec<(String, TensorInfo)>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let metadata = Metadata::new(Some(HashMap::from([(key.to_owned(), json)])), infos)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

/// False if the tensor has a number that is none.
fn write_tensor(key: &str, tensor: &StoredTensor, file: &File, sink: &mut impl Write) -> io::Result<bool> {
    if !is_counter(key) {
        return tensor.write_f32(file, sink);
    }
    match tensor.read_counter(file)? {
        Some(count) => sink.write_all(&count.to_le_bytes()).map(|()| true),
        None => Ok(false),
    }
}

fn persist(aside: NamedTempFile, out: &Path, force: bool) -> Result<(), ConvertError> {
    let result = if force { aside.persist(out) } else { aside.persist_noclobber(out) };
    match result {
        Ok(_) => Ok(()),
        Err(PersistError { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ConvertError::Exists { path: out.to_owned(), remedy: "it appeared meanwhile, and was left as it is" })
        }
        Err(PersistError { error, .. }) => Err(io_error("write", out)(error)),
    }
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> ConvertError {
    move |source| ConvertError::Io { action, path: path.to_owned(), source }
}

/// Hashes and counts what passes through.
pub(super) struct Hashing<W> {
    inner: W,
    sha256: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, sha256: Sha256::new(), bytes: 0 }
    }

    pub(super) fn finish(self) -> (Written, W) {
        let sha256 = self.sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (Written { bytes: self.bytes, sha256 }, self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.sha256.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
