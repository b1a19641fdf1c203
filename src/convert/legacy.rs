//! torch.save's old format: five pickles one after the other, then each storage as a length and its bytes.

use std::{
    collections::HashMap,
    io::{BufReader, Seek},
    ops::Range,
    os::unix::fs::FileExt,
};

use super::{
    ConvertError,
    checkpoint::{Checkpoint, Format, Source},
    pickle::{CountingReader, Element, Pickle, StorageRef, Value, load},
};

/// torch.serialization.MAGIC_NUMBER and PROTOCOL_VERSION.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;
/// The length before each storage's bytes.
const LENGTH_BYTES: u64 = 8;

pub(super) fn open(source: Source<'_>, key: Option<&str>) -> Result<Checkpoint, ConvertError> {
    let mut file = &source.file;
    file.rewind().map_err(|e| source.io(e))?;
    let mut reader = CountingReader::new(BufReader::new(file));
    let mut next = || load(&mut reader).map_err(|e| source.pickle(e));

    check_int(&source, &next()?, "magic number", MAGIC)?;
    check_int(&source, &next()?, "protocol", PROTOCOL)?;
    check_little_endian(&source, &next()?)?;
    let description = next()?;
    let order = next()?;
    let elements = storage_elements(&description);
    let storages = storages(&source, &order, &elements, reader.offset())?;
    let locate = |storage: &StorageRef| {
        let bytes = storages.get(&*storage.key).cloned();
        bytes.ok_or_else(|| source.damaged("storages", &format!("one named {}", storage.key), "none"))
    };
    let (nested_under, tensors) = source.tensors(&description, key, locate)?;
    Ok(Checkpoint { format: Format::TorchLegacy, nested_under, tensors, length: source.length, file: source.file })
}

fn check_int(source: &Source<'_>, pickle: &Pickle, what: &str, expected: i128) -> Result<(), ConvertError> {
    match pickle.root() {
        Value::Int(found) if *found == expected => Ok(()),
        Value::Int(found) => Err(source.damaged(what, &expected.to_string(), found.to_string())),
        // A bare pickle (pickle.dump of anything) starts with the same byte.
        _ => Err(source.damaged(what, &expected.to_string(), "a pickle that torch.save did not write")),
    }
}

fn check_little_endian(source: &Source<'_>, pickle: &Pickle) -> Result<(), ConvertError> {
    let is_flag = |value: &Value| matches!(value, Value::Text(text) if &**text == "little_endian");
    let Value::Dict(entries) = pickle.root() else {
        return Err(source.damaged("system information", "a dictionary", "something else"));
    };
    match entries.iter().find(|(key, _)| is_flag(pickle.value(*key))).map(|(_, value)| pickle.value(*value)) {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(source.damaged("byte order", "little", "another")),
    }
}

fn storage_elements(description: &Pickle) -> HashMap<&str, Element> {
    let storages = description.values().filter_map(|value| match value {
        Value::Storage(storage) => Some((&*storage.key, storage.element)),
        _ => None,
    });
    storages.collect()
}

fn storages(
    source: &Source<'_>,
    order: &Pickle,
    elements: &HashMap<&str, Element>,
    mut offset: u64,
) -> Result<HashMap<String, Range<u64>>, ConvertError> {
    let Value::List(keys) = order.root() else {
        return Err(source.damaged("storages", "a list of their names", "something else"));
    };
    let mut storages = HashMap::with_capacity(keys.len());
    for id in keys {
        let Value::Text(key) = order.value(*id) else {
            return Err(source.damaged("storages", "their names", "something else"));
        };
        let Some(element) = elements.get(&**key) else {
            return Err(source.damaged("storages", "names that tensors refer to", "another name"));
        };
        let truncated = |found: String| source.damaged(&format!("storage {key}"), "its bytes in the file", found);
        let start = offset.saturating_add(LENGTH_BYTES);
        if start > source.length {
            return Err(truncated("the end of the file: it is truncated".to_owned()));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        source.file.read_exact_at(&mut length, offset).map_err(|e| source.io(e))?;
        let end = u64::from_le_bytes(length).checked_mul(element.bytes()).and_then(|bytes| bytes.checked_add(start));
        match end {
            Some(end) if end <= source.length => offset = end,
            _ => return Err(truncated(format!("a file of {} bytes: it is truncated", source.length))),
        }
        storages.insert(key.to_string(), start..offset);
    }
    Ok(storages)
}
