//! Pictures in folders, at any depth.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{data::DataError, train::TrainError};

const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];
/// Ground truth in AGD20K's layout: no pictures.
const PASSED_OVER: &str = "GT";

/// The pictures to train on, in sorted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gallery {
    /// Their files.
    pub pictures: Vec<PathBuf>,
    /// What each is a picture of, as far as that is known: the name of the folder that it lies in, below a root.
    classes: Vec<Option<String>>,
    /// SHA-256 of their names.
    pub fingerprint: String,
}

impl Gallery {
    /// Lists all JPEG and PNG files in these folders, hidden ones and folders named GT aside. None is opened.
    ///
    /// # Errors
    /// A folder can't be read, or there are no pictures in any.
    pub fn open(roots: &[PathBuf]) -> Result<Self, TrainError> {
        let (mut pictures, mut classes, mut hash) = (Vec::new(), Vec::new(), Sha256::new());
        for root in roots {
            let mut found = Vec::new();
            list(root, &mut BTreeSet::new(), &mut found)?;
            found.sort();
            for path in found {
                let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
                let name = relative.to_string_lossy();
                hash.update(name.len().to_le_bytes());
                hash.update(name.as_bytes());
                let folder = relative.parent().and_then(Path::file_name);
                classes.push(folder.map(|folder| folder.to_string_lossy().into_owned()));
                pictures.push(path);
            }
        }
        if pictures.is_empty() {
            let folder = roots.first().cloned().unwrap_or_default();
            return Err(DataError::Nothing { folder, what: "pictures (.jpg, .jpeg, .png) in it" }.into());
        }
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { pictures, classes, fingerprint })
    }

    /// At most so many pictures that have a class with others in it, spread evenly, as (index, class number). Empty where
    /// there are not two classes.
    pub fn labelled(&self, most: usize) -> Vec<(usize, i64)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for class in self.classes.iter().flatten() {
            *counts.entry(class).or_default() += 1;
        }
        counts.retain(|_, count| *count > 1);
        if counts.len() < 2 {
            return Vec::new();
        }
        let number = |class: &str| counts.keys().position(|known| *known == class).map(|number| number as i64);
        let all: Vec<(usize, i64)> = (self.classes.iter().enumerate())
            .filter_map(|(index, class)| Some((index, number(class.as_deref()?)?)))
            .collect();
        let count = all.len().min(most);
        (0..count).map(|index| all[index * all.len() / count]).collect()
    }
}

/// `seen`: the folders that were listed, by what they are and not by what they are called: links may lead in a circle.
fn list(folder: &Path, seen: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Read { path: folder.to_owned(), source };
    if !seen.insert(fs::canonicalize(folder).map_err(failed)?) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.starts_with('.') || name == PASSED_OVER {
            continue;
        }
        if path.is_dir() {
            list(&path, seen, found)?;
        } else if ENDINGS.contains(&ending.as_str()) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_a_circle_give_each_picture_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("cups")).unwrap();
        fs::write(at("cups/a.jpg"), "").unwrap();
        for link in ["loop", "cups/loop"] {
            std::os::unix::fs::symlink(folder.path(), at(link)).unwrap();
        }
        assert_eq!(Gallery::open(&[folder.path().to_owned()]).unwrap().pictures.len(), 1);
    }
}
