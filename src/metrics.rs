//! KLD, SIM and NSS between a heatmap and the ground truth, and the test protocol of LOCATE and LoopTrans around them.
//!
//! All in f64, on maps of any size. [`Protocol`] is what published figures are made with: class map and ground truth
//! resized to 224x224 by [`resize`], the class map min-max normalised, then the three scores; figures are plain means over
//! test items.

mod pointing;
pub mod presence;

use ndarray::{Array2, ArrayView2, Zip};

use crate::perceive::heatmap::axis::Axis;
pub use pointing::{Pointing, PointingMean};

/// Keeps the quotients of KLD and SIM defined.
const EPSILON: f64 = 1e-12;
/// Of the class map's min-max normalisation.
const RANGE_EPSILON: f64 = 1e-10;
/// Share of the ground truth's range above which a pixel is a fixation of NSS.
const FIXATION: f64 = 0.1;
/// Rows and columns that test items are compared at.
const SIDE: usize = 224;

/// Why maps cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A map without pixels, or a size to resize to without any.
    #[error("metrics: {what} has no pixels: {rows}x{columns}")]
    Empty {
        /// Which map.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// The maps differ in size.
    #[error("metrics: prediction of {}x{} pixels, ground truth of {}x{}: resize one first",
        .prediction.0, .prediction.1, .truth.0, .truth.1)]
    Mismatch {
        /// Rows and columns of the prediction.
        prediction: (usize, usize),
        /// Rows and columns of the ground truth.
        truth: (usize, usize),
    },
    /// NaN or infinity.
    #[error("metrics: {what} holds {value} at row {}, column {}", .at.0, .at.1)]
    NotFinite {
        /// Which map.
        what: &'static str,
        /// Row and column.
        at: (usize, usize),
        /// The value there.
        value: f64,
    },
    /// A map of amounts with an amount below zero: normalise it first.
    #[error("metrics: {what} holds {value} at row {}, column {}: expected at least 0", .at.0, .at.1)]
    Negative {
        /// Which map.
        what: &'static str,
        /// Row and column.
        at: (usize, usize),
        /// The value there.
        value: f64,
    },
    /// The ground truth marks nothing, so that no prediction is right or wrong.
    #[error("metrics: the ground truth is zero everywhere")]
    NoTruth,
}

/// How well one heatmap fits its ground truth.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Scores {
    /// Kullback-Leibler divergence from the ground truth, in nats; lower is better. Equal maps give about -1e-8.
    pub kld: f64,
    /// Similarity (histogram intersection) in [0, 1]; higher is better.
    pub sim: f64,
    /// Normalised scanpath saliency, in standard deviations of the heatmap; higher is better. None for a constant
    /// heatmap, which has no deviation to divide by.
    pub nss: Option<f64>,
}

/// Plain means over test items: every picture counts the same, as in published figures.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mean {
    /// Items.
    pub items: usize,
    /// Kullback-Leibler divergence; lower is better.
    pub kld: f64,
    /// Similarity; higher is better.
    pub sim: f64,
    /// Normalised scanpath saliency, over the items that have one; higher is better.
    pub nss: Option<f64>,
}

impl Mean {
    /// None of nothing.
    pub fn of<'a>(scores: impl Iterator<Item = &'a Scores>) -> Option<Self> {
        let (mut items, mut with_nss, mut sums) = (0, 0, [0.0; 3]);
        for Scores { kld, sim, nss } in scores {
            items += 1;
            with_nss += usize::from(nss.is_some());
            for (sum, value) in sums.iter_mut().zip([*kld, *sim, nss.unwrap_or(0.0)]) {
                *sum += value;
            }
        }
        let count = items as f64;
        let nss = (with_nss > 0).then(|| sums[2] / with_nss as f64);
        (items > 0).then(|| Self { items, kld: sums[0] / count, sim: sums[1] / count, nss })
    }
}

/// The test protocol's resizing and normalising, at a size of one's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Rows that maps are compared at.
    pub rows: usize,
    /// Columns that maps are compared at.
    pub columns: usize,
}

impl Default for Protocol {
    /// The published one, 224x224.
    fn default() -> Self {
        Self { rows: SIDE, columns: SIDE }
    }
}

impl Protocol {
    /// Scores a raw class map [h, w] (any finite values) by a ground truth [H, W] (at least 0, any scale).
    ///
    /// # Errors
    /// As [`resize`] and [`score`].
    pub fn score<P, T>(&self, class_map: ArrayView2<'_, P>, truth: ArrayView2<'_, T>) -> Result<Scores, MetricError>
    where
        P: Copy + Into<f64>,
        T: Copy + Into<f64>,
    {
        let size = (self.rows, self.columns);
        let prediction = min_max(&resize_named("prediction", class_map, size)?, RANGE_EPSILON);
        score(prediction.view(), resize_named("ground truth", truth, size)?.view())
    }
}

/// Half-pixel-centre bilinear resizing without antialiasing to (rows, columns): OpenCV's `INTER_LINEAR`, PyTorch's
/// `interpolate(mode="bilinear", align_corners=False)`, and where the robot's heatmaps sample their class maps.
///
/// # Errors
/// No pixels on either side, or a value that is not finite.
pub fn resize<T: Copy + Into<f64>>(map: ArrayView2<'_, T>, size: (usize, usize)) -> Result<Array2<f64>, MetricError> {
    resize_named("map", map, size)
}

