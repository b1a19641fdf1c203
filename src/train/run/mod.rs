//! A training run, from its settings to its weights.
//!
//! ```text
//! Plan (settings, and a backbone's file or a checkpoint) -> train:
//!   sampler -> FeatureSource -> learner (network -> losses) -> optimizer     every step   -> metrics.csv
//!   test items -> FeatureSource -> evaluate                                  every epoch  -> metrics.csv
//!   both also as TensorBoard's events
//!   checkpoint: last.safetensors (to go on from), best.safetensors, weights.safetensors (to use); report.html
//! ```
//!
//! Everything that is drawn follows from the seed, the epoch and the place in it, so that a resumed run is the run that was
//! not interrupted: on a CPU with the same number of threads, bit for bit.

pub(super) mod backbone_file;
mod checkpoint;
mod checks;
mod evaluate;
mod events;
mod history;
mod learner;
mod lock;
pub(super) mod pictures;
mod report;
pub(super) mod saved;
pub(super) mod step_log;
mod tensor_file;
mod trained;
mod trainer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

pub use tch::Device;

pub use checkpoint::State;
pub use checks::gpus;
pub use evaluate::{Evaluation, Test, evaluate};
pub use learner::Network;

pub(super) use backbone_file::{PREFIX, backbone_of};
pub(super) use checks::{check_device, fingerprint, first_not_finite};
pub(super) use lock::{LOCK, lock};
pub(super) use tensor_file::io_error;
pub(super) use trained::{Tests, Trained};

use super::{
    TrainError,
    features::{FeatureSource, Live, LiveParts},
    loss_report::System,
    optimizer::Optimizer,
    ranks::Ranks,
    settings::{IN_BACKBONE, K_MEANS, Settings},
    store::{Kept, Reading, Store},
};
use crate::{
    data::{Dataset, sampling::Variants},
    export::layout::Sizes,
    perceive::decode::Limits,
};
use backbone_file::BackboneFile;
use checkpoint::{Checkpoint, Origin};
use checks::{check_data, check_ranks};
use learner::Learner;
use trainer::Trainer;

/// The checkpoint to go on from, in the run's folder.
pub const LAST: &str = "last.safetensors";
/// The weights with the lowest test KLD so far.
pub const BEST: &str = "best.safetensors";
/// The weights after the last epoch.
pub const WEIGHTS: &str = "weights.safetensors";
/// How it goes, for people.
pub const REPORT: &str = "report.html";
/// Losses and scores.
pub const METRICS: &str = "metrics.csv";

/// What is to be trained, and where its files go.
#[derive(Debug)]
pub struct Plan {
    settings: Settings,
    out: PathBuf,
    start: Start,
    origin: FeatureOrigin,
}

/// Where a run's features come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureOrigin {
    /// As before the run was interrupted; a new run: live.
    AsBefore,
    /// The backbone runs for every step, on pictures that are augmented anew.
    Live,
    /// A store.
    Store {
        /// Its folder.
        folder: PathBuf,
        /// Compare every picture's SHA-256, not its size alone.
        verify: bool,
    },
}

#[derive(Debug)]
enum Start {
    /// Heads with random values on the backbone of this file.
    New(PathBuf),
    Resume(Box<Checkpoint>),
}

/// Where and how it runs; nothing of it changes the result's meaning.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The pictures that [`Settings::data`] names.
    pub dataset: &'a Dataset,
    /// CPU or a GPU.
    pub device: Device,
    /// Larger pictures are refused.
    pub limits: Limits,
    /// Set to end the run after the step it is in, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// The processes that train together, each of them with this same job and plan; [`super::ranks::Alone`]: this one.
    pub ranks: &'a dyn Ranks,
}

/// What happens in a run, for those who watch it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step is done.
    Step {
        /// The epoch and the step in it, counted from 1.
        at: (u64, u64),
        /// Epochs, and steps of each.
        of: (u64, u64),
        /// The loss terms, unweighted.
        losses: &'a [(&'static str, f64)],
        /// Their weighted sum.
        total: f64,
    },
    /// Some test items are done.
    Test {
        /// So many,
        done: usize,
        /// of so many.
        of: usize,
    },
    /// An epoch is done.
    Epoch {
        /// Counted from 1.
        epoch: u64,
        /// None where there is nothing to test with.
        evaluation: Option<&'a Evaluation>,
        /// Is it the best so far?
        best: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// False: it was stopped, and its checkpoint waits to be resumed.
    pub finished: bool,
    /// Where it is.
    pub state: State,
}

