//! DINO: a backbone trained without labels, by self-distillation (Caron et al. 2021, arXiv 2104.14294).
//!
//! ```text
//! picture -> crops -> student (all views)  -> logits --.
//!                 '-> teacher (global two) -> centred, sharpened -> loss -> AdamW -> student
//! teacher <- mean of students so far;  centre <- mean of the teacher's logits so far
//! ```
//!
//! Left out of the published recipe: stochastic depth, which matters in deep networks and long runs.
//!
//! Everything that is drawn follows from the seed, the epoch and the place in it, so that a resumed run is the run that was
//! not interrupted: on a CPU with the same number of threads, bit for bit.

mod colour;
pub mod crops;
pub mod gallery;
pub mod loss;
pub mod neighbours;
pub mod network;
mod run;
pub mod schedule;
mod settings;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use settings::{Architecture, HeadSizes, Settings};

use super::{
    TrainError,
    adamw::AdamW,
    generator,
    run::{
        LAST,
        backbone_file::BackboneFile,
        check_device,
        saved::{self, Saved},
    },
    weights,
};
use crate::perceive::decode::Limits;
use gallery::Gallery;
use loss::Monitors;
use neighbours::Score;
use network::Network;
use run::Run;

/// The teacher's backbone, in the run's folder: for `looptrans train --backbone`.
pub const BACKBONE: &str = "backbone.safetensors";
const KIND: saved::Kind = saved::Kind { key: "looptrans-pretrain-1", command: "looptrans pretrain" };
/// What names in a checkpoint begin with.
const STUDENT: &str = "student.";
const TEACHER: &str = "teacher.";
const CENTRE: &str = "centre";

/// How far a run is, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// All its settings.
    pub settings: Settings,
    /// Steps that are done, of all epochs together.
    pub step: u64,
    /// The neighbours' score before training and after each epoch that is done; None where no classes are known.
    pub scores: Vec<Option<Score>>,
    pictures: String,
}

/// What is to be trained, and where its files go.
#[derive(Debug)]
pub struct Plan {
    out: PathBuf,
    /// Of the folder.
    lock: File,
    settings: Settings,
    start: Start,
}

/// The backbone to go on from, whose shape is taken.
#[derive(Debug, Clone, Copy)]
pub struct Init<'a> {
    /// Its file.
    pub file: &'a Path,
    /// Side of the input in pixels, if another than the file's: its position table is resized.
    pub side: Option<usize>,
}

#[derive(Debug)]
enum Start {
    /// From random values, or from this backbone's.
    New(Option<Box<BackboneFile>>),
    Resume(Box<Saved<State>>),
}

