//! Looks at every picture of a dataset before hours are spent on it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    augment::{MOST_OBLONG, is_strip},
    index::{Dataset, LeftOut},
    truth,
};
use crate::{
    contract::Size,
    perceive::{decode::Limits, picture},
};

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
    /// A training picture that is a strip.
    #[error(
        "{size} pixels (width x height), a strip: expected a long side of at most {MOST_OBLONG} times the short one"
    )]
    Strip {
        /// Width x height.
        size: String,
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

/// Takes the pictures that can't be used out of a dataset's lists, and says so in [`Dataset::left_out`]. A ground truth of
/// another size stays.
pub fn leave_out(dataset: &mut Dataset, findings: &[PictureFinding]) {
    let unusable: BTreeMap<&Path, &'static str> = findings.iter().filter_map(reason).collect();
    let usable = |path: &PathBuf| !unusable.contains_key(path.as_path());
    for folder in &mut dataset.train {
        folder.exo.retain(usable);
        folder.ego.retain(usable);
    }
    let mut left_out: Vec<LeftOut> =
        unusable.iter().map(|(path, reason)| LeftOut { path: path.to_path_buf(), reason }).collect();
    dataset.train.retain(|folder| {
        let rest = folder.exo.first().or(folder.ego.first());
        let complete = !folder.exo.is_empty() && !folder.ego.is_empty();
        if let (false, Some(rest)) = (complete, rest) {
            let path = rest.parent().unwrap_or(rest).to_owned();
            left_out.push(LeftOut { path, reason: "no picture of the other view can be used" });
        }
        complete
    });
    dataset.test.retain(|item| usable(&item.picture) && usable(&item.truth));
    dataset.left_out.extend(left_out);
}

fn reason(found: &PictureFinding) -> Option<(&Path, &'static str)> {
    let reason = match found.finding {
        Finding::Unreadable { .. } => "can't be read",
        Finding::Strip { .. } => "a strip",
        Finding::NothingMarked => "a ground truth that marks nothing",
        Finding::OtherSize { .. } => return None,
    };
    Some((&found.path, reason))
}

impl Look<'_> {
    fn findings(&self, limits: &Limits) -> impl Iterator<Item = PictureFinding> {
        match *self {
            Self::Picture(path) => [training_finding(path, limits), None],
            Self::Test { picture, truth } => test_findings(picture, truth, limits),
        }
        .into_iter()
        .flatten()
    }
}

fn training_finding(path: &Path, limits: &Limits) -> Option<PictureFinding> {
    match picture::load(path, limits) {
        Err(error) => Some(unreadable(path, &error.cause)),
        Ok(picture) => {
            let (width, height) = picture.dimensions();
            let finding = Finding::Strip { size: format!("{width}x{height}") };
            is_strip(Size { height, width }).then(|| PictureFinding { path: path.to_owned(), finding })
        }
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
