//! What a run was like: `metrics.csv`, a line for every step and for every epoch's test, and the same for TensorBoard, with
//! test pictures.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    METRICS,
    events::{Done, EVENTS, Events},
    report::View,
    tensor_file::io_error,
};
use crate::{export::bundle::write_file, metrics::Mean, train::TrainError};

const BEFORE: [&str; 3] = ["epoch", "step", "lr"];
const AFTER: [&str; 5] = ["total", "test_items", "test_kld", "test_sim", "test_nss"];
/// Pictures of a test that TensorBoard gets.
const PICTURES: usize = 4;

/// The files, open at their ends.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    file: File,
    events: Events,
    /// Loss terms.
    terms: usize,
    /// Steps of an epoch.
    steps: u64,
}

/// Where a line belongs: epoch and step, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub epoch: u64,
    pub step: u64,
}

impl At {
    /// Steps since the run began, of epochs of so many.
    fn of_all(self, steps: u64) -> u64 {
        self.epoch.saturating_sub(1).saturating_mul(steps).saturating_add(self.step)
    }
}

impl History {
    /// Takes the files in a run's folder up after `done`: what lies behind, which a resumed run writes again, is cut off. No
    /// file is a file without lines. `steps`: of an epoch.
    pub fn open(folder: &Path, terms: &[&str], done: At, steps: u64) -> Result<Self, TrainError> {
        let path = &folder.join(METRICS);
        let header = BEFORE.iter().chain(terms).chain(&AFTER).copied().collect::<Vec<_>>().join(",");
        let mut text = header + "\n";
        match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", path)(error)),
            Ok(before) => {
                // The last line may be cut off.
                let whole = before.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n'));
                text.extend(whole.filter(|line| is_of(line, done)));
            }
        }
        write_file(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(io_error("write", path))?;
        let tested = At { epoch: done.epoch, step: 0 }.of_all(steps);
        let events = Events::open(&folder.join(EVENTS), Done { steps: done.of_all(steps), tested })?;
        Ok(Self { path: path.to_owned(), file, events, terms: terms.len(), steps })
    }

    pub fn step(&mut self, at: At, lr: f64, losses: &[(&str, f64)], total: f64) -> Result<(), TrainError> {
        let terms: String = losses.iter().map(|(_, value)| format!("{value},")).collect();
        self.line(&format!("{},{},{lr},{terms}{total},,,,\n", at.epoch, at.step))?;
        let terms = losses.iter().map(|(name, value)| (format!("loss/{name}"), *value));
        let others = [("loss/total".to_owned(), total), ("lr".to_owned(), lr)];
        self.events.scalars(at.of_all(self.steps), terms.chain(others))
    }

    /// An epoch's scores, and some of its pictures.
    pub fn test(&mut self, at: At, mean: &Mean, views: &[View]) -> Result<(), TrainError> {
        let Mean { items, kld, sim, nss } = mean;
        let cell = nss.map_or_else(String::new, |nss| nss.to_string());
        let no_losses = ",".repeat(self.terms + 1);
        self.line(&format!("{},{},{no_losses},{items},{kld},{sim},{cell}\n", at.epoch, at.step))?;
        let scores = [("test/kld", Some(*kld)), ("test/sim", Some(*sim)), ("test/nss", *nss)];
        let scores = scores.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let step = at.of_all(self.steps);
        self.events.scalars(step, scores)?;
        for (place, view) in views.iter().take(PICTURES).enumerate() {
            let tag = format!("test/{}: picture, heat, truth/{} {}", place + 1, view.action, view.object);
            self.events.picture(step, tag, &view.side_by_side())?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), TrainError> {
        self.file.write_all(line.as_bytes()).map_err(io_error("write", &self.path))
    }
}

/// Does a line tell of what is done? The test of the epoch under way is not, whatever step that is at.
fn is_of(line: &str, done: At) -> bool {
    let mut cells = line.split(',');
    let mut number = || cells.next()?.parse().ok();
    let (Some(epoch), Some(step)) = (number(), number()) else { return false };
    let is_test = cells.next() == Some("");
    At { epoch, step } <= done && !(is_test && epoch >= done.epoch)
}