impl Plan {
    /// A new run in a folder that holds none yet, on the backbone of a weights file.
    ///
    /// # Errors
    /// The folder holds a run, or can't be made.
    pub fn new(settings: Settings, backbone: &Path, out: &Path) -> Result<Self, TrainError> {
        let failed = |action| tensor_file::io_error(action, out);
        fs::create_dir_all(out).map_err(failed("create"))?;
        saved::refuse_run(out, &[BEST, WEIGHTS])?;
        Ok(Self {
            settings,
            out: out.to_owned(),
            start: Start::New(backbone.to_owned()),
            origin: FeatureOrigin::AsBefore,
        })
    }

    /// The run in this folder, from its checkpoint. `epochs`: how many there are to be in all, if not as many as before.
    ///
    /// # Errors
    /// No checkpoint there, or none that can be read; settings that make no sense, or fewer epochs than were begun.
    pub fn resume(out: &Path, epochs: Option<u64>) -> Result<Self, TrainError> {
        let mut checkpoint = Checkpoint::read(&out.join(LAST))?;
        let path = out.join(LAST);
        let name = path.display().to_string();
        let State { settings, epoch, step, .. } = &mut checkpoint.state;
        settings.epochs = epochs.unwrap_or(settings.epochs);
        settings.check(|_| &name)?;
        let begun = *epoch + u64::from(*step > 0);
        if settings.epochs < begun {
            let expected = format!("at least {begun}, as many as were begun in {name}");
            return Err(TrainError::Values { what: "epochs", expected, found: settings.epochs.to_string() });
        }
        Ok(Self {
            settings: settings.clone(),
            out: out.to_owned(),
            start: Start::Resume(Box::new(checkpoint)),
            origin: FeatureOrigin::AsBefore,
        })
    }

    /// The same run with its features from there.
    #[must_use]
    pub fn with_features(self, origin: FeatureOrigin) -> Self {
        Self { origin, ..self }
    }

    /// Of the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Trains to the end, or until `job.stop` is set. With several ranks, rank 0 writes all files and tests; the losses
    /// are those of one process, but for the order of sums in floating point.
    ///
    /// # Errors
    /// Files or pictures that can't be used; a loss that is no number. The checkpoint in the folder is then the last good
    /// one.
    pub fn train(self, job: &Job<'_>, watch: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome, TrainError> {
        let Self { settings, out, start, origin } = self;
        check_device(job.device)?;
        check_data(job.dataset, &settings)?;
        let resumed = matches!(start, Start::Resume(_));
        // Waits for all, before rank 0 writes what the others look for.
        check_ranks(job, (&settings, resumed))?;
        let mut _lock = None;
        if job.ranks.leads() {
            _lock = Some(lock(&out)?);
            tensor_file::remove_unfinished(&out)?;
        }
        if settings.threads > 0 {
            tch::set_num_threads(settings.threads as i32);
        }
        let prepared = match start {
            Start::New(file) => Prepared::new(settings, &file, job)?,
            Start::Resume(checkpoint) => Prepared::resumed(*checkpoint, &out.join(LAST), job)?,
        };
        let Prepared { learner, optimizer, mut state, sizes } = prepared;
        let (mut source, kept) = features((&learner, &sizes), &state, &origin, job)?;
        state.features = kept;
        let variants = kept.map_or(Variants::Endless, |kept| Variants::Fixed(kept.variants));
        let source = &mut *source;
        let mut trainer = Trainer { job, out: &out, learner: &learner, optimizer, state, source, variants, watch };
        let finished = trainer.run()?;
        Ok(Outcome { finished, state: trainer.state })
    }
}

/// A network ready for its next step.
struct Prepared {
    learner: Learner,
    optimizer: Optimizer,
    state: State,
    /// Of the backbone.
    sizes: Sizes,
}

