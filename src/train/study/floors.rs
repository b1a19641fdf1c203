//! What maps score that look at no picture.

use std::convert::Infallible;

use ndarray::Array2;
use serde::Serialize;

use crate::{
    data::{Dataset, truth},
    metrics::{self, Mean, Protocol, Scores},
    perceive::decode::Limits,
    train::features::on_all_cores,
};

/// Standard deviation of the centred Gaussian, of the map's side.
const SIGMA: f64 = 0.2;

/// Scores of maps that are the same for every picture; None where no ground truth can be used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Floors {
    /// The same everywhere.
    pub uniform: Option<Mean>,
    /// A Gaussian on the picture's centre, a fifth of the side wide.
    pub centred_gaussian: Option<Mean>,
}

impl Floors {
    /// On the test items of a dataset, at the size of the test protocol. The maps are distributions already, so nothing of
    /// them is normalised away. A ground truth that can't be used only costs its item, as in a test.
    pub fn of(dataset: &Dataset, limits: &Limits) -> Self {
        let Protocol { rows, columns } = Protocol::default();
        let maps = [Array2::ones((rows, columns)), gaussian(rows, columns)];
        let score = |(): &mut (), at: usize| -> Result<Option<[Scores; 2]>, Infallible> {
            let Ok(truth) = truth::load(&dataset.test[at].truth, limits) else { return Ok(None) };
            let Ok(truth) = metrics::resize(truth.view(), (rows, columns)) else { return Ok(None) };
            let [uniform, centred] = &maps;
            let scores = |map: &Array2<f64>| metrics::score(map.view(), truth.view()).ok();
            Ok(scores(uniform).zip(scores(centred)).map(|(uniform, centred)| [uniform, centred]))
        };
        let Ok(scored) = on_all_cores(dataset.test.len(), || (), score);
        let mean = |of: usize| Mean::of(scored.iter().flatten().map(|scores| &scores[of]));
        Self { uniform: mean(0), centred_gaussian: mean(1) }
    }
}

/// exp(-(x^2 + y^2) / (2 sigma^2)) around the centre, x and y in sides.
fn gaussian(rows: usize, columns: usize) -> Array2<f64> {
    let from_centre = |place: usize, count: usize| (place as f64 + 0.5) / count as f64 - 0.5;
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let (y, x) = (from_centre(row, rows), from_centre(column, columns));
        (-(x * x + y * y) / (2.0 * SIGMA * SIGMA)).exp()
    })
}
