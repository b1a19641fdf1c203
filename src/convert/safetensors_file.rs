//! safetensors: a JSON header, then the tensors' bytes one after the other.

use std::{collections::BTreeMap, os::unix::fs::FileExt};

use safetensors::{Dtype, tensor::Metadata};

use super::{
    ConvertError, Names,
    checkpoint::{Checkpoint, Format, Source, shorten},
    pickle::Element,
    tensor::{Placement, StoredTensor},
};
use crate::export::weights::DESCRIPTION;

/// A header of 10,000 tensors has 1 MB.
const MAX_HEADER_BYTES: u64 = 8 << 20;
/// The header's own length, before it.
const LENGTH_BYTES: u64 = 8;

pub(super) fn open(source: Source<'_>, key: Option<&str>) -> Result<Checkpoint, ConvertError> {
    let (data_start, metadata) = header(&source)?;
    if metadata.metadata().as_ref().is_some_and(|own| own.contains_key(DESCRIPTION)) {
        // It says more of itself (its heads) than can be told from its tensors.
        let found = "weights that looptrans wrote, which are used as they are".to_owned();
        return Err(ConvertError::Format { path: source.path.to_owned(), found });
    }
    let found = metadata.data_len() as u64;
    if source.length != data_start.saturating_add(found) {
        let expected = format!("{} bytes", data_start.saturating_add(found));
        return Err(source.damaged("safetensors file", &expected, format!("{}: is it truncated?", source.length)));
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
        let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let placement = Placement {
            element: element(info.dtype),
            strides: &row_major(&shape),
            shape: &shape,
            offset: 0,
            storage: data_start + begin..data_start + end,
        };
        let stored = StoredTensor::place(&placement)
            .ok_or_else(|| source.damaged(&shorten(&name), "a tensor inside its bytes", "a larger one"))?;
        tensors.insert(name, stored);
    }
    if let Some(key) = key {
        return Err(source.no_state_dict(Some(key), Names(tensors.into_keys().collect())));
    }
    let (file, length) = (source.file, source.length);
    Ok(Checkpoint { format: Format::Safetensors, nested_under: None, tensors, length, file })
}

fn header(source: &Source<'_>) -> Result<(u64, Metadata), ConvertError> {
    let mut length = [0; LENGTH_BYTES as usize];
    source.file.read_exact_at(&mut length, 0).map_err(|e| source.io(e))?;
    let length = u64::from_le_bytes(length);
    let data_start = LENGTH_BYTES.saturating_add(length);
    if length > MAX_HEADER_BYTES || data_start > source.length {
        let expected = format!("at most {MAX_HEADER_BYTES} bytes, inside a file of {}", source.length);
        return Err(source.damaged("safetensors header", &expected, format!("{length} bytes")));
    }
    let mut bytes = vec![0; length as usize];
    source.file.read_exact_at(&mut bytes, LENGTH_BYTES).map_err(|e| source.io(e))?;
    let metadata = serde_json::from_slice(&bytes)
        .map_err(|e| source.damaged("safetensors header", "names, types and offsets", e.to_string()))?;
    Ok((data_start, metadata))
}

fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I64 => Element::I64,
        // Sub-byte types count as one byte: they are refused as weights, whatever their size.
        other => Element::Other(u8::try_from(other.bitsize() / 8).unwrap_or(u8::MAX)),
    }
}
