//! The test sets of a comparison and the pictures to train on for each, every picture known by its content.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::Event;
use crate::{
    contract,
    data::{DataError, Dataset, TestItem, TrainFolder},
    train::{TrainError, features::on_all_cores, run::io_error},
};

/// Pictures that are read between two looks at the clock.
const AT_ONCE: usize = 256;

/// Something to test on, under a name.
#[derive(Debug)]
pub struct Set {
    /// For people, and in reports: the split's.
    pub name: String,
    /// Its pictures. Those that several splits share by content go by the path that they have in the first of them.
    pub dataset: Dataset,
}

/// What one network is trained on, and the sets that it is then tested on.
#[derive(Debug)]
pub(super) struct Training {
    /// Of the first of the sets.
    pub name: String,
    /// Pictures to train on, and none to test with.
    pub dataset: Dataset,
    /// Indices of sets.
    pub tested: Vec<usize>,
}

/// All pictures of a comparison.
#[derive(Debug)]
pub(super) struct Sets {
    pub sets: Vec<Set>,
    /// Sets with the same training pictures share one.
    pub trainings: Vec<Training>,
    /// Every picture once, for the feature store.
    pub all: Dataset,
    /// SHA-256 of each set: its actions, its pictures and ground truths in their order.
    pub fingerprints: Vec<String>,
}

impl Sets {
    /// Reads every picture; None if `stop` was set on the way. `root`: of all the sets' folders.
    pub fn new(
        root: &Path,
        mut sets: Vec<Set>,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Self>, TrainError> {
        if let Some(set) = sets.iter().find(|set| set.dataset.test.is_empty()) {
            let (folder, what) = (set.dataset.folder.clone(), "test pictures with a ground truth");
            return Err(DataError::Nothing { folder, what }.into());
        }
        let Some(contents) = contents(&sets, stop, watch)? else { return Ok(None) };
        let fingerprints = sets.iter().map(|set| fingerprint(&set.dataset, &contents)).collect();
        let all = match &sets[..] {
            // So that it shares its store with `looptrans train`.
            [only] => only.dataset.clone(),
            _ => {
                share(root, &mut sets, &contents);
                union(root, &sets)
            }
        };
        let trainings = trainings(&sets);
        Ok(Some(Self { sets, trainings, all, fingerprints }))
    }
}

/// SHA-256 of every file by its path.
fn contents(
    sets: &[Set],
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Option<HashMap<PathBuf, String>>, TrainError> {
    let mut paths: Vec<&PathBuf> = Vec::new();
    for Set { dataset, .. } in sets {
        paths.extend(dataset.train.iter().flat_map(|folder| folder.exo.iter().chain(&folder.ego)));
        paths.extend(dataset.test.iter().flat_map(|item| [&item.picture, &item.truth]));
    }
    let mut contents = HashMap::with_capacity(paths.len());
    for part in paths.chunks(AT_ONCE) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let hash = |(): &mut (), at: usize| -> Result<(PathBuf, String), TrainError> {
            let path = part[at];
            Ok((path.clone(), contract::sha256_hex(&fs::read(path).map_err(io_error("read", path))?)))
        };
        contents.extend(on_all_cores(part.len(), || (), hash)?);
        watch(Event::Looked { done: contents.len(), of: paths.len() });
    }
    Ok(Some(contents))
}

fn fingerprint(dataset: &Dataset, contents: &HashMap<PathBuf, String>) -> String {
    let of = |path: &PathBuf| contents.get(path).map_or("", String::as_str);
    let mut text = format!("{:?}\n", dataset.affordances);
    for TrainFolder { label, exo, ego, .. } in &dataset.train {
        text += &format!("{label} {} {}\n", exo.len(), ego.len());
        exo.iter().chain(ego).for_each(|path| text += of(path));
    }
    for TestItem { label, picture, truth, .. } in &dataset.test {
        text += &format!("{label} {} {}\n", of(picture), of(truth));
    }
    contract::sha256_hex(text.as_bytes())
}

/// Gives equal pictures one path, the first.
fn share(root: &Path, sets: &mut [Set], contents: &HashMap<PathBuf, String>) {
    let mut first: HashMap<&str, PathBuf> = HashMap::new();
    let mut one_path = |path: &mut PathBuf| {
        if let Some(content) = contents.get(path) {
            path.clone_from(first.entry(content).or_insert_with(|| path.clone()));
        }
    };
    for Set { dataset, .. } in sets {
        root.clone_into(&mut dataset.folder);
        dataset.train.iter_mut().for_each(|folder| {
            folder.exo.iter_mut().chain(&mut folder.ego).for_each(&mut one_path);
        });
        dataset.test.iter_mut().for_each(|item| one_path(&mut item.picture));
    }
}

fn union(root: &Path, sets: &[Set]) -> Dataset {
    let (mut trained, mut tested) = (HashSet::new(), HashSet::new());
    let mut all = Dataset {
        folder: root.to_owned(),
        affordances: Vec::new(),
        train: Vec::new(),
        test: Vec::new(),
        left_out: Vec::new(),
    };
    for Set { dataset, .. } in sets {
        for folder in &dataset.train {
            let mut new = |paths: &[PathBuf]| -> Vec<PathBuf> {
                paths.iter().filter(|path| trained.insert((*path).clone())).cloned().collect()
            };
            let (exo, ego) = (new(&folder.exo), new(&folder.ego));
            all.train.push(TrainFolder { exo, ego, ..folder.clone() });
        }
        all.test.extend(dataset.test.iter().filter(|item| tested.insert(item.picture.clone())).cloned());
    }
    all
}

fn trainings(sets: &[Set]) -> Vec<Training> {
    let mut trainings: Vec<Training> = Vec::new();
    for (index, Set { name, dataset }) in sets.iter().enumerate() {
        let same = |other: &&mut Training| {
            (&other.dataset.train, &other.dataset.affordances) == (&dataset.train, &dataset.affordances)
        };
        match trainings.iter_mut().find(same) {
            Some(training) => training.tested.push(index),
            None => {
                let dataset = Dataset { test: Vec::new(), left_out: Vec::new(), ..dataset.clone() };
                trainings.push(Training { name: name.clone(), dataset, tested: vec![index] });
            }
        }
    }
    trainings
}
