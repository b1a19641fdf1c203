//! Which pictures a dataset holds.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::DataError;
use crate::{
    affordance::VOCABULARIES,
    convert::{ActionList, read_text},
};

/// What AGD20K's files end in; others in a folder are passed over.
const PICTURE_ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];
/// What other pictures end in, which are named where they are found: somebody meant them to be used.
const OTHER_ENDINGS: [&str; 9] = ["webp", "bmp", "gif", "tif", "tiff", "heic", "heif", "avif", "jfif"];

/// In a split's folder: its affordances in class order, one per line. Not in the published datasets.
pub const CLASS_LIST_FILE: &str = "affordances.txt";

/// One split of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The split's folder, which holds `trainset` and `testset`.
    pub folder: PathBuf,
    /// The affordances in class order: a label is an index into this list.
    pub affordances: Vec<String>,
    /// The folders to train on, sorted by affordance and object.
    pub train: Vec<TrainFolder>,
    /// The pictures to test with, sorted by affordance, object and name.
    pub test: Vec<TestItem>,
    /// What was left out, each with its reason.
    pub left_out: Vec<LeftOut>,
}

/// The training pictures of one affordance of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainFolder {
    /// Index into [`Dataset::affordances`].
    pub label: usize,
    /// The object's name.
    pub object: String,
    /// Pictures of people using it, sorted; at least one.
    pub exo: Vec<PathBuf>,
    /// Pictures of it alone, sorted; at least one.
    pub ego: Vec<PathBuf>,
}

/// A picture whose ground truth is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestItem {
    /// Index into [`Dataset::affordances`].
    pub label: usize,
    /// The object's name.
    pub object: String,
    /// The egocentric picture.
    pub picture: PathBuf,
    /// Its ground truth, a grey picture.
    pub truth: PathBuf,
}

/// A folder or picture that is not used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// It.
    pub path: PathBuf,
    /// Why.
    pub reason: &'static str,
}

/// Where a dataset lies and which actions it is about.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The dataset's root, or the folder of the split itself.
    pub root: &'a Path,
    /// The split's folder under the root (Seen, Unseen, HICO-IIF); None: `root` is the split's folder.
    pub split: Option<&'a str>,
    /// The actions in class order; empty: the split's own [`CLASS_LIST_FILE`], else the published list that has all the
    /// folders' names and whose dataset the split is named after, else the folders' names, sorted.
    pub affordances: &'a [String],
}

/// Sorted names -> paths.
type Entries = BTreeMap<String, PathBuf>;

impl Dataset {
    /// Lists the dataset. No picture is opened.
    ///
    /// # Errors
    /// The folders are not laid out as they should be, can't be read, or hold an action that is not in the list.
    pub fn open(source: &Source<'_>) -> Result<Self, DataError> {
        let folder = split_folder(source)?;
        let (exo, ego) = (folder.join("trainset/exocentric"), folder.join("trainset/egocentric"));
        let (tested, truths) = (folder.join("testset/egocentric"), folder.join("testset/GT"));
        let mut seen: Vec<String> = Vec::new();
        for part in [&exo, &ego, &tested, &truths] {
            seen.extend(folders(part)?.into_keys());
        }
        seen.sort_unstable();
        seen.dedup();
        let affordances = class_list(&folder, &seen, source.affordances)?;
        // A list is not to lead out of the dataset.
        if let Some(name) = affordances.iter().find(|name| !is_folder_name(name)) {
            let cause = format!("affordances: expected names of folders, found {name:?}");
            return Err(DataError::ClassList { path: folder, cause });
        }
        let mut dataset = Self { folder, affordances, train: Vec::new(), test: Vec::new(), left_out: Vec::new() };
        for label in 0..dataset.affordances.len() {
            dataset.add_training(label, &exo, &ego)?;
            dataset.add_tests(label, &tested, &truths)?;
            for part in [&exo, &ego, &tested] {
                dataset.add_passed_over(label, part)?;
            }
        }
        Ok(dataset)
    }

    /// Exocentric training pictures, the number of samples in an epoch.
    pub fn samples(&self) -> usize {
        self.train.iter().map(|folder| folder.exo.len()).sum()
    }

    fn add_training(&mut self, label: usize, exo: &Path, ego: &Path) -> Result<(), DataError> {
        let name = &self.affordances[label];
        let (exo_objects, ego_objects) = (folders(&exo.join(name))?, folders(&ego.join(name))?);
        for (object, path) in &exo_objects {
            let exo = pictures(path)?;
            let ego = ego_objects.get(object).map_or_else(|| Ok(Vec::new()), |path| pictures(path))?;
            let reason = match (exo.is_empty(), ego.is_empty()) {
                (false, false) => {
                    self.train.push(TrainFolder { label, object: object.clone(), exo, ego });
                    continue;
                }
                (true, _) => "no exocentric pictures in it",
                (false, true) => "no egocentric pictures of the same affordance and object",
            };
            self.left_out.push(LeftOut { path: path.clone(), reason });
        }
        for (object, path) in ego_objects {
            if !exo_objects.contains_key(&object) {
                let reason = "no exocentric pictures of the same affordance and object";
                self.left_out.push(LeftOut { path, reason });
            }
        }
        Ok(())
    }

