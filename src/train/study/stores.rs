//! The feature stores of a comparison: one for each sort of features that its arms read.

use std::path::{Path, PathBuf};

use super::{Arm, Event};
use crate::train::{
    TrainError,
    backbone::Keys,
    loss_report::System,
    run::Job,
    store::{Builder, Kept, Recipe},
    wsma::check_channels,
};

/// Where they lie.
#[derive(Debug)]
pub(super) struct Stores {
    /// Of the last block's keys; the others have names that begin with its.
    last: PathBuf,
}

impl Stores {
    pub fn at(last: PathBuf) -> Self {
        Self { last }
    }

    /// The one that an arm reads.
    pub fn of(&self, arm: &Arm) -> PathBuf {
        match arm.settings.system.keys() {
            Keys::Last => self.last.clone(),
            Keys::LastTwo => {
                let mut path = self.last.clone().into_os_string();
                path.push("-two-blocks");
                path.into()
            }
        }
    }

    /// Computes what they do not hold yet of what the arms read. False: stopped on the way.
    pub fn fill(
        &self,
        arms: &[Arm],
        (backbone, kept): (&Path, Kept),
        job: Job<'_>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, TrainError> {
        let Kept { variants, precision } = kept;
        let mut needed: Vec<(PathBuf, &Arm)> = Vec::new();
        for arm in arms {
            let out = self.of(arm);
            if needed.iter().all(|(other, _)| *other != out) {
                needed.push((out, arm));
            }
        }
        let mut builders = Vec::new();
        for (out, arm) in &needed {
            let (augmentation, keys) = (arm.settings.augmentation, arm.settings.system.keys());
            let builder = Builder::new(Recipe { backbone, augmentation, variants, precision, keys, out }, job)?;
            if arm.settings.system == System::Wsma {
                check_channels(builder.channels()).map_err(|error| without(error, &arm.name))?;
            }
            builders.push(builder);
        }
        // What all of them take is known before any of it is computed.
        builders.iter().for_each(|builder| watch(Event::StoreSize(builder.volume())));
        for builder in builders {
            if !builder.run(&mut |progress| watch(Event::Store(progress)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The same with what to do about it.
fn without(error: TrainError, arm: &str) -> TrainError {
    match error {
        TrainError::Values { what, expected, found } => {
            let expected = format!("of the backbone for {arm}, {expected} (or --rows without {arm})");
            TrainError::Values { what, expected, found }
        }
        other => other,
    }
}