/// Where and how it runs; nothing of it changes the result's meaning.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What to train on.
    pub gallery: &'a Gallery,
    /// CPU or a GPU.
    pub device: Device,
    /// Larger pictures are refused.
    pub limits: Limits,
    /// Set to end the run after the step it is in, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// What happens in a run, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A step is done.
    Step {
        /// Of all epochs together, counted from 1.
        step: u64,
        /// Steps in all.
        of: u64,
        /// Counted from 1.
        epoch: u64,
        /// The student's loss.
        loss: f64,
        /// Signs of collapse.
        monitors: Monitors,
    },
    /// An epoch is done.
    Epoch {
        /// Counted from 1; 0 is before training.
        epoch: u64,
        /// The neighbours' score; None where no classes are known.
        score: Option<Score>,
        /// What looks collapsed.
        collapse: Option<&'static str>,
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
    /// A new run in a folder that holds none yet.
    ///
    /// # Errors
    /// Settings that make no sense; the folder holds a run, or can't be made; `init` can't be used.
    pub fn new(mut settings: Settings, init: Option<Init<'_>>, out: &Path) -> Result<Self, TrainError> {
        let read = |Init { file, side }: Init<'_>| {
            let file = BackboneFile::read(file)?;
            if let Some(side) = side { file.with_side(side) } else { Ok(file) }
        };
        let init = init.map(read).transpose()?;
        if let Some(file) = &init {
            settings.architecture = Architecture::of(&file.sizes(0));
        }
        settings.check()?;
        let lock = saved::new_folder(out, BACKBONE)?;
        Ok(Self { out: out.to_owned(), lock, settings, start: Start::New(init.map(Box::new)) })
    }

    /// The run in this folder, from its checkpoint.
    ///
    /// # Errors
    /// No checkpoint there, or none that can be read.
    pub fn resume(out: &Path) -> Result<Self, TrainError> {
        let (lock, saved): (_, Saved<State>) = saved::old_folder(out, KIND)?;
        saved.state.settings.check()?;
        Ok(Self {
            out: out.to_owned(),
            lock,
            settings: saved.state.settings.clone(),
            start: Start::Resume(Box::new(saved)),
        })
    }

    /// Of the run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Trains to the end, or until `job.stop` is set.
    ///
    /// # Errors
    /// Files or pictures that can't be used; a loss that is no number. The checkpoint in the folder is then the last good
    /// one.
    pub fn train(self, job: &Job<'_>, watch: &mut dyn FnMut(&Event)) -> Result<Outcome, TrainError> {
        let Self { out, lock: _lock, settings, start } = self;
        check_device(job.device)?;
        if settings.threads > 0 {
            tch::set_num_threads(settings.threads as i32);
        }
        let mut models = Models::new(&settings, job.device)?;
        let state = match start {
            Start::New(init) => {
                if let Some(file) = init {
                    file.load_into(&models.student.parameters)?;
                    models.teacher.follow(&models.student, 0.0);
                }
                State { settings, step: 0, scores: Vec::new(), pictures: job.gallery.fingerprint.clone() }
            }
            Start::Resume(saved) => {
                let Saved { state, tensors } = *saved;
                if state.pictures != job.gallery.fingerprint {
                    return Err(TrainError::File {
                        path: out.join(LAST),
                        expected: "the folders of pictures that this run was trained on so far".to_owned(),
                        found: "other pictures".to_owned(),
                    });
                }
                models.restore(tensors, &out.join(LAST))?;
                state
            }
        };
        let mut run = Run::new(job, &out, (models, state), watch);
        let finished = run.train()?;
        Ok(Outcome { finished, state: run.state })
    }
}

/// All that training changes.
#[derive(Debug)]
struct Models {
    student: Network,
    teacher: Network,
    optimizer: AdamW,
    /// Of the teacher's logits, [K].
    centre: Tensor,
}

impl Models {
    fn new(settings: &Settings, device: Device) -> Result<Self, TrainError> {
        let _mine = generator::seeded(settings.seed);
        let Settings { architecture, head, .. } = settings;
        let student = Network::new(architecture, *head, device);
        let teacher = student.teacher(architecture, *head)?;
        // Biases, norms and the like stay undecayed.
        let optimizer = AdamW::new(&student.parameters, |value| value.dim() > 1);
        let centre = Tensor::zeros([head.prototypes], (Kind::Float, device));
        Ok(Self { student, teacher, optimizer, centre })
    }

    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let named = |prefix: &'static str, network: &Network| {
            network.parameters.variables().into_iter().map(move |(name, value)| (format!("{prefix}{name}"), value))
        };
        let mut tensors = self.optimizer.state();
        tensors.extend(named(STUDENT, &self.student).chain(named(TEACHER, &self.teacher)));
        tensors.insert(CENTRE.to_owned(), self.centre.shallow_clone());
        tensors
    }

    fn restore(&mut self, mut tensors: BTreeMap<String, Tensor>, path: &Path) -> Result<(), TrainError> {
        self.optimizer.restore(&mut tensors)?;
        let Some(centre) = tensors.remove(CENTRE) else {
            let (expected, found) = ("the centre".to_owned(), "none".to_owned());
            return Err(TrainError::File { path: path.to_owned(), expected, found });
        };
        super::shape::expect("centre", &centre, &self.centre.size(), "[K]")?;
        self.centre = centre.to_device(self.centre.device());
        for (prefix, network) in [(STUDENT, &self.student), (TEACHER, &self.teacher)] {
            let own =
                |(key, value): (&String, &Tensor)| Some((key.strip_prefix(prefix)?.to_owned(), value.shallow_clone()));
            weights::assign(&network.parameters, &tensors.iter().filter_map(own).collect(), path, "")?;
        }
        Ok(())
    }
}
