//! The descriptors that concepts are trained on: kept in memory, or computed for every draw.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use tch::{Device, Tensor};

use super::{Event, Settings};
use crate::{
    data::{
        Dataset,
        sampling::{Draw, PictureId, View},
    },
    train::{TrainError, features::FeatureSource},
};

/// Pictures between two looks at whether to stop.
const AT_ONCE: usize = 16;

/// Which pictures are drawn in which order: all of them once, then all again in another order.
#[derive(Debug)]
pub(super) struct Drawer {
    pub pictures: Vec<PictureId>,
    seed: u64,
    variants: u32,
}

impl Drawer {
    pub fn new(dataset: &Dataset, settings: &Settings) -> Self {
        let mut pictures = Vec::new();
        for (folder, found) in dataset.train.iter().enumerate() {
            let of = |view, count| (0..count).map(move |picture| PictureId { folder, view, picture });
            pictures.extend(of(View::Ego, found.ego.len()));
            if settings.exo {
                pictures.extend(of(View::Exo, found.exo.len()));
            }
        }
        Self { pictures, seed: settings.seed, variants: settings.variants }
    }

    /// A step's pictures, as indices, and the seeds of their augmentations.
    pub fn step(&self, step: u64, batch: usize) -> Vec<(usize, u64)> {
        let count = self.pictures.len() as u64;
        let (mut order, mut pass) = (Vec::new(), None);
        let draw = |place: u64| {
            if pass != Some(place / count) {
                pass = Some(place / count);
                order = (0..self.pictures.len()).collect();
                order.shuffle(&mut self.generator(0, place / count));
            }
            let mut generator = self.generator(1, place);
            let seed = if self.variants == 0 {
                generator.random()
            } else {
                u64::from(generator.random_range(0..self.variants))
            };
            (order[(place % count) as usize], seed)
        };
        let first = step * batch as u64;
        (first..first + batch as u64).map(draw).collect()
    }

    pub fn draw(&self, (picture, seed): (usize, u64)) -> Draw {
        Draw { id: self.pictures[picture], seed }
    }

    fn generator(&self, purpose: u64, place: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (part, number) in key.chunks_exact_mut(8).zip([self.seed, purpose, place]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// Descriptors of every picture's every variant, f32 [N, D] each, on the CPU.
#[derive(Debug)]
pub(super) struct Kept {
    variants: usize,
    values: Vec<Tensor>,
}

impl Kept {
    /// Bytes that so many descriptors take.
    pub fn bytes(drawer: &Drawer, patches: usize, dim: usize) -> u64 {
        [drawer.pictures.len(), drawer.variants as usize, patches, dim, size_of::<f32>()]
            .into_iter()
            .fold(1, |product, side| product.saturating_mul(side as u64))
    }

    /// Runs the backbone on all of them; None if stopped before the last.
    pub fn new(
        drawer: &Drawer,
        source: &mut dyn FeatureSource,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(&Event),
    ) -> Result<Option<Self>, TrainError> {
        let variants = drawer.variants as usize;
        let of = drawer.pictures.len() * variants;
        let all: Vec<_> = (0..of).map(|index| drawer.draw((index / variants, (index % variants) as u64))).collect();
        let mut values = Vec::with_capacity(of);
        for draws in all.chunks(AT_ONCE) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let descriptors = source.train(draws)?.descriptors.to_device(Device::Cpu);
            values.extend((0..draws.len()).map(|index| descriptors.get(index as i64).copy()));
            watch(&Event::Descriptors { done: values.len(), of });
        }
        Ok(Some(Self { variants, values }))
    }

    /// [B, N, D] of these draws.
    pub fn batch(&self, draws: &[(usize, u64)], device: Device) -> Tensor {
        let of = |&(picture, seed): &(usize, u64)| &self.values[picture * self.variants + seed as usize];
        Tensor::stack(&draws.iter().map(of).collect::<Vec<_>>(), 0).to_device(device)
    }
}
