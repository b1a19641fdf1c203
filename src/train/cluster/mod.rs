//! Training the concept generator (ACSeg, CVPR 2023, arXiv 2210.05944) on the frozen backbone's descriptors of a
//! dataset's training pictures, by the modularity of the parts it finds.
//!
//! Everything that is drawn follows from the seed and the step, so that a resumed run is the run that was not interrupted:
//! on a CPU with the same number of threads, bit for bit.

mod descriptors;
mod settings;
mod sheet;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn::VarStore};

pub use settings::Settings;
pub use sheet::Quality;

use super::{
    TrainError,
    adamw::{AdamW, Rates, clip_together},
    backbone::Backbone,
    concepts::{ConceptSizes, Concepts, modularity},
    features::{FeatureSource, Live, LiveParts},
    generator,
    run::{
        Job, LAST, METRICS,
        backbone_file::{BackboneFile, PREFIX, sizes_of_whole},
        check_device, fingerprint, first_not_finite,
        saved::{self, Saved},
        step_log::StepLog,
    },
    weights,
};
use crate::{
    data::{
        DataError,
        augment::{Augmentation, ResizeRule},
    },
    export::layout::{self, Sizes},
};
use descriptors::{Drawer, Kept};
use sheet::Subject;

/// The trained concepts, in the run's folder: for `looptrans train --clusters`.
pub const CLUSTERS: &str = "clusters.safetensors";
/// Pictures with their parts in colours.
pub const SHEET: &str = "parts.png";
const KIND: saved::Kind = saved::Kind { key: "looptrans-cluster-2", command: "looptrans cluster" };
/// Published: 224 pixels are cut out of 256.
const ENLARGED: f64 = 256.0 / 224.0;

/// How far a run is, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// All its settings.
    pub settings: Settings,
    /// Steps that are done.
    pub step: u64,
    dataset: String,
    heads: usize,
    backbone: String,
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

#[derive(Debug)]
enum Start {
    /// On the backbone of this file.
    New(PathBuf),
    Resume(Box<Saved<State>>),
}

/// What happens in a run, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// Before anything is computed: the descriptors will take so many bytes of memory.
    Memory(u64),
    /// Some pictures' descriptors are there.
    Descriptors {
        /// So many,
        done: usize,
        /// of so many.
        of: usize,
    },
    /// A step is done.
    Step {
        /// Counted from 1.
        step: u64,
        /// Steps in all.
        of: u64,
        /// Modularity of the soft parts: the loss, its sign turned.
        modularity: f64,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where it is.
    pub state: State,
    /// Of the trained concepts; None: it was stopped, and its checkpoint waits to be resumed.
    pub quality: Option<Quality>,
}

impl Plan {
    /// A new run in a folder that holds none yet, on the backbone of a weights file.
    ///
    /// # Errors
    /// Settings that make no sense; the folder holds a run, or can't be made.
    pub fn new(settings: Settings, backbone: &Path, out: &Path) -> Result<Self, TrainError> {
        settings.check()?;
        let lock = saved::new_folder(out, CLUSTERS)?;
        Ok(Self { out: out.to_owned(), lock, settings, start: Start::New(backbone.to_owned()) })
    }

