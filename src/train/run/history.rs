//! `metrics.csv`: a line for every step and for every epoch's test.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::tensor_file::io_error;
use crate::{export::bundle::write_file, metrics::Mean, train::TrainError};

const BEFORE: [&str; 3] = ["epoch", "step", "lr"];
const AFTER: [&str; 5] = ["total", "test_items", "test_kld", "test_sim", "test_nss"];

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    file: File,
    /// Loss terms.
    terms: usize,
}

/// Where a line belongs: epoch and step, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub epoch: u64,
    pub step: u64,
}

impl History {
    /// Takes the file up after `done`: later lines, which a resumed run writes again, are cut off. No file is a file without
    /// lines.
    pub fn open(path: &Path, terms: &[&str], done: At) -> Result<Self, TrainError> {
        let header = BEFORE.iter().chain(terms).chain(&AFTER).copied().collect::<Vec<_>>().join(",");
        let mut text = header + "\n";
        match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", path)(error)),
            Ok(before) => {
                // The last line may be cut off.
                let whole = before.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n'));
                text.extend(whole.filter(|line| at(line).is_some_and(|at| at <= done)));
            }
        }
        write_file(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(io_error("write", path))?;
        Ok(Self { path: path.to_owned(), file, terms: terms.len() })
    }

    pub fn step(&mut self, at: At, lr: f64, losses: &[(&str, f64)], total: f64) -> Result<(), TrainError> {
        let terms: String = losses.iter().map(|(_, value)| format!("{value},")).collect();
        self.line(&format!("{},{},{lr},{terms}{total},,,,\n", at.epoch, at.step))
    }

    pub fn test(&mut self, at: At, mean: &Mean) -> Result<(), TrainError> {
        let Mean { items, kld, sim, nss } = mean;
        let nss = nss.map_or_else(String::new, |nss| nss.to_string());
        let no_losses = ",".repeat(self.terms + 1);
        self.line(&format!("{},{},{no_losses},{items},{kld},{sim},{nss}\n", at.epoch, at.step))
    }

    fn line(&mut self, line: &str) -> Result<(), TrainError> {
        self.file.write_all(line.as_bytes()).map_err(io_error("write", &self.path))
    }
}

/// Epoch and step of a line.
fn at(line: &str) -> Option<At> {
    let mut cells = line.split(',');
    Some(At { epoch: cells.next()?.parse().ok()?, step: cells.next()?.parse().ok()? })
}
