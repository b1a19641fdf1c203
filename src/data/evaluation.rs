//! Scores of a model on the test pictures of a dataset: overall, by affordance, by object.

use std::{collections::BTreeMap, path::PathBuf};

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::{Dataset, TestItem, truth};
use crate::{
    metrics::{Mean, MetricError, Pointing, PointingMean, Protocol, Scores},
    perceive::{
        FrameError,
        decode::Limits,
        picture::{self, PictureError},
        preprocess::Preprocessor,
    },
};

/// Why a test picture has no score.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The picture or its ground truth can't be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The model has no answer for it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The ground truth marks nothing, or the class map is not finite.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The model was not trained on the action.
    #[error("the model does not know the action {0}")]
    UnknownAction(String),
}

/// A picture without a score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// It.
    pub picture: PathBuf,
    /// Why.
    pub reason: String,
}

/// All scores.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Evaluation {
    /// Of all pictures; None where none could be scored.
    pub overall: Option<Mean>,
    /// How often the hottest spot lies on the part, of all pictures that were scored.
    pub pointing: Option<PointingMean>,
    /// By affordance.
    pub affordances: BTreeMap<String, Mean>,
    /// By object.
    pub objects: BTreeMap<String, Mean>,
    /// What could not be scored.
    pub skipped: Vec<Skipped>,
}

/// What gives class maps.
pub trait ClassMapper {
    /// The actions in class order.
    fn actions(&self) -> &[String];

    /// The class map [h, w] of an action (an index into [`Self::actions`]), for u8 [H, W, 3] RGB at network size.
    ///
    /// # Errors
    /// The model fails.
    fn class_map(&mut self, pixels: &[u8], class: usize) -> Result<ArrayView2<'_, f32>, FrameError>;
}

/// How pictures come to the model.
pub struct Evaluator<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Resizes to the network's input, as the node does.
    pub preprocessor: Preprocessor,
    /// What pictures may be like.
    pub limits: Limits,
}

/// A scored picture.
#[derive(Debug)]
pub struct Scored<'a> {
    /// It.
    pub item: &'a TestItem,
    /// The class map, as the model gave it.
    pub class_map: Array2<f32>,
    /// Its scores.
    pub scores: Scores,
    /// Where its hottest spot lies.
    pub pointing: Pointing,
}

impl Evaluator<'_> {
    /// Scores every test picture by the published protocol. `seen` is called for each that has a score, `next` after each.
    ///
    /// # Errors
    /// What `seen` returns; pictures that can't be scored are [`Evaluation::skipped`].
    pub fn run<E>(
        &mut self,
        model: &mut (impl ClassMapper + ?Sized),
        mut seen: impl FnMut(&Scored<'_>) -> Result<(), E>,
        mut next: impl FnMut(),
    ) -> Result<Evaluation, E> {
        let (mut scored, mut pointed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let dataset = self.dataset;
        for item in &dataset.test {
            let action = &dataset.affordances[item.label];
            match self.score(model, item, action) {
                Ok(found) => {
                    scored.push((item, found.scores));
                    pointed.push(found.pointing);
                    seen(&found)?;
                }
                Err(error) => {
                    skipped.push(Skipped { picture: item.picture.clone(), reason: error.to_string() });
                }
            }
            next();
        }
        let overall = Mean::of(scored.iter().map(|(_, scores)| scores));
        let affordances = by_group(&scored, |item| &dataset.affordances[item.label]);
        let objects = by_group(&scored, |item| &item.object);
        Ok(Evaluation { overall, pointing: PointingMean::of(&pointed), affordances, objects, skipped })
    }

    fn score<'a>(
        &mut self,
        model: &mut (impl ClassMapper + ?Sized),
        item: &'a TestItem,
        action: &str,
    ) -> Result<Scored<'a>, ItemError> {
        let class = model.actions().iter().position(|known| known == action);
        let class = class.ok_or_else(|| ItemError::UnknownAction(action.to_owned()))?;
        let truth = truth::load(&item.truth, &self.limits)?;
        let picture = picture::load_for(&item.picture, &self.limits, &mut self.preprocessor)?;
        let class_map = model.class_map(&picture, class)?.to_owned();
        let scores = Protocol::default().score(class_map.view(), truth.view())?;
        let pointing = Protocol::default().pointing(class_map.view(), truth.view())?;
        Ok(Scored { item, class_map, scores, pointing })
    }
}

/// The means of the items that share a name.
fn by_group<'a>(
    scored: &[(&'a TestItem, Scores)],
    name: impl Fn(&'a TestItem) -> &'a String,
) -> BTreeMap<String, Mean> {
    let mut groups: BTreeMap<&String, Vec<&Scores>> = BTreeMap::new();
    for (item, scores) in scored {
        groups.entry(name(item)).or_default().push(scores);
    }
    let mean = |(name, scores): (&String, Vec<&Scores>)| Some((name.clone(), Mean::of(scores.into_iter())?));
    groups.into_iter().filter_map(mean).collect()
}