    /// The run in this folder, from its checkpoint. `steps`: how many there are to be in all, if not as many as before.
    ///
    /// # Errors
    /// No checkpoint there, or none that can be read.
    pub fn resume(out: &Path, steps: Option<u64>) -> Result<Self, TrainError> {
        let (lock, mut saved): (_, Saved<State>) = saved::old_folder(out, KIND)?;
        let settings = &mut saved.state.settings;
        settings.steps = steps.unwrap_or(settings.steps);
        settings.check()?;
        Ok(Self { out: out.to_owned(), lock, settings: settings.clone(), start: Start::Resume(Box::new(saved)) })
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
        let drawer = Drawer::new(job.dataset, &settings);
        if drawer.pictures.is_empty() {
            let folder = job.dataset.folder.clone();
            return Err(DataError::Nothing { folder, what: "pictures to train on" }.into());
        }
        let Prepared { model, optimizer, state, sizes } = match start {
            Start::New(file) => Prepared::new(settings, &file, job)?,
            Start::Resume(saved) => Prepared::resumed(*saved, &out.join(LAST), job)?,
        };
        let side = sizes.input().height;
        let resized = (f64::from(side) * ENLARGED).round() as u32;
        let augmentation = Augmentation { resize: ResizeRule::Square, resized, crop: side };
        let (dataset, limits, device, backbone) = (job.dataset, job.limits, job.device, &model.backbone);
        let mut live = Live::new(LiveParts { backbone, dataset, augmentation, limits, device });
        let mut run = Run { job, out: &out, model: &model, optimizer, state, drawer: &drawer, watch };
        let finished = run.train(&mut live, &sizes)?;
        let (concepts, parts) = (&model.concepts, run.state.settings.parts);
        let subject = Subject { drawer: &drawer, concepts, parts, dataset, augmentation, limits };
        let quality = if finished {
            let quality = subject.report(&mut live, &out.join(SHEET))?;
            run.write_clusters(&quality)?;
            Some(quality)
        } else {
            None
        };
        Ok(Outcome { state: run.state, quality })
    }
}

/// The frozen backbone and the concepts on it, in one set of parameters.
#[derive(Debug)]
struct Model {
    parameters: VarStore,
    backbone: Backbone,
    concepts: Concepts,
}

impl Model {
    fn new(settings: &Settings, sizes: &Sizes, job: &Job<'_>) -> Result<Self, TrainError> {
        let _mine = generator::seeded(settings.seed);
        let parameters = VarStore::new(job.device);
        let root = parameters.root();
        let backbone = Backbone::new(&(&root / PREFIX.trim_end_matches('.')), sizes);
        let (dim, hidden) = (sizes.dim as i64, 4 * sizes.dim as i64);
        let wanted =
            ConceptSizes { dim, parts: settings.parts, layers: settings.layers, hidden, ..ConceptSizes::PUBLISHED };
        let concepts = Concepts::new(&(&root / "cluster"), wanted)?;
        for (name, mut parameter) in parameters.variables() {
            if name.starts_with(PREFIX) {
                let _ = parameter.requires_grad_(false);
            }
        }
        Ok(Self { parameters, backbone, concepts })
    }

    fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.parameters.variables().into_iter().collect()
    }
}

/// A model ready for its next step.
struct Prepared {
    model: Model,
    optimizer: AdamW,
    state: State,
    sizes: Sizes,
}

impl Prepared {
    fn new(settings: Settings, file: &Path, job: &Job<'_>) -> Result<Self, TrainError> {
        let file = BackboneFile::read(file)?;
        let sizes = file.sizes(0);
        let model = Model::new(&settings, &sizes, job)?;
        file.load_into(&model.parameters)?;
        let optimizer = AdamW::new(&model.parameters, |_| true);
        let (dataset, heads) = (fingerprint(job.dataset), sizes.heads);
        let state = State { settings, step: 0, dataset, heads, backbone: file.source };
        Ok(Self { model, optimizer, state, sizes })
    }

    fn resumed(saved: Saved<State>, path: &Path, job: &Job<'_>) -> Result<Self, TrainError> {
        let Saved { state, mut tensors } = saved;
        if fingerprint(job.dataset) != state.dataset {
            return Err(TrainError::File {
                path: job.dataset.folder.clone(),
                expected: format!("the pictures that {} was trained on so far", path.display()),
                found: "others".to_owned(),
            });
        }
        let sizes = sizes_of_whole(path, &tensors, state.heads)?;
        let model = Model::new(&state.settings, &sizes, job)?;
        let mut optimizer = AdamW::new(&model.parameters, |_| true);
        optimizer.restore(&mut tensors)?;
        weights::assign(&model.parameters, &tensors, path, "")?;
        Ok(Self { model, optimizer, state, sizes })
    }
}

/// A run in progress.
struct Run<'a, 'b> {
    job: &'a Job<'a>,
    out: &'a Path,
    model: &'a Model,
    optimizer: AdamW,
    state: State,
    drawer: &'a Drawer,
    watch: &'a mut (dyn FnMut(&Event) + 'b),
}

