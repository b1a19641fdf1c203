//! Test scores of a network: the published protocol on every test item.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;
use tch::{Kind, Tensor};

use super::learner::Network;
use crate::{
    data::{Dataset, truth},
    metrics::{Mean, MetricError, Protocol, Scores},
    perceive::decode::Limits,
    train::{
        TrainError,
        features::{FeatureSource, on_all_cores},
    },
};

/// Test items that go through the network at once.
const AT_ONCE: usize = 16;

/// How a test went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Scores by test item (index into [`Dataset::test`]).
    pub items: Vec<(usize, Scores)>,
    /// Items that can't be scored, and why.
    pub skipped: Vec<(usize, String)>,
}

impl Evaluation {
    /// Over all items.
    pub fn mean(&self) -> Option<Mean> {
        Mean::of(self.items.iter().map(|(_, scores)| scores))
    }

    /// Over the items of each action, in class order.
    pub fn by_action(&self, dataset: &Dataset) -> Vec<Option<Mean>> {
        let of = |label| {
            let own = self.items.iter().filter(move |(item, _)| dataset.test[*item].label == label);
            Mean::of(own.map(|(_, scores)| scores))
        };
        (0..dataset.affordances.len()).map(of).collect()
    }
}

/// What [`evaluate`] works with.
pub struct Test<'a> {
    /// The network.
    pub network: &'a Network,
    /// Features of its pictures.
    pub source: &'a mut dyn FeatureSource,
    /// The items.
    pub dataset: &'a Dataset,
    /// Larger ground truth pictures are refused.
    pub limits: Limits,
}

/// Scores every test item; None if `stop` was set on the way. `progress` is called with the items done.
///
/// # Errors
/// A test picture that can't be read; a map with a number that is not finite. A ground truth that can't be used only costs its item.
pub fn evaluate(
    test: &mut Test<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Option<Evaluation>, TrainError> {
    let mut evaluation = Evaluation { items: Vec::new(), skipped: Vec::new() };
    let all: Vec<usize> = (0..test.dataset.test.len()).collect();
    let texts = test.network.texts();
    for items in all.chunks(AT_ONCE) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let maps = heat(test, texts.as_ref(), items)?;
        let (dataset, limits) = (test.dataset, test.limits);
        let score = |(): &mut (), index: usize| -> Result<Result<Scores, String>, TrainError> {
            let truth = match truth::load(&dataset.test[items[index]].truth, &limits) {
                Ok(truth) => truth,
                Err(error) => return Ok(Err(error.to_string())),
            };
            match Protocol::default().score(maps[index].view(), truth.view()) {
                // The network's fault, not the item's.
                Err(error @ MetricError::NotFinite { what: "prediction", .. }) => Err(TrainError::Values {
                    what: "the network's map of a test picture",
                    expected: "finite numbers".to_owned(),
                    found: format!("{error}, on {}", dataset.test[items[index]].picture.display()),
                }),
                scores => Ok(scores.map_err(|error| error.to_string())),
            }
        };
        for (&item, result) in items.iter().zip(on_all_cores(items.len(), || (), score)?) {
            match result {
                Ok(scores) => evaluation.items.push((item, scores)),
                Err(reason) => evaluation.skipped.push((item, reason)),
            }
        }
        progress(items[0] + items.len());
    }
    Ok(Some(evaluation))
}

/// The maps [h, w] of test items that are scored, each of its own label. `texts`: see [`Network::texts`].
pub(super) fn heat(
    test: &mut Test<'_>,
    texts: Option<&Tensor>,
    items: &[usize],
) -> Result<Vec<Array2<f32>>, TrainError> {
    let features = test.source.test(items)?;
    let labels: Vec<i64> = items.iter().map(|&item| test.dataset.test[item].label as i64).collect();
    let labels = Tensor::from_slice(&labels).to_device(features.descriptors.device());
    let own = test.network.heat(&features, &labels, texts)?.to_kind(Kind::Float);
    let sides = own.size();
    let (h, w) = (sides[1] as usize, sides[2] as usize);
    let failed = |found: String| TrainError::Values { what: "class maps", expected: "[b, h, w]".to_owned(), found };
    let values = Vec::<f32>::try_from(own.flatten(0, -1)).map_err(|error| failed(error.to_string()))?;
    let map =
        |values: &[f32]| Array2::from_shape_vec((h, w), values.to_vec()).map_err(|error| failed(error.to_string()));
    values.chunks_exact(h * w).map(map).collect()
}
