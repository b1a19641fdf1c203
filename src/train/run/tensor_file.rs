//! Safetensors with one piece of JSON beside the tensors: read whole, written aside and renamed.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorInfo};
use tch::{Device, Kind, TchError, Tensor};

use crate::{convert::file_header, train::TrainError};

/// What unfinished files begin with.
const ASIDE: &str = ".looptrans-train-";

/// A file's content.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub metadata: HashMap<String, String>,
    pub tensors: BTreeMap<String, Tensor>,
}

/// Reads float and int64 tensors onto the CPU.
pub(super) fn read(path: &Path) -> Result<TensorFile, TrainError> {
    let refuse = |found: String| TrainError::File {
        path: path.to_owned(),
        expected: "safetensors of F32 and I64".to_owned(),
        found,
    };
    let bytes = fs::read(path).map_err(io_error("read", path))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| refuse(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::I64 => Kind::Int64,
            other => return Err(refuse(format!("{other:?} ({name})"))),
        };
        let sides: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &sides, kind).map_err(|error| refuse(error.to_string()))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(TensorFile { metadata: metadata.metadata().clone().unwrap_or_default(), tensors })
}

/// Writes tensors under their names with one entry of metadata: equal content gives equal bytes. At every moment `path` is
/// either as it was or whole.
pub(super) fn write(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: (&str, String),
) -> Result<(), TrainError> {
    let failed = |source| io_error("write", path)(source);
    let header = header(tensors, metadata).map_err(|error| failed(io::Error::other(error)))?;
    let aside = tempfile::Builder::new()
        .prefix(ASIDE)
        // As any new file: the umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let mut sink = BufWriter::new(aside.as_file());
    sink.write_all(&header).map_err(failed)?;
    for (_, tensor) in in_file_order(tensors) {
        sink.write_all(&bytes_of(tensor).map_err(|error| failed(io::Error::other(error)))?).map_err(failed)?;
    }
    sink.into_inner().map_err(io::IntoInnerError::into_error).and_then(File::sync_all).map_err(failed)?;
    aside.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Wider types first, so that all lie aligned; then by name.
fn in_file_order(tensors: &BTreeMap<String, Tensor>) -> Vec<(&String, &Tensor)> {
    let mut list: Vec<_> = tensors.iter().collect();
    list.sort_by_key(|(name, tensor)| (tensor.kind() != Kind::Int64, *name));
    list
}

fn header(tensors: &BTreeMap<String, Tensor>, metadata: (&str, String)) -> Result<Vec<u8>, SafeTensorError> {
    let mut end = 0;
    let infos = in_file_order(tensors).into_iter().map(|(name, tensor)| {
        let dtype = if tensor.kind() == Kind::Int64 { Dtype::I64 } else { Dtype::F32 };
        let start = end;
        end += tensor.numel() * (dtype.bitsize() / 8);
        let shape = tensor.size().into_iter().map(|side| side as usize).collect();
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    file_header(metadata, infos.collect())
}

/// Removes what writers left that were killed.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(folder).map_err(io_error("read", folder))? {
        let entry = entry.map_err(io_error("read", folder))?;
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// Little-endian.
fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let count = tensor.numel();
    if tensor.kind() == Kind::Int64 {
        let mut values = vec![0_i64; count];
        tensor.f_copy_data(&mut values, count)?;
        return Ok(values.into_iter().flat_map(i64::to_le_bytes).collect());
    }
    let mut values = vec![0_f32; count];
    tensor.f_copy_data(&mut values, count)?;
    Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
}

pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> TrainError + use<'a> {
    move |source| TrainError::Io { action, path: path.to_owned(), source }
}