impl Run<'_, '_> {
    /// True: to the end; false: stopped on the way. Both leave a checkpoint.
    fn train(&mut self, source: &mut dyn FeatureSource, sizes: &Sizes) -> Result<bool, TrainError> {
        let mut log =
            StepLog::open(&self.out.join(METRICS), "step,lr,modularity,gradient_norm", Some(self.state.step))?;
        // At once: a folder that can't be written to is not found out after hours.
        self.save()?;
        let mut kept = None;
        if self.state.settings.variants > 0 && self.state.step < self.state.settings.steps {
            (self.watch)(&Event::Memory(Kept::bytes(self.drawer, sizes.patches(), sizes.dim)));
            kept = Kept::new(self.drawer, source, self.job.stop, self.watch)?;
            if kept.is_none() {
                return Ok(false);
            }
        }
        while self.state.step < self.state.settings.steps {
            if self.job.stop.load(Ordering::Relaxed) {
                return self.save().map(|()| false);
            }
            let draws = self.drawer.step(self.state.step, self.state.settings.batch);
            let descriptors = match &kept {
                Some(kept) => kept.batch(&draws, self.job.device),
                None => {
                    let draws: Vec<_> = draws.iter().map(|&draw| self.drawer.draw(draw)).collect();
                    source.train(&draws)?.descriptors
                }
            };
            self.step(&descriptors, &mut log)?;
            if self.state.step.is_multiple_of(self.state.settings.save_every) {
                self.save()?;
            }
        }
        self.save()?;
        Ok(true)
    }

    fn step(&mut self, descriptors: &Tensor, log: &mut StepLog) -> Result<(), TrainError> {
        let Settings { steps: of, lr, weight_decay, clip, assignment, .. } = self.state.settings;
        let similarity = self.model.concepts.similarity(descriptors)?;
        let loss = modularity(descriptors, &similarity, assignment)?;
        let found = -loss.double_value(&[]);
        let mut gradients = self.optimizer.gradients(&loss);
        if !found.is_finite() {
            return Err(self.not_finite("the modularity".to_owned(), found, self.state.step));
        }
        if let Some(name) = self.optimizer.not_finite(&gradients) {
            return Err(self.not_finite(format!("the gradient of {name}"), f64::NAN, self.state.step));
        }
        let norm = clip_together(&mut gradients, clip);
        self.optimizer.step(&gradients, Rates { lr, weight_decay });
        self.state.step += 1;
        let step = self.state.step;
        log.line(&format!("{step},{lr},{found},{norm}"))?;
        (self.watch)(&Event::Step { step, of, modularity: found });
        Ok(())
    }

    /// `done`: the steps before that one.
    fn not_finite(&self, term: String, value: f64, done: u64) -> TrainError {
        let place = done * self.state.settings.batch as u64;
        let (epoch, step) = (1 + place / self.drawer.pictures.len() as u64, done + 1);
        TrainError::NotFinite { term, value, epoch, step, checkpoint: self.out.join(LAST) }
    }

    fn save(&self) -> Result<(), TrainError> {
        let mut tensors = self.model.tensors();
        tensors.extend(self.optimizer.state());
        // The older checkpoint stays where this state can't be gone on from.
        if let Some((name, value)) = first_not_finite(&tensors) {
            return Err(self.not_finite(name.to_owned(), value, self.state.step.saturating_sub(1)));
        }
        saved::write(&self.out.join(LAST), KIND, &tensors, &self.state)
    }

    fn write_clusters(&self, quality: &Quality) -> Result<(), TrainError> {
        let mut tensors = self.model.tensors();
        tensors.retain(|key, _| layout::is_cluster(key));
        let Settings { split, seed, steps, .. } = &self.state.settings;
        let (on, backbone) = (split.as_deref().unwrap_or("a dataset"), &self.state.backbone);
        let found = quality.modularity;
        let source = format!(
            "concept clusters trained on {on}, steps: {steps}, seed: {seed}, modularity: {found:.4}; backbone: {backbone}"
        );
        saved::write_weights(&self.out.join(CLUSTERS), &tensors, source, self.state.heads)
    }
}
