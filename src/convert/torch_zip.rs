//! torch.save's zip format: `<name>/data.pkl` describes the tensors, `<name>/data/<key>` hold their storages. torch.jit.save
//! writes the same beside a program (`<name>/code/`), which is not even read.

use std::{
    cell::Cell,
    collections::HashMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    rc::Rc,
};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{
    ConvertError, Names,
    checkpoint::{Checkpoint, Format, Source, shorten},
    pickle::{CountingReader, StorageRef, load},
};

/// Bytes that may be read to list the members: a state dict of 10,000 tensors needs 1 MB. Each listed member takes
/// memory, so this bounds it.
const MAX_DIRECTORY_BYTES: u64 = 8 << 20;

/// A member's bytes in the file.
type Members = HashMap<String, Range<u64>>;

pub(super) fn open(source: Source<'_>, key: Option<&str>) -> Result<Checkpoint, ConvertError> {
    let members = verified_members(&source)?;
    let script = members.keys().any(|name| name.ends_with("/constants.pkl"));
    let folder = pickle_folder(&source, &members)?;
    check_byte_order(&source, &members, &folder)?;

    let bytes = members.get(&format!("{folder}data.pkl")).cloned().unwrap_or_default();
    let mut file = &source.file;
    file.seek(SeekFrom::Start(bytes.start)).map_err(|e| source.io(e))?;
    let member = BufReader::new(file.take(bytes.end - bytes.start));
    let pickle = load(&mut CountingReader::new(member)).map_err(|e| source.pickle(e))?;

    let locate = |storage: &StorageRef| {
        let name = format!("{folder}data/{}", storage.key);
        let bytes = members.get(&name).cloned();
        let bytes = bytes.ok_or_else(|| source.damaged("archive", &format!("a member {name}"), "none"))?;
        check_length(&source, storage, bytes)
    };
    if script {
        if let Some(key) = key {
            return Err(source.no_state_dict(Some(key), Names(vec!["a TorchScript program".to_owned()])));
        }
        let tensors = source.script_tensors(&pickle, locate)?;
        let (format, nested_under) = (Format::TorchScript, None);
        return Ok(Checkpoint { format, nested_under, tensors, length: source.length, file: source.file });
    }
    let (nested_under, tensors) = source.tensors(&pickle, key, locate)?;
    Ok(Checkpoint { format: Format::TorchZip, nested_under, tensors, length: source.length, file: source.file })
}

fn check_length(source: &Source<'_>, storage: &StorageRef, bytes: Range<u64>) -> Result<Range<u64>, ConvertError> {
    let expected = storage.length.saturating_mul(storage.element.bytes());
    let found = bytes.end - bytes.start;
    if found != expected {
        let what = format!("storage {}", storage.key);
        return Err(source.damaged(&what, &format!("{expected} bytes"), format!("{found} bytes")));
    }
    Ok(bytes)
}

/// Reads every member but a program's once and compares it with its checksum. Names are only ever compared, never used as paths.
fn verified_members(source: &Source<'_>) -> Result<Members, ConvertError> {
    let budget = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
    let refuse = |e: ZipError| match e {
        ZipError::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => source.io(e),
        e => source.damaged("zip archive", "a whole one", format!("{e} (is the file truncated?)")),
    };
    let reader = Budgeted { inner: BufReader::new(&source.file), budget: Rc::clone(&budget) };
    let mut archive = ZipArchive::new(reader).map_err(refuse)?;
    budget.set(u64::MAX);
    if archive.has_duplicate_names() || archive.has_overlapping_files().map_err(refuse)? {
        return Err(source.damaged("zip archive", "members with their own names and bytes", "members that overlap"));
    }

    let mut members = Members::with_capacity(archive.len());
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(refuse)?;
        let name = member.name().map_err(refuse)?.into_owned();
        if is_program(&name) {
            continue;
        }
        let stored = member.compression() == CompressionMethod::Stored && !member.encrypted();
        let (start, size) = (member.data_start(), member.size());
        let end = start.and_then(|start| start.checked_add(size)).filter(|end| *end <= source.length);
        let (true, Some(start), Some(end)) = (stored && member.compressed_size() == size, start, end) else {
            let what = format!("archive member {}", shorten(&name));
            return Err(source.damaged(&what, "plainly stored bytes, as torch.save writes them", "something else"));
        };
        drop(member);
        let mut member = archive.by_index(index).map_err(refuse)?;
        io::copy(&mut member, &mut io::sink()).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                let what = format!("archive member {}", shorten(&name));
                source.damaged(&what, "bytes that agree with their checksum", e.to_string())
            }
            _ => source.io(e),
        })?;
        members.insert(name, start..end);
    }
    Ok(members)
}

/// A TorchScript archive's program, `<name>/code/...`: it is compressed, and nothing here has a use for it.
fn is_program(name: &str) -> bool {
    name.split_once('/').is_some_and(|(_, within)| within.starts_with("code/"))
}

/// The folder of the one data.pkl, with its slash.
fn pickle_folder(source: &Source<'_>, members: &Members) -> Result<String, ConvertError> {
    let mut folders = members.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder.to_owned()),
        (None, _) => {
            let mut names: Vec<_> = members.keys().cloned().collect();
            names.sort();
            Err(source.damaged("archive", "a member data.pkl", Names(names).to_string()))
        }
        (Some(_), Some(_)) => Err(source.damaged("archive", "one member data.pkl", "several")),
    }
}

fn check_byte_order(source: &Source<'_>, members: &Members, folder: &str) -> Result<(), ConvertError> {
    use std::os::unix::fs::FileExt;
    // Files from before PyTorch 2.1 do not say; they are little-endian.
    let Some(bytes) = members.get(&format!("{folder}byteorder")) else {
        return Ok(());
    };
    let mut order = vec![0; (bytes.end - bytes.start).min(16) as usize];
    source.file.read_exact_at(&mut order, bytes.start).map_err(|e| source.io(e))?;
    if order == b"little" {
        return Ok(());
    }
    Err(source.damaged("byte order", "little", shorten(&String::from_utf8_lossy(&order))))
}

/// Gives up once the members' list takes more than it should.
struct Budgeted<R> {
    inner: R,
    budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.budget.get().checked_sub(count as u64) {
            Some(rest) => self.budget.set(rest),
            None => return Err(io::Error::other(format!("the list of members exceeds {MAX_DIRECTORY_BYTES} bytes"))),
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}
