//! The loop over epochs and steps.

use std::{path::Path, sync::atomic::Ordering};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use tch::Tensor;

use super::{
    BACKBONE, Event, Job, KIND, Models, Settings, State,
    crops::{Crop, crops, cut},
    loss::{Monitors, TEACHER_VIEWS, loss, next_centre, teacher_softmax},
    neighbours::{Score, leave_one_out},
    network::LAST_LAYER,
    schedule::Schedule,
};
use crate::{
    contract::Size,
    data::DataError,
    perceive::{decode::RgbView, picture, preprocess::Preprocessor},
    train::{
        TrainError,
        adamw::clip_each,
        features::{normalised, on_all_cores},
        run::{LAST, METRICS, first_not_finite, saved, step_log::StepLog},
    },
};

const HEADER: &str = "step,epoch,lr,weight_decay,momentum,loss,cls_std,teacher_entropy,entropy_of_mean,neighbours";
/// Pictures that the teacher takes at once when it is scored.
const AT_ONCE: usize = 32;
/// What random numbers are for.
const ORDER: u64 = 0;
const CROPS: u64 = 1;

/// A run in progress.
pub(super) struct Run<'a, 'b> {
    job: &'a Job<'a>,
    out: &'a Path,
    models: Models,
    pub state: State,
    crops: Vec<Crop>,
    /// Steps of an epoch: what does not fill a batch is left for another epoch.
    epoch: u64,
    schedule: Schedule,
    last: Option<Monitors>,
    watch: &'a mut (dyn FnMut(&Event) + 'b),
}

