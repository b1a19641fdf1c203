//! Looks at every picture of a dataset before hours are spent on it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{index::Dataset, truth};
use crate::perceive::{decode::Limits, picture};

/// A picture that will be in the way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PictureFinding {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What is wrong with a picture.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// It can't be read or decoded.
    #[error("{cause}")]
    Unreadable {
        /// Why.
        cause: String,
    },
    /// A ground truth that marks nothing.
    #[error("the ground truth is black: nothing is marked")]
    NothingMarked,
    /// A ground truth of another size than its picture: it is stretched over it.
    #[error("the ground truth has {truth} pixels, its picture {picture} (width x height): it is stretched over it")]
    OtherSize {
        /// Width x height.
        truth: String,
        /// Width x height.
        picture: String,
    },
}

/// What to look at.
#[derive(Debug, Clone, Copy)]
enum Look<'a> {
    Picture(&'a Path),
    Test { picture: &'a Path, truth: &'a Path },
}

/// Decodes every picture of the dataset on all cores. `progress` is called once per picture or pair, from any thread. The
/// findings come in the order of the dataset.
pub fn check_pictures(dataset: &Dataset, limits: &Limits, progress: &(dyn Fn() + Sync)) -> Vec<PictureFinding> {
    let train = dataset.train.iter().flat_map(|folder| folder.exo.iter().chain(&folder.ego));
    let test = dataset.test.iter().map(|item| Look::Test { picture: &item.picture, truth: &item.truth });
    let looks: Vec<Look<'_>> = train.map(|path| Look::Picture(path)).chain(test).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(look) = looks.get(place) else {
                return found;
            };
            found.extend(look.findings(limits).map(|finding| (place, finding)));
            progress();
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, PictureFinding)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        // A worker that panicked has found nothing more; the decoders do not panic.
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.path.cmp(&b.1.path)));
    found.into_iter().map(|(_, finding)| finding).collect()
}

impl Look<'_> {
    fn findings(&self, limits: &Limits) -> impl Iterator<Item = PictureFinding> {
        match *self {
            Self::Picture(path) => {
                [picture::load(path, limits).err().map(|error| unreadable(path, &error.cause)), None]
            }
            Self::Test { picture, truth } => test_findings(picture, truth, limits),
        }
        .into_iter()
        .flatten()
    }
}

fn test_findings(picture: &Path, truth: &Path, limits: &Limits) -> [Option<PictureFinding>; 2] {
    let loaded = picture::load(picture, limits).map_err(|error| unreadable(picture, &error.cause));
    let marked = match truth::load(truth, limits) {
        Err(error) => return [loaded.err(), Some(unreadable(truth, &error.cause))],
        Ok(marked) => marked,
    };
    let (height, width) = marked.dim();
    let finding = if marked.iter().all(|value| *value == 0.0) {
        Some(Finding::NothingMarked)
    } else {
        loaded
            .as_ref()
            .ok()
            .filter(|loaded| (loaded.width() as usize, loaded.height() as usize) != (width, height))
            .map(|loaded| Finding::OtherSize {
                truth: format!("{width}x{height}"),
                picture: format!("{}x{}", loaded.width(), loaded.height()),
            })
    };
    [loaded.err(), finding.map(|finding| PictureFinding { path: truth.to_owned(), finding })]
}

fn unreadable(path: &Path, cause: &impl std::fmt::Display) -> PictureFinding {
    PictureFinding { path: path.to_owned(), finding: Finding::Unreadable { cause: cause.to_string() } }
}
