//! A folder for one process alone.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use super::io_error;
use crate::train::TrainError;

/// The file that is locked; it stays.
pub(in crate::train) const LOCK: &str = ".lock";

/// Takes a folder for as long as the file is held.
///
/// # Errors
/// Another process has it.
pub(in crate::train) fn lock(folder: &Path) -> Result<File, TrainError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io_error("write", &path))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => TrainError::File {
            path: folder.to_owned(),
            expected: "a folder that nobody else is writing to".to_owned(),
            found: "another process at it".to_owned(),
        },
        TryLockError::Error(source) => io_error("lock", &path)(source),
    })?;
    Ok(file)
}
