//! `metrics.csv` of runs that count steps: a line for each.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::tensor_file::io_error;
use crate::{export::bundle::write_file, train::TrainError};

/// The file, open at its end. Each line begins with its step.
#[derive(Debug)]
pub(in crate::train) struct StepLog {
    path: PathBuf,
    file: File,
}

impl StepLog {
    /// Takes the file up after step `done`: later lines, which a resumed run writes again, are cut off, and all of them for
    /// None. No file is a file without lines.
    pub fn open(path: &Path, header: &str, done: Option<u64>) -> Result<Self, TrainError> {
        let mut text = format!("{header}\n");
        match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", path)(error)),
            Ok(before) => {
                // The last line may be cut off.
                let whole = before.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n'));
                text.extend(whole.filter(|line| step_of(line).is_some_and(|step| Some(step) <= done)));
            }
        }
        write_file(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(io_error("write", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn line(&mut self, cells: &str) -> Result<(), TrainError> {
        self.file.write_all(format!("{cells}\n").as_bytes()).map_err(io_error("write", &self.path))
    }
}

fn step_of(line: &str) -> Option<u64> {
    line.split(',').next()?.parse().ok()
}
