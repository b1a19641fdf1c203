//! What a comparison leaves in its folder: what it is, and the result of each run.
//!
//! ```text
//! study.json                               what is compared; a call that differs is refused
//! runs/ARM/seed_N/TRAINING/result.json     a run that is done and tested
//!                          last.safetensors, metrics.csv, report.html   as of `looptrans train`
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Arm, arms};
use crate::{
    export::bundle::write_file,
    metrics::Mean,
    train::{
        TrainError,
        run::{LOCK, io_error, lock},
        settings::Settings,
        store::{Kept, Precision},
    },
};

/// Changes with anything that would give other results for the same study.
const FORMAT: u32 = 2;
const STUDY: &str = "study.json";
const RESULT: &str = "result.json";

/// All that results depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    format: u32,
    command: String,
    /// SHA-256 of the backbone's file.
    backbone: String,
    variants: u32,
    precision: Precision,
    /// SHA-256 of each test set with what is trained on for it.
    sets: Vec<(String, String)>,
    /// Settings by arm, their seed 0.
    arms: BTreeMap<String, Settings>,
    /// SHA-256 of the text encoder's file by arm, of those that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    text_encoders: BTreeMap<String, String>,
    /// The same of the concept clusters' file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    clusters: BTreeMap<String, String>,
}

impl Identity {
    pub fn new(command: &str, backbone: String, kept: Kept, sets: Vec<(String, String)>) -> Self {
        let Kept { variants, precision } = kept;
        Self {
            format: FORMAT,
            command: command.to_owned(),
            backbone,
            variants,
            precision,
            sets,
            arms: BTreeMap::new(),
            text_encoders: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// With these arms.
    pub fn with(mut self, arms: &[Arm]) -> Result<Self, TrainError> {
        let settings = arms.iter().map(|arm| (arm.name.clone(), Settings { seed: 0, ..arm.settings.clone() }));
        self.arms = settings.collect();
        self.text_encoders = arms::text_encoders(arms)?;
        self.clusters = arms::clusters(arms)?;
        Ok(self)
    }

    /// The same study with the arms of both; refuses what would mix results of different settings.
    fn merged(mut self, before: Self, path: &Path) -> Result<Self, TrainError> {
        let parts = |of: &Self| {
            [
                ("format", of.format.to_string()),
                ("command", of.command.clone()),
                ("backbone of SHA-256", of.backbone.clone()),
                ("variants", of.variants.to_string()),
                ("precision", format!("{:?}", of.precision)),
                ("test sets and pictures", format!("{:?}", of.sets)),
            ]
        };
        let refuse = |what: &str, expected: String, found: String| TrainError::File {
            path: path.to_owned(),
            expected: format!("a study of {what} {expected} (another one needs another --out)"),
            found,
        };
        for ((what, now), (_, before)) in parts(&self).into_iter().zip(parts(&before)) {
            if now != before {
                return Err(refuse(what, now, before));
            }
        }
        for (name, before) in before.arms {
            let Some(now) = self.arms.get(&name) else {
                self.arms.insert(name, before);
                continue;
            };
            if let Some((key, now, before)) = difference(now, &before) {
                return Err(refuse(&format!("{name} with {key}"), now, before));
            }
        }
        for (what, all, before) in [
            ("a text encoder", &mut self.text_encoders, before.text_encoders),
            ("concept clusters", &mut self.clusters, before.clusters),
        ] {
            for (name, before) in before {
                let now = all.entry(name.clone()).or_insert_with(|| before.clone());
                if *now != before {
                    return Err(refuse(&format!("{name} with {what} of SHA-256"), now.clone(), before));
                }
            }
        }
        Ok(self)
    }
}

/// The first key whose values differ, and these.
fn difference(a: &Settings, b: &Settings) -> Option<(String, String, String)> {
    if a == b {
        return None;
    }
    let lines = |settings: &Settings| serde_yaml::to_string(settings).unwrap_or_default();
    let (a, b) = (lines(a), lines(b));
    let differ = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    let parts = |line: &str| line.trim().split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
    let found = differ.and_then(|(a, b)| parts(a).zip(parts(b)));
    let other = || ("settings".to_owned(), "of this call".to_owned(), "others".to_owned());
    Some(found.map_or_else(other, |((key, a), (_, b))| (key, a, b)))
}

/// The folder of a comparison, for this process alone while it is held.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder: a new one, or the one of the same study.
    pub fn open(path: &Path, identity: Identity) -> Result<Self, TrainError> {
        fs::create_dir_all(path).map_err(io_error("create", path))?;
        let at = path.join(STUDY);
        let before: Option<Identity> = read(&at, "what is compared here")?;
        if before.is_none() {
            refuse_other_things(path)?;
        }
        let lock = lock(path)?;
        let identity = match before {
            None => identity,
            Some(before) => identity.merged(before, &at)?,
        };
        write(&at, &identity)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of one run.
    pub fn run(&self, arm: &str, seed: u64, training: &str) -> PathBuf {
        self.path.join("runs").join(arm).join(format!("seed_{seed}")).join(training)
    }
}

/// A folder that nobody has used, but for what this command leaves before it knows its study.
fn refuse_other_things(path: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(path).map_err(io_error("read", path))? {
        let name = entry.map_err(io_error("read", path))?.file_name();
        if name != LOCK {
            return Err(TrainError::File {
                path: path.to_owned(),
                expected: format!("no such folder, an empty one, or one with {STUDY}"),
                found: format!("{name:?}"),
            });
        }
    }
    Ok(())
}

/// One run's scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunResult {
    /// By test set.
    pub tests: BTreeMap<String, Tested>,
}

/// Scores on one test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tested {
    /// Of P.
    pub pixel: Mean,
    /// Of G_ego; a network without it has none.
    pub scam: Option<Mean>,
    /// Items without a score, and why.
    pub skipped: Vec<(usize, String)>,
    /// Class maps that the sheet shows, of the maps that the arm is judged by.
    pub shown: Vec<Shown>,
}

/// One class map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    /// Index of the test item.
    pub item: usize,
    pub rows: usize,
    pub columns: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl RunResult {
    /// None: the run in this folder is not done yet.
    pub fn read(run: &Path) -> Result<Option<Self>, TrainError> {
        read(&run.join(RESULT), "a run's scores")
    }

    pub fn write(&self, run: &Path) -> Result<(), TrainError> {
        write(&run.join(RESULT), self)
    }
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Option<T>, TrainError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(io_error("read", path))?,
    };
    let refuse = |found: String| TrainError::File { path: path.to_owned(), expected: what.to_owned(), found };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| refuse(error.to_string()))
}

pub(super) fn write(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let json = serde_json::to_string_pretty(value).map_err(|error| io_error("write", path)(error.into()))?;
    Ok(write_file(path, (json + "\n").as_bytes())?)
}
