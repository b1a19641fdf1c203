//! The seal of a folder of engines: a list of its files with their sizes and SHA-256, written last and synced.
//!
//! A full disk lets ONNX Runtime write half an engine without a word; then there is no room for the seal either, and the
//! folder is not kept. What was damaged later no longer fits its seal.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::entries;
use crate::contract::sha256_hex;

/// One line per file: SHA-256, bytes, name.
const SEAL: &str = "seal";
/// TensorRT's timings of kernels: only a help for the next build, and free to change.
const UNSEALED: &str = ".timing";

fn is_sealed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name != SEAL && !name.ends_with(UNSEALED)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Seals what is in the folder. When it returns, all of it is on the disk.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let mut text = String::new();
    for path in entries(folder).into_iter().filter(|path| is_sealed(path)) {
        File::open(&path)?.sync_all()?;
        let bytes = fs::read(&path)?;
        text += &format!("{} {} {}\n", sha256_hex(&bytes), bytes.len(), name(&path));
    }
    let mut seal = File::create(folder.join(SEAL))?;
    seal.write_all(text.as_bytes())?;
    seal.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Does the folder hold what its seal says, to the byte? The error says what is wrong.
pub(super) fn verify(folder: &Path) -> Result<(), String> {
    check(folder, |path, sha256| {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        if sha256_hex(&bytes) == sha256 { Ok(()) } else { Err("its SHA-256 is another".to_owned()) }
    })
}

/// [`verify`] without reading the files: their names and sizes.
pub(super) fn has_every_file(folder: &Path) -> bool {
    check(folder, |_, _| Ok(())).is_ok()
}

fn check(folder: &Path, content: impl Fn(&Path, &str) -> Result<(), String>) -> Result<(), String> {
    let text = fs::read_to_string(folder.join(SEAL)).map_err(|error| format!("{SEAL}: {error}"))?;
    let mut files: Vec<_> = entries(folder).into_iter().filter(|path| is_sealed(path)).collect();
    for line in text.lines() {
        let mut parts = line.splitn(3, ' ');
        let (Some(sha256), Some(bytes), Some(sealed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("{SEAL}: not a line of it: {line:?}"));
        };
        let found = files.iter().position(|path| name(path) == sealed);
        let path = files.swap_remove(found.ok_or_else(|| format!("{sealed} is missing"))?);
        let size = path.symlink_metadata().map_err(|error| format!("{sealed}: {error}"))?;
        if !size.is_file() || size.len().to_string() != bytes {
            return Err(format!("{sealed}: expected a file of {bytes} bytes, found {}", size.len()));
        }
        content(&path, sha256).map_err(|why| format!("{sealed}: {why}"))?;
    }
    match files.first() {
        None => Ok(()),
        Some(path) => Err(format!("{} is not sealed", name(path))),
    }
}
