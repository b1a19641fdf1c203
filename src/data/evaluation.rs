//! Scores of a model on the test pictures of a dataset: overall, by affordance, by object.

use std::{collections::BTreeMap, path::PathBuf};

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::{Dataset, TestItem, truth};
use crate::{
    metrics::{MetricError, Protocol, Scores},
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

/// Plain means over test pictures (every picture counts the same, as in published figures).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Means {
    /// Pictures scored.
    pub n: usize,
    /// Kullback-Leibler divergence; lower is better.
    pub kld: f64,
    /// Similarity; higher is better.
    pub sim: f64,
    /// Normalised scanpath saliency; higher is better. Over the pictures that have one; 0 where none has.
    pub nss: f64,
    /// Pictures without NSS, because their heatmap is the same everywhere.
    pub without_nss: usize,
}

/// All scores.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Evaluation {
    /// Of all pictures.
    pub overall: Means,
    /// By affordance.
    pub affordances: BTreeMap<String, Means>,
    /// By object.
    pub objects: BTreeMap<String, Means>,
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
}

impl Evaluator<'_> {
    /// Scores every test picture by the published protocol. `seen` is called for each that has a score, `next` after each.
    ///
    /// # Errors
    /// What `seen` returns; pictures that can't be scored are [`Evaluation::skipped`].
    pub fn run<E>(
        &mut self,
        model: &mut impl ClassMapper,
        mut seen: impl FnMut(&Scored<'_>) -> Result<(), E>,
        mut next: impl FnMut(),
    ) -> Result<Evaluation, E> {
        let mut evaluation = Evaluation::default();
        let dataset = self.dataset;
        for item in &dataset.test {
            let action = &dataset.affordances[item.label];
            match self.score(model, item, action) {
                Ok((class_map, scores)) => {
                    evaluation.add(action, &item.object, &scores);
                    seen(&Scored { item, class_map, scores })?;
                }
                Err(error) => {
                    evaluation.skipped.push(Skipped { picture: item.picture.clone(), reason: error.to_string() });
                }
            }
            next();
        }
        evaluation.finish();
        Ok(evaluation)
    }

    fn score(
        &mut self,
        model: &mut impl ClassMapper,
        item: &TestItem,
        action: &str,
    ) -> Result<(Array2<f32>, Scores), ItemError> {
        let class = model.actions().iter().position(|known| known == action);
        let class = class.ok_or_else(|| ItemError::UnknownAction(action.to_owned()))?;
        let truth = truth::load(&item.truth, &self.limits)?;
        let picture = picture::load_for(&item.picture, &self.limits, &mut self.preprocessor)?;
        let class_map = model.class_map(&picture, class)?.to_owned();
        let scores = Protocol::default().score(class_map.view(), truth.view())?;
        Ok((class_map, scores))
    }
}

impl Evaluation {
    fn add(&mut self, action: &str, object: &str, scores: &Scores) {
        self.overall.add(scores);
        self.affordances.entry(action.to_owned()).or_default().add(scores);
        self.objects.entry(object.to_owned()).or_default().add(scores);
    }

    fn finish(&mut self) {
        let groups = self.affordances.values_mut().chain(self.objects.values_mut());
        groups.chain([&mut self.overall]).for_each(Means::finish);
    }
}

impl Means {
    /// Sums up, until [`Self::finish`].
    fn add(&mut self, scores: &Scores) {
        self.n += 1;
        self.kld += scores.kld;
        self.sim += scores.sim;
        match scores.nss {
            Some(nss) => self.nss += nss,
            None => self.without_nss += 1,
        }
    }

    fn finish(&mut self) {
        let count = |n: usize| n.max(1) as f64;
        self.kld /= count(self.n);
        self.sim /= count(self.n);
        self.nss /= count(self.n - self.without_nss);
    }
}
