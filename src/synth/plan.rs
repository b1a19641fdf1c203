//! Which pictures a set has, and in which folders they go.

use super::{
    actor::Occlusion,
    affordance::Affordance,
    kinds::KINDS,
    picture::{Shot, View},
};

/// How many pictures there are, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Exocentric training pictures of each pair of affordance and object.
    pub exo: u32,
    /// Egocentric ones.
    pub ego: u32,
    /// Test pictures of each pair.
    pub tests: u32,
    /// Pixels along a picture's sides.
    pub side: usize,
}

impl Size {
    /// For tests of programs: the least of everything.
    pub const TINY: Self = Self { exo: 3, ego: 1, tests: 1, side: 64 };
    /// Enough to compare methods.
    pub const DEFAULT: Self = Self { exo: 12, ego: 12, tests: 6, side: 224 };
    /// For a model to use.
    pub const FULL: Self = Self { exo: 100, ego: 30, tests: 20, side: 224 };
}

/// The objects of training, all levels of occlusion in turn.
const SEEN: &str = "Seen";
/// The same training pictures, tested with the objects that are held out.
const UNSEEN: &str = "Unseen";

/// The folder of the subset of one level of occlusion.
fn subset(level: Occlusion) -> String {
    format!("{SEEN}_{}", level.name())
}

/// The splits' folders. Seen_none, Seen_partial and Seen_full differ from Seen in their exocentric pictures only.
pub fn splits() -> Vec<String> {
    let mut splits = vec![SEEN.to_owned(), UNSEEN.to_owned()];
    splits.extend(Occlusion::ALL.map(subset));
    splits
}

/// One picture and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) shot: Shot,
    /// Folders of splits, such as `Seen`.
    pub(super) splits: Vec<String>,
}

impl Job {
    /// Relative to the set's folder.
    pub(super) fn pictures(&self) -> Vec<String> {
        let part = match self.shot.view {
            View::Exo(_) => "trainset/exocentric",
            View::Ego => "trainset/egocentric",
            View::Test => "testset/egocentric",
        };
        self.paths(part, "jpg")
    }

    /// Of a test, relative to the set's folder; of others, none.
    pub(super) fn truths(&self) -> Vec<String> {
        if self.shot.view == View::Test { self.paths("testset/GT", "png") } else { Vec::new() }
    }

    fn paths(&self, part: &str, ending: &str) -> Vec<String> {
        let (action, object) = (self.shot.affordance.name(), KINDS[self.shot.kind].name);
        let number = self.shot.number;
        let path = |split| format!("{split}/{part}/{action}/{object}/{action}_{object}_{number:04}.{ending}");
        self.splits.iter().map(path).collect()
    }
}

/// All pictures, in a fixed order.
pub(super) fn jobs(size: &Size) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (kind, affordance) in pairs() {
        let mut add = |view, number, splits| jobs.push(Job { shot: Shot { kind, affordance, view, number }, splits });
        if KINDS[kind].held_out {
            (0..size.tests).for_each(|number| add(View::Test, number, vec![UNSEEN.to_owned()]));
            continue;
        }
        for number in 0..size.exo {
            for (place, level) in Occlusion::ALL.into_iter().enumerate() {
                let mut splits = vec![subset(level)];
                // The levels take turns in the mixed splits.
                if number as usize % Occlusion::ALL.len() == place {
                    splits.extend([SEEN.to_owned(), UNSEEN.to_owned()]);
                }
                add(View::Exo(level), number, splits);
            }
        }
        (0..size.ego).for_each(|number| add(View::Ego, number, splits()));
        let tested: Vec<String> = splits().into_iter().filter(|split| split != UNSEEN).collect();
        (0..size.tests).for_each(|number| add(View::Test, number, tested.clone()));
    }
    jobs
}

/// Every object with each of its actions.
pub(super) fn pairs() -> impl Iterator<Item = (usize, Affordance)> {
    KINDS.iter().enumerate().flat_map(|(kind, k)| k.affordances.iter().map(move |affordance| (kind, *affordance)))
}
