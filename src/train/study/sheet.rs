//! A contact sheet of a test set: rows of test pictures, what some arms make of them, and the ground truth.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use ndarray::{Array2, ArrayView2};

use super::{SHOWN, saved::Shown};
use crate::{
    data::{DataError, Dataset, TestItem, truth},
    perceive::{FrameError, decode::Limits, picture},
    synth,
    train::{TrainError, run::pictures},
};

const GAP: u32 = 4;
/// Of a column's title.
const STRIP: u32 = 18;
const PAPER: [u8; 3] = [248, 248, 248];

/// The test items that a sheet shows: spread evenly over all, whatever their scores are.
pub(super) fn items(dataset: &Dataset) -> Vec<usize> {
    let (count, shown) = (dataset.test.len(), SHOWN.min(dataset.test.len()));
    // The middle of each of as many equal parts.
    (0..shown).map(|index| (2 * index + 1) * count / (2 * shown)).collect()
}

/// A PNG. Columns: the picture, each of `arms` (title and maps of [`items`]), the truth; heat from each map's own least to its
/// greatest.
pub(super) fn png(dataset: &Dataset, arms: &[(String, Vec<Shown>)], limits: &Limits) -> Result<Vec<u8>, TrainError> {
    let items = items(dataset);
    let side = pictures::SIDE;
    let columns = arms.len() as u32 + 2;
    let (width, height) = (columns * (side + GAP) + GAP, STRIP + items.len() as u32 * (side + GAP) + GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(PAPER));
    let titles = ["picture"].into_iter().chain(arms.iter().map(|(title, _)| title.as_str())).chain(["ground truth"]);
    for (column, title) in (0..).zip(titles) {
        synth::letters(&mut sheet, (GAP + column * (side + GAP), 0), title);
    }
    for (row, &item) in items.iter().enumerate() {
        let TestItem { picture: path, truth, .. } = &dataset.test[item];
        let failed = |cause: FrameError| DataError::Resize { path: path.clone(), cause: cause.to_string() };
        let small = pictures::small(&picture::load(path, limits)?).map_err(failed)?;
        let heated = |map: ArrayView2<'_, f64>| pictures::laid_over(&small, map).map_err(failed);
        let mut cells = vec![small.clone()];
        for (_, maps) in arms {
            let map = maps.iter().find(|shown| shown.item == item).and_then(Shown::map);
            cells.push(map.map_or_else(|| Ok(small.clone()), |map| heated(map.view()))?);
        }
        // One that can't be read has no score either; the row then shows the picture alone.
        let truth = truth::load(truth, limits).map_or_else(|_| Ok(small.clone()), |truth| heated(truth.view()))?;
        cells.push(truth);
        for (column, cell) in (0..).zip(&cells) {
            let (x, y) = (GAP + column * (side + GAP), STRIP + row as u32 * (side + GAP));
            imageops::replace(&mut sheet, cell, i64::from(x), i64::from(y));
        }
    }
    let mut png = Cursor::new(Vec::new());
    sheet.write_to(&mut png, ImageFormat::Png).map_err(|error| TrainError::Values {
        what: "sheet",
        expected: "pixels that can be written as PNG".to_owned(),
        found: error.to_string(),
    })?;
    Ok(png.into_inner())
}

impl Shown {
    fn map(&self) -> Option<Array2<f64>> {
        let values = self.values.iter().map(|&value| f64::from(value)).collect();
        Array2::from_shape_vec((self.rows, self.columns), values).ok()
    }
}