    /// Pictures of an affordance that are not looked at, for their place or their format.
    fn add_passed_over(&mut self, label: usize, part: &Path) -> Result<(), DataError> {
        let folder = part.join(&self.affordances[label]);
        let is_other = |path: &Path| ends_in(path, &OTHER_ENDINGS) && path.is_file();
        let is_any = |path: &Path| is_other(path) || (ends_in(path, &PICTURE_ENDINGS) && path.is_file());
        let mut note = |paths: Entries, reason| {
            self.left_out.extend(paths.into_values().map(|path| LeftOut { path, reason }));
        };
        note(entries(&folder, is_any)?, "a picture outside of an object's folder");
        for object in folders(&folder)?.into_values() {
            note(entries(&object, is_other)?, "a picture that is neither .jpg, .jpeg nor .png");
        }
        Ok(())
    }

    fn add_tests(&mut self, label: usize, tested: &Path, truths: &Path) -> Result<(), DataError> {
        let name = &self.affordances[label];
        let (tested, mut truths) = (folders(&tested.join(name))?, folders(&truths.join(name))?);
        let orphan = |path| LeftOut { path, reason: "ground truth without a picture of the same name" };
        for (object, folder) in tested {
            // By the name without its ending, whatever that is: published code drops .jpeg here, unasked.
            let mut by_stem = BTreeMap::new();
            for path in truths.remove(&object).map_or_else(|| Ok(Entries::new()), |path| files(&path))?.into_values() {
                let stem = path.file_stem().unwrap_or_default().to_owned();
                let other = by_stem.insert(stem, path);
                let reason = "another ground truth of the same name";
                self.left_out.extend(other.map(|path| LeftOut { path, reason }));
            }
            for picture in pictures(&folder)? {
                match picture.file_stem().and_then(|stem| by_stem.remove(stem)) {
                    Some(truth) => self.test.push(TestItem { label, object: object.clone(), picture, truth }),
                    None => self.left_out.push(LeftOut { path: picture, reason: "no ground truth of the same name" }),
                }
            }
            self.left_out.extend(by_stem.into_values().map(orphan));
        }
        for folder in truths.into_values() {
            self.left_out.extend(files(&folder)?.into_values().map(orphan));
        }
        Ok(())
    }
}

/// The folder that holds `trainset` or `testset`.
fn split_folder(source: &Source<'_>) -> Result<PathBuf, DataError> {
    let Source { root, split, .. } = *source;
    let folder = split.map_or_else(|| root.to_owned(), |split| root.join(split));
    let is_split = |folder: &Path| folder.join("trainset").is_dir() || folder.join("testset").is_dir();
    if is_split(&folder) {
        return Ok(folder);
    }
    fs::metadata(root).map_err(|source| DataError::Read { path: root.to_owned(), source })?;
    let inside = folders(root)?;
    let remedy = match split {
        Some(_) if is_split(root) => "; it is a split itself: --split .".to_owned(),
        _ => inside
            .iter()
            .find(|(_, path)| is_split(path))
            .map_or_else(String::new, |(name, _)| format!("; name one: --split {name}")),
    };
    let found: Vec<String> = inside.into_keys().collect();
    let found = if found.is_empty() { "no folders".to_owned() } else { found.join(", ") };
    Err(DataError::Layout {
        root: root.to_owned(),
        expected: format!("{}/trainset (and {0}/testset to test with)", folder.display()),
        found: found + &remedy,
    })
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    endings.contains(&ending.as_str())
}

fn is_folder_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

fn class_list(folder: &Path, seen: &[String], asked: &[String]) -> Result<Vec<String>, DataError> {
    if seen.is_empty() {
        return Err(DataError::Nothing {
            folder: folder.to_owned(),
            what: "affordance folders in trainset or testset",
        });
    }
    let own = if asked.is_empty() { own_list(folder)? } else { None };
    if let Some(listed) = own.as_deref().or((!asked.is_empty()).then_some(asked)) {
        let unknown: Vec<&str> = seen.iter().filter(|name| !listed.contains(name)).map(String::as_str).collect();
        return if unknown.is_empty() {
            Ok(listed.to_vec())
        } else {
            let (unknown, known) = (unknown.join(", "), listed.join(", "));
            Err(DataError::Unlisted { folder: folder.to_owned(), unknown, known })
        };
    }
    // "agd20k-seen" belongs to the folder Seen, "hico-iif" to HICO-IIF.
    let split = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let published = VOCABULARIES.iter().find(|(name, actions)| {
        (*name == split || name.strip_prefix("agd20k-") == Some(&split))
            && seen.iter().all(|name| actions.contains(&name.as_str()))
    });
    Ok(published.map_or_else(|| seen.to_vec(), |(_, actions)| actions.iter().map(|&name| name.to_owned()).collect()))
}

/// The list that the split brings along; None where it has none.
fn own_list(folder: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = folder.join(CLASS_LIST_FILE);
    let failed = |source| DataError::Read { path: path.clone(), source };
    let parsed = match read_text(&path) {
        Ok(text) => ActionList::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
        Err(error) => return Err(failed(error)),
    };
    parsed.map(Some).map_err(|cause| DataError::ClassList { path, cause })
}

/// The folders in a folder; none where it is missing.
fn folders(path: &Path) -> Result<Entries, DataError> {
    entries(path, Path::is_dir)
}

/// The files in a folder; none where it is missing.
fn files(path: &Path) -> Result<Entries, DataError> {
    entries(path, Path::is_file)
}

/// The pictures in a folder, sorted by name.
fn pictures(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(path, |path| ends_in(path, &PICTURE_ENDINGS) && path.is_file())?.into_values().collect())
}

/// What a folder holds, but for hidden files and names that are not UTF-8.
fn entries(path: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Entries, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::new()),
        listing => listing.map_err(failed)?,
    };
    let mut found = Entries::new();
    for entry in listing {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".").to_owned();
        if !name.starts_with('.') && wanted(&path) {
            found.insert(name, path);
        }
    }
    Ok(found)
}
