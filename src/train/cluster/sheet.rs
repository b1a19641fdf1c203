//! What a run found, for people: figures, and pictures with their parts in colours.

use std::{io::Cursor, path::Path};

use image::{ImageFormat, Rgb, RgbImage};
use serde::Serialize;
use tch::{Kind, Tensor};

use super::descriptors::Drawer;
use crate::{
    data::{
        DataError, Dataset,
        augment::{Augmentation, Augmenter},
        sampling::Draw,
    },
    export::bundle::write_file,
    perceive::{decode::Limits, picture},
    train::{
        TrainError,
        backbone::{Features, Grid},
        concepts::{Assignment, Concepts, hard_parts, modularity, spherical_k_means},
        features::FeatureSource,
    },
};

/// Pictures that the figures are of.
const MEASURED: usize = 128;
/// Pictures on the sheet, each beside its parts.
const SHOWN: usize = 24;
const COLUMNS: usize = 4;
/// How much of a part's colour covers the picture.
const OPACITY: f32 = 0.6;
/// Of the parts, from the first; further ones begin again.
const COLOURS: [[u8; 3]; 8] = [
    [230, 60, 60],
    [60, 160, 240],
    [250, 210, 50],
    [70, 190, 90],
    [170, 90, 220],
    [250, 140, 40],
    [60, 210, 210],
    [240, 130, 190],
];

/// How good the parts of some training pictures are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Pictures measured, spread evenly over those trained on.
    pub pictures: usize,
    /// Mean modularity of the hard parts: 0 is chance, and 1 the most there could be.
    pub modularity: f64,
    /// The same of spherical k-means with as many parts, which needs no training.
    pub modularity_of_k_means: f64,
    /// Mean number of parts that a picture has patches of.
    pub parts_used: f64,
    /// Pictures with 1, 2, ... parts.
    pub pictures_by_parts: Vec<usize>,
}

/// What to measure and to show.
pub(super) struct Subject<'a> {
    pub drawer: &'a Drawer,
    pub concepts: &'a Concepts,
    pub parts: i64,
    pub dataset: &'a Dataset,
    pub augmentation: Augmentation,
    pub limits: Limits,
}

impl Subject<'_> {
    /// Measures, and writes the sheet.
    pub fn report(&self, source: &mut dyn FeatureSource, sheet: &Path) -> Result<Quality, TrainError> {
        let all = self.drawer.pictures.len();
        let count = all.min(MEASURED);
        let draws: Vec<Draw> = (0..count).map(|index| self.drawer.draw((index * all / count, 0))).collect();
        let mut used = Vec::new();
        let (mut own, mut k_means, mut tiles) = (0.0, 0.0, Vec::new());
        for draws in draws.chunks(16) {
            let features = source.train(draws)?;
            let parts =
                tch::no_grad(|| Ok::<_, TrainError>(hard_parts(&self.concepts.similarity(&features.descriptors)?)))?;
            let share = draws.len() as f64 / count as f64;
            own += share * self.modularity(&features, &parts)?;
            let other = spherical_k_means(&features.descriptors, &features.saliency(), self.parts)?;
            k_means += share * self.modularity(&features, &hard_parts(&other))?;
            let counts = parts.sum_dim_intlist(1, false, None::<Kind>).gt(0.0).sum_dim_intlist(-1, false, None::<Kind>);
            let labels = parts.argmax(-1, false);
            for (index, draw) in draws.iter().enumerate() {
                used.push(counts.int64_value(&[index as i64]) as usize);
                if tiles.len() < SHOWN {
                    tiles.push(self.tile(draw, &labels.get(index as i64), features.grid)?);
                }
            }
        }
        write_sheet(sheet, &tiles)?;
        let by_parts = (1..=self.parts as usize).map(|parts| used.iter().filter(|&&count| count == parts).count());
        Ok(Quality {
            pictures: count,
            modularity: own,
            modularity_of_k_means: k_means,
            parts_used: used.iter().sum::<usize>() as f64 / count.max(1) as f64,
            pictures_by_parts: by_parts.collect(),
        })
    }

    fn modularity(&self, features: &Features, parts: &Tensor) -> Result<f64, TrainError> {
        Ok(-modularity(&features.descriptors, parts, Assignment::CosinePlusOne)?.double_value(&[]))
    }

    /// The picture as the backbone saw it, and beside it with the parts [N] in colours.
    fn tile(&self, draw: &Draw, labels: &Tensor, grid: Grid) -> Result<RgbImage, TrainError> {
        let path = self.dataset.train_picture(draw.id);
        let loaded = picture::load(path, &self.limits)?;
        let mut augmenter = Augmenter::new(self.augmentation);
        let cut = augmenter.run(&loaded, draw.cut_seed(self.dataset));
        let cut = cut.map_err(|cause| DataError::Resize { path: path.to_owned(), cause: cause.to_string() })?;
        let side = self.augmentation.crop;
        let cut = RgbImage::from_raw(side, side, cut.to_vec()).unwrap_or_default();
        let part = |x: u32, y: u32| {
            let (row, column) =
                (i64::from(y) * grid.rows / i64::from(side), i64::from(x) * grid.columns / i64::from(side));
            labels.int64_value(&[row * grid.columns + column]) as usize
        };
        Ok(RgbImage::from_fn(2 * side, side, |x, y| {
            let Rgb(pixel) = *cut.get_pixel(x % side, y);
            if x < side {
                return Rgb(pixel);
            }
            let colour = COLOURS[part(x - side, y) % COLOURS.len()];
            let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - OPACITY) + f32::from(b) * OPACITY) as u8;
            Rgb([0, 1, 2].map(|channel| mix(pixel[channel], colour[channel])))
        }))
    }
}

fn write_sheet(path: &Path, tiles: &[RgbImage]) -> Result<(), TrainError> {
    let Some(first) = tiles.first() else { return Ok(()) };
    let (width, height) = first.dimensions();
    let rows = tiles.len().div_ceil(COLUMNS) as u32;
    let mut sheet = RgbImage::from_pixel(width * COLUMNS as u32, height * rows, Rgb([255; 3]));
    for (index, tile) in tiles.iter().enumerate() {
        let (column, row) = ((index % COLUMNS) as i64, (index / COLUMNS) as i64);
        image::imageops::replace(&mut sheet, tile, column * i64::from(width), row * i64::from(height));
    }
    let mut png = Cursor::new(Vec::new());
    sheet.write_to(&mut png, ImageFormat::Png).map_err(|error| TrainError::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(write_file(path, png.get_ref())?)
}