impl Prepared {
    fn new(settings: Settings, file: &Path, job: &Job<'_>) -> Result<Self, TrainError> {
        let backbone = BackboneFile::read(file)?;
        let actions = job.dataset.affordances.clone();
        let sizes = backbone.sizes(actions.len() + learner::noise_heads(&settings));
        let learner = Learner::new(&settings, (&sizes, &actions), job.device, file)?;
        backbone.load_into(&learner.parameters)?;
        let optimizer = optimizer(&learner, &settings);
        let dataset = fingerprint(job.dataset);
        let state = State::new(Origin { settings, dataset, actions, heads: sizes.heads, backbone: backbone.source });
        Ok(Self { learner, optimizer, state, sizes })
    }

    fn resumed(checkpoint: Checkpoint, path: &Path, job: &Job<'_>) -> Result<Self, TrainError> {
        let found = fingerprint(job.dataset);
        if found != checkpoint.state.dataset {
            return Err(TrainError::File {
                path: job.dataset.folder.clone(),
                expected: format!("the pictures that {} was trained on so far", path.display()),
                found: "others".to_owned(),
            });
        }
        Self::of(checkpoint, path, job.device)
    }

    /// As the checkpoint at `path` has it.
    fn of(checkpoint: Checkpoint, path: &Path, device: Device) -> Result<Self, TrainError> {
        let Checkpoint { state, weights, momentum, carried } = checkpoint;
        let sizes = backbone_file::sizes_of_whole(path, &weights, state.heads)?;
        let sizes = Sizes { channels: state.actions.len() + learner::noise_heads(&state.settings), ..sizes };
        // A checkpoint has its clusters with it.
        let mut settings = state.settings.clone();
        if let Some(own) = settings.looptrans.as_mut().filter(|own| own.clusters != K_MEANS) {
            IN_BACKBONE.clone_into(&mut own.clusters);
        }
        // And its text encoder.
        if let Some(clip) = settings.wsma.as_mut().and_then(|own| own.clip.as_mut()) {
            *clip = path.to_string_lossy().into_owned();
        }
        let learner = Learner::new(&settings, (&sizes, &state.actions), device, path)?;
        super::weights::assign(&learner.parameters, &weights, path, "")?;
        learner.restore(carried.as_ref())?;
        let mut optimizer = optimizer(&learner, &settings);
        optimizer.restore(momentum)?;
        Ok(Self { learner, optimizer, state, sizes })
    }
}

fn optimizer(learner: &Learner, settings: &Settings) -> Optimizer {
    match settings.system {
        System::Wsma => Optimizer::with_factors(&learner.parameters, settings.optimizer, super::wsma::factor),
        System::LoopTrans | System::Locate => Optimizer::new(&learner.parameters, settings.optimizer),
    }
}

/// Where the run's features come from, and what of it changes the run.
fn features<'a>(
    (learner, sizes): (&'a Learner, &Sizes),
    state: &State,
    origin: &FeatureOrigin,
    job: &'a Job<'a>,
) -> Result<(Box<dyn FeatureSource + 'a>, Option<Kept>), TrainError> {
    let Job { dataset, device, limits, .. } = *job;
    let augmentation = state.settings.augmentation.of(sizes.input().height);
    let keys = state.settings.system.keys();
    let refuse = |kept: Kept, found: String| TrainError::Values {
        what: "features",
        expected: format!("of a store, as before (variants: {}, {:?})", kept.variants, kept.precision),
        found,
    };
    match (origin, state.features) {
        (FeatureOrigin::AsBefore, Some(kept)) => {
            Err(refuse(kept, "none (name it with --store, or go on live with --no-store)".to_owned()))
        }
        (FeatureOrigin::AsBefore | FeatureOrigin::Live, _) => {
            let backbone = learner.network.backbone();
            let live = Live::new(LiveParts { backbone, dataset, augmentation, limits, device }).with_keys(keys);
            Ok((Box::new(live), None))
        }
        (FeatureOrigin::Store { folder, verify }, before) => {
            let (verify, parameters) = (*verify, &learner.parameters);
            let reading = Reading { folder, verify, parameters, sizes, augmentation, keys, dataset, device };
            let store = Store::open(&reading)?;
            let kept = store.kept();
            if let Some(before) = before.filter(|before| *before != kept) {
                return Err(refuse(before, format!("variants: {}, {:?}", kept.variants, kept.precision)));
            }
            Ok((Box::new(store), Some(kept)))
        }
    }
}