fn resize_named<T: Copy + Into<f64>>(
    what: &'static str,
    map: ArrayView2<'_, T>,
    size: (usize, usize),
) -> Result<Array2<f64>, MetricError> {
    let map = map.mapv(Into::into);
    check(what, &map.view(), f64::NEG_INFINITY)?;
    if size.0 == 0 || size.1 == 0 {
        return Err(MetricError::Empty { what: "the size to resize to", rows: size.0, columns: size.1 });
    }
    if map.dim() == size {
        return Ok(map);
    }
    let rows = resize_rows(map.view(), size.0);
    // The columns of a map are the rows of its transpose.
    Ok(resize_rows(rows.t(), size.1).t().as_standard_layout().into_owned())
}

/// [R, C] -> [rows, C]
fn resize_rows(map: ArrayView2<'_, f64>, rows: usize) -> Array2<f64> {
    let axis = Axis::new(map.nrows(), rows);
    let mut out = Array2::zeros((rows, map.ncols()));
    for cell in &axis.cells {
        for row in cell.outputs.clone() {
            let weight = f64::from(axis.weight[row]);
            Zip::from(out.row_mut(row))
                .and(map.row(cell.lower))
                .and(map.row(cell.upper))
                .for_each(|o, a, b| *o = a * (1.0 - weight) + b * weight);
        }
    }
    out
}

/// All three scores of a prediction (at least 0, any scale) of the ground truth's size.
///
/// # Errors
/// No pixels, other sizes, a value below zero or not finite, or a ground truth that is zero everywhere.
pub fn score(prediction: ArrayView2<'_, f64>, truth: ArrayView2<'_, f64>) -> Result<Scores, MetricError> {
    Ok(Scores { kld: kld(prediction, truth)?, sim: sim(prediction, truth)?, nss: nss(prediction, truth)? })
}

/// KLD = sum g ln( g / (p + e) + e ), with g and p the maps divided by their sums.
///
/// # Errors
/// As [`score`].
pub fn kld(prediction: ArrayView2<'_, f64>, truth: ArrayView2<'_, f64>) -> Result<f64, MetricError> {
    let (p, g) = scaled_pair(prediction, truth)?;
    let (p, g) = (distribution(p), distribution(g));
    Ok(Zip::from(&p).and(&g).fold(0.0, |sum, p, g| sum + g * (g / (p + EPSILON) + EPSILON).ln()))
}

/// SIM = sum min(p, g), with g and p the maps divided by their sums.
///
/// # Errors
/// As [`score`].
pub fn sim(prediction: ArrayView2<'_, f64>, truth: ArrayView2<'_, f64>) -> Result<f64, MetricError> {
    let (p, g) = scaled_pair(prediction, truth)?;
    let (p, g) = (distribution(p), distribution(g));
    Ok(Zip::from(&p).and(&g).fold(0.0, |sum, p, g| sum + p.min(*g)))
}

/// NSS: the mean, over the pixels where the ground truth exceeds a tenth of its range, of the prediction standardised by
/// its mean and (population) standard deviation. None for a constant prediction.
///
/// # Errors
/// As [`score`].
pub fn nss(prediction: ArrayView2<'_, f64>, truth: ArrayView2<'_, f64>) -> Result<Option<f64>, MetricError> {
    let (prediction, truth) = scaled_pair(prediction, truth)?;
    let (low, high) = extremes(&prediction);
    if low == high {
        return Ok(None);
    }
    let (mean, deviation) = (prediction.sum() / prediction.len() as f64, prediction.std(0.0));
    let (sum, count) = Zip::from(&prediction).and(&min_max(&truth, EPSILON)).fold((0.0, 0.0), |(sum, count), p, t| {
        let fixation = f64::from(*t > FIXATION);
        (sum + (p - mean) / deviation * fixation, count + fixation + EPSILON)
    });
    Ok(Some(sum / count))
}

/// (x - min) / (max - min + epsilon)
fn min_max(map: &Array2<f64>, epsilon: f64) -> Array2<f64> {
    let (low, high) = extremes(map);
    map.mapv(|value| (value - low) / (high - low + epsilon))
}

fn extremes(map: &Array2<f64>) -> (f64, f64) {
    map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// p / (sum p + e)
fn distribution(map: Array2<f64>) -> Array2<f64> {
    let sum = map.sum() + EPSILON;
    map / sum
}

/// Both maps, checked, with 1 as their largest value: the scores do not depend on scale, sums and squares of unscaled
/// values might be infinite.
fn scaled_pair(
    prediction: ArrayView2<'_, f64>,
    truth: ArrayView2<'_, f64>,
) -> Result<(Array2<f64>, Array2<f64>), MetricError> {
    check("prediction", &prediction, 0.0)?;
    check("ground truth", &truth, 0.0)?;
    if prediction.dim() != truth.dim() {
        return Err(MetricError::Mismatch { prediction: prediction.dim(), truth: truth.dim() });
    }
    if truth.iter().all(|value| *value == 0.0) {
        return Err(MetricError::NoTruth);
    }
    let scaled = |map: ArrayView2<'_, f64>| {
        let map = map.to_owned();
        let (_, high) = extremes(&map);
        if high > 0.0 { map.mapv(|value| value / high) } else { map }
    };
    Ok((scaled(prediction), scaled(truth)))
}

/// Are there pixels, all of them finite and at least `least`?
fn check(what: &'static str, map: &ArrayView2<'_, f64>, least: f64) -> Result<(), MetricError> {
    if map.is_empty() {
        return Err(MetricError::Empty { what, rows: map.nrows(), columns: map.ncols() });
    }
    match map.indexed_iter().find(|(_, value)| !value.is_finite() || **value < least) {
        None => Ok(()),
        Some((at, &value)) if value.is_finite() => Err(MetricError::Negative { what, at, value }),
        Some((at, &value)) => Err(MetricError::NotFinite { what, at, value }),
    }
}
