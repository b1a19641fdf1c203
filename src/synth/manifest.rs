//! `manifest.json`: how a set was drawn and what is on its pictures, for diagnostics. Training reads none of it.

use std::collections::BTreeMap;

use super::{
    actor::Occlusion,
    affordance::Affordance,
    kinds::KINDS,
    picture::{Action, Drawn, View},
    plan::{Job, Size, splits},
    truth::{self, PartBox},
};

/// Raised whenever the same seed would give other pictures.
const VERSION: u32 = 1;

/// The whole file.
#[derive(Debug, serde::Serialize)]
pub struct Manifest {
    /// Of the drawing: the same version and seed give the same bytes.
    version: u32,
    /// What all draws come from.
    seed: u64,
    /// How many pictures of each pair, and their side in pixels.
    size: Size,
    /// In class order, as in each split's `affordances.txt`.
    affordances: [Affordance; Affordance::ALL.len()],
    /// All kinds of objects.
    objects: Vec<Object>,
    /// What each split's folder holds.
    splits: BTreeMap<String, Counts>,
    /// The exocentric pictures.
    exo: Vec<Exo>,
    /// The test pictures.
    tests: Vec<Test>,
}

#[derive(Debug, serde::Serialize)]
struct Object {
    name: &'static str,
    held_out: bool,
    affordances: &'static [Affordance],
}

/// Pictures of a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Exocentric, for training.
    pub exo: usize,
    /// Egocentric, for training.
    pub ego: usize,
    /// With ground truth.
    pub tests: usize,
}

#[derive(Debug, serde::Serialize)]
struct Exo {
    paths: Vec<String>,
    affordance: Affordance,
    object: &'static str,
    occlusion: Occlusion,
    #[serde(flatten)]
    action: Action,
}

#[derive(Debug, serde::Serialize)]
struct Test {
    paths: Vec<String>,
    affordance: Affordance,
    object: &'static str,
    #[serde(flatten)]
    part: Option<PartBox>,
}

/// What the manifest says of one picture.
pub(super) enum Entry {
    Exo(Action),
    Ego,
    Test(Option<PartBox>),
}

impl Entry {
    /// Of a picture with its ground truth.
    pub(super) fn of(drawn: &Drawn, truth: Option<&[u8]>) -> Self {
        match (drawn.action, truth) {
            (Some(action), _) => Self::Exo(action),
            (None, Some(truth)) => Self::Test(truth::part_box(&drawn.mask, truth, drawn.picture.width() as usize)),
            (None, None) => Self::Ego,
        }
    }
}

impl Manifest {
    /// Of all jobs with what came of each, in the same order.
    pub(super) fn new(seed: u64, size: Size, jobs: &[Job], entries: Vec<Entry>) -> Self {
        let object = |kind: &super::kinds::Kind| Object {
            name: kind.name,
            held_out: kind.held_out,
            affordances: kind.affordances,
        };
        let mut manifest = Self {
            version: VERSION,
            seed,
            size,
            affordances: Affordance::ALL,
            objects: KINDS.iter().map(object).collect(),
            splits: counts(jobs),
            exo: Vec::new(),
            tests: Vec::new(),
        };
        for (job, entry) in jobs.iter().zip(entries) {
            let (paths, affordance, object) = (job.pictures(), job.shot.affordance, KINDS[job.shot.kind].name);
            match (entry, job.shot.view) {
                (Entry::Exo(action), View::Exo(occlusion)) => {
                    manifest.exo.push(Exo { paths, affordance, object, occlusion, action });
                }
                (Entry::Test(part), _) => manifest.tests.push(Test { paths, affordance, object, part }),
                _ => {}
            }
        }
        manifest
    }
}

/// What each split holds.
pub(super) fn counts(jobs: &[Job]) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = splits().into_iter().map(|split| (split, Counts::default())).collect();
    for job in jobs {
        for split in &job.splits {
            let count = counts.entry(split.clone()).or_default();
            *match job.shot.view {
                View::Exo(_) => &mut count.exo,
                View::Ego => &mut count.ego,
                View::Test => &mut count.tests,
            } += 1;
        }
    }
    counts
}