impl<'a, 'b> Run<'a, 'b> {
    pub fn new(
        job: &'a Job<'a>,
        out: &'a Path,
        (models, state): (Models, State),
        watch: &'a mut (dyn FnMut(&Event) + 'b),
    ) -> Self {
        let settings = &state.settings;
        let (side, local) = (settings.architecture.side as u32, settings.local_side as u32);
        let crops = crops(side, local, settings.local_crops);
        let epoch = (job.gallery.pictures.len() / settings.batch).max(1) as u64;
        let schedule = Schedule::new(settings, epoch);
        Self { job, out, models, crops, epoch, schedule, state, last: None, watch }
    }

    /// True: to the end; false: stopped on the way. Both leave a checkpoint.
    pub fn train(&mut self) -> Result<bool, TrainError> {
        let done = (!self.state.scores.is_empty()).then_some(self.state.step);
        let mut log = StepLog::open(&self.out.join(METRICS), HEADER, done)?;
        // At once: a folder that can't be written to is not found out after hours.
        self.save()?;
        if self.state.scores.is_empty() {
            self.score(&mut log)?;
            self.save()?;
        }
        let steps = self.state.settings.epochs * self.epoch;
        while self.state.step < steps {
            if self.job.stop.load(Ordering::Relaxed) {
                return self.save().map(|()| false);
            }
            self.step(&mut log)?;
            let done = self.state.step;
            if done.is_multiple_of(self.epoch) {
                self.score(&mut log)?;
                self.save()?;
            } else if done.is_multiple_of(self.state.settings.save_every) {
                self.save()?;
            }
        }
        self.write_backbone()?;
        Ok(true)
    }

    fn step(&mut self, log: &mut StepLog) -> Result<(), TrainError> {
        let step = self.state.step;
        let moment = self.schedule.at(step);
        let views = self.views(step)?;
        let Models { student, teacher, optimizer, centre } = &mut self.models;
        let count = views.global.size()[0] / TEACHER_VIEWS;
        // [views * B, K] -> [views, B, K]
        let by_view = |logits: &Tensor| logits.reshape([-1, count, logits.size()[1]]);
        let (cls, taught) = tch::no_grad(|| teacher.forward(&views.global))?;
        let taught = by_view(&taught);
        let target = teacher_softmax(&taught, centre, self.state.settings.teacher_temperature);
        let mut logits = vec![student.forward(&views.global)?.1];
        if let Some(local) = &views.local {
            logits.push(student.forward(local)?.1);
        }
        let found = loss(&by_view(&Tensor::cat(&logits, 0)), &target)?;
        let value = found.double_value(&[]);
        let mut gradients = optimizer.gradients(&found);
        let bad = if value.is_finite() {
            optimizer.not_finite(&gradients).map(|name| (format!("the gradient of {name}"), f64::NAN))
        } else {
            Some(("the loss".to_owned(), value))
        };
        let epoch = step / self.epoch + 1;
        if let Some((term, value)) = bad {
            let (step, checkpoint) = (step % self.epoch + 1, self.out.join(LAST));
            return Err(TrainError::NotFinite { term, value, epoch, step, checkpoint });
        }
        clip_each(&mut gradients, self.state.settings.clip);
        if moment.last_layer_frozen {
            let last = optimizer.names().position(|name| name == LAST_LAYER);
            last.and_then(|index| gradients.get_mut(index)).into_iter().for_each(|gradient| *gradient = Tensor::new());
        }
        optimizer.step(&gradients, moment.rates);
        teacher.follow(student, moment.momentum);
        *centre = tch::no_grad(|| next_centre(centre, &taught));
        let monitors = Monitors::new(&cls, &target);
        self.last = Some(monitors);
        self.state.step += 1;
        let (step, rates) = (self.state.step, moment.rates);
        let Monitors { cls_std, entropy, entropy_of_mean } = monitors;
        let (lr, decay, momentum) = (rates.lr, rates.weight_decay, moment.momentum);
        log.line(&format!("{step},{epoch},{lr},{decay},{momentum},{value},{cls_std},{entropy},{entropy_of_mean},"))?;
        let of = self.state.settings.epochs * self.epoch;
        (self.watch)(&Event::Step { step, of, epoch, loss: value, monitors });
        Ok(())
    }

    /// The views of a step's pictures.
    fn views(&self, step: u64) -> Result<Views, TrainError> {
        let (epoch, first) = (step / self.epoch, (step % self.epoch) as usize * self.state.settings.batch);
        let (pictures, seed) = (&self.job.gallery.pictures, self.state.settings.seed);
        let mut order: Vec<usize> = (0..pictures.len()).collect();
        order.shuffle(&mut generator(seed, ORDER, epoch, 0));
        let chosen = &order[first..order.len().min(first + self.state.settings.batch)];
        let (limits, wanted) = (self.job.limits, self.crops.as_slice());
        let work = |_: &mut (), index: usize| {
            let path = &pictures[chosen[index]];
            let picture = picture::load(path, &limits)?;
            let mut generator = generator(seed, CROPS, epoch, (first + index) as u64);
            let cut = |crop: &Crop| cut(&picture, crop, generator.random());
            let cut: Result<Vec<Vec<u8>>, String> = wanted.iter().map(cut).collect();
            cut.map_err(|cause| DataError::Resize { path: path.clone(), cause })
        };
        let cut = on_all_cores(chosen.len(), || (), work)?;
        let settings = &self.state.settings;
        let tensor = |crops: std::ops::Range<usize>, side: usize| {
            let views: Vec<Vec<u8>> = crops.flat_map(|crop| cut.iter().map(move |cut| cut[crop].clone())).collect();
            normalised(&views, side as i64, self.job.device)
        };
        let global = TEACHER_VIEWS as usize;
        let local = self.crops.len() > global;
        Ok(Views {
            global: tensor(0..global, settings.architecture.side),
            local: local.then(|| tensor(global..self.crops.len(), settings.local_side)),
        })
    }

    /// After an epoch, or before the first.
    fn score(&mut self, log: &mut StepLog) -> Result<(), TrainError> {
        let labelled = self.job.gallery.labelled(self.state.settings.scored);
        let score = if labelled.is_empty() { None } else { Some(self.neighbours(&labelled)?) };
        let epoch = self.state.scores.len() as u64;
        if let Some(Score { accuracy, .. }) = score {
            log.line(&format!("{},{epoch},,,,,,,,{accuracy}", self.state.step))?;
        }
        self.state.scores.push(score);
        let Settings { architecture, head, .. } = &self.state.settings;
        let collapse = self.last.and_then(|last| last.collapse(architecture.dim, head.prototypes));
        (self.watch)(&Event::Epoch { epoch, score, collapse });
        Ok(())
    }

    fn neighbours(&self, labelled: &[(usize, i64)]) -> Result<Score, TrainError> {
        let side = self.state.settings.architecture.side as u32;
        let Job { gallery, limits, .. } = *self.job;
        let stretch = |preprocessor: &mut Preprocessor, index: usize| {
            let path = &gallery.pictures[index];
            let picture = picture::load(path, &limits)?;
            let size = Size { height: picture.height(), width: picture.width() };
            let stretched = preprocessor.run(RgbView { size, data: picture.as_raw() }).map(<[u8]>::to_vec);
            stretched.map_err(|cause| DataError::Resize { path: path.clone(), cause: cause.to_string() })
        };
        let mut vectors = Vec::new();
        for part in labelled.chunks(AT_ONCE) {
            let new = || Preprocessor::new(Size { height: side, width: side });
            let pictures = on_all_cores(part.len(), new, |own, index| stretch(own, part[index].0))?;
            let images = normalised(&pictures, i64::from(side), self.job.device);
            vectors.push(tch::no_grad(|| self.models.teacher.class_token(&images))?);
        }
        let classes: Vec<i64> = labelled.iter().map(|(_, class)| *class).collect();
        leave_one_out(&Tensor::cat(&vectors, 0), &classes)
    }

    /// The older checkpoint stays where this state can't be gone on from.
    fn save(&self) -> Result<(), TrainError> {
        let (tensors, checkpoint) = (self.models.tensors(), self.out.join(LAST));
        if let Some((name, value)) = first_not_finite(&tensors) {
            let done = self.state.step.saturating_sub(1);
            let (epoch, step, term) = (done / self.epoch + 1, done % self.epoch + 1, name.to_owned());
            return Err(TrainError::NotFinite { term, value, epoch, step, checkpoint });
        }
        saved::write(&checkpoint, KIND, &tensors, &self.state)
    }

    fn write_backbone(&self) -> Result<(), TrainError> {
        let Settings { architecture, epochs, seed, .. } = &self.state.settings;
        let count = self.job.gallery.pictures.len();
        let source = format!("DINO pretrained on {count} pictures, epochs: {epochs}, seed: {seed}");
        let tensors = self.models.teacher.backbone_tensors();
        saved::write_weights(&self.out.join(BACKBONE), &tensors, source, architecture.heads)
    }
}

/// What is drawn for one purpose at one place of an epoch.
fn generator(seed: u64, purpose: u64, epoch: u64, place: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, purpose, epoch, place]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A step's pictures, normalised, view after view: [views * B, 3, side, side].
struct Views {
    global: Tensor,
    local: Option<Tensor>,
}
