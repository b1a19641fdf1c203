//! Safetensors with one piece of JSON beside the tensors: read whole, written aside and renamed.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use crate::train::TrainError;

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
    (key, json): (&str, String),
) -> Result<(), TrainError> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        data.push((name, bytes_of(tensor, path)?));
    }
    let not_written = |error: SafeTensorError| match error {
        SafeTensorError::IoError(source) => io_error("write", path)(source),
        other => io_error("write", path)(io::Error::other(other)),
    };
    let mut views = Vec::with_capacity(data.len());
    for (name, (dtype, shape, bytes)) in &data {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(not_written)?));
    }
    let aside = tempfile::Builder::new()
        .prefix(ASIDE)
        // As any new file: the umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))
        .map_err(io_error("write", path))?;
    let metadata = HashMap::from([(key.to_owned(), json)]);
    safetensors::serialize_to_file(views, Some(metadata), aside.path()).map_err(not_written)?;
    File::open(aside.path()).and_then(|file| file.sync_all()).map_err(io_error("write", path))?;
    aside.persist(path).map_err(|error| io_error("write", path)(error.error))?;
    Ok(())
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

fn bytes_of(tensor: &Tensor, path: &Path) -> Result<(Dtype, Vec<usize>, Vec<u8>), TrainError> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let count = tensor.numel();
    let mut little_endian = Vec::new();
    let failed = |error: tch::TchError| io_error("write", path)(io::Error::other(error));
    let dtype = match tensor.kind() {
        Kind::Int64 => {
            let mut values = vec![0_i64; count];
            tensor.f_copy_data(&mut values, count).map_err(failed)?;
            little_endian.extend(values.into_iter().flat_map(i64::to_le_bytes));
            Dtype::I64
        }
        _ => {
            let mut values = vec![0_f32; count];
            tensor.f_copy_data(&mut values, count).map_err(failed)?;
            little_endian.extend(values.into_iter().flat_map(f32::to_le_bytes));
            Dtype::F32
        }
    };
    Ok((dtype, tensor.size().into_iter().map(|side| side as usize).collect(), little_endian))
}

pub(in crate::train) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> TrainError + use<'a> {
    move |source| TrainError::Io { action, path: path.to_owned(), source }
}
