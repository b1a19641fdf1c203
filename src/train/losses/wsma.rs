//! WSMA's loss: every term on one training step.

use tch::{Kind, Tensor};

use super::{Named, classification};
use crate::train::{
    TrainError,
    shape::{ANY, expect, expect_labels},
    tensor::{cross_entropy, unit},
    wsma::Step,
};

/// What each term counts. The default is published.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Of both views' cross-entropies.
    pub cls: f64,
    /// Of the difference between the views' features.
    pub d: f64,
    /// Of the difference between the views' relations.
    pub lrela: f64,
    /// Of the cross-entropy against the texts.
    pub clip: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { cls: 1.0, d: 1.0, lrela: 1.0, clip: 1.0 }
    }
}

/// The terms, unweighted scalars.
#[derive(Debug)]
pub struct Terms {
    /// Cross-entropy of F_ego.
    pub ego_cls: Tensor,
    /// Mean cross-entropy of F_exo.
    pub exo_cls: Tensor,
    /// Half the squared distance between the label's features of both views, each of length 1.
    pub d: Tensor,
    /// Half of one minus the cosine between the views' relations of class maps.
    pub lrela: Tensor,
    /// Cross-entropy of pictures against texts.
    pub clip: Tensor,
}

impl Terms {
    /// By name.
    pub fn named(&self) -> Named<'_> {
        let Self { ego_cls, exo_cls, d, lrela, clip } = self;
        vec![("ego_cls", ego_cls), ("exo_cls", exo_cls), ("d", d), ("lrela", lrela), ("clip", clip)]
    }

    /// The weighted sum.
    pub fn total(&self, weights: &Weights) -> Tensor {
        (&self.ego_cls + &self.exo_cls) * weights.cls
            + &self.d * weights.d
            + &self.lrela * weights.lrela
            + &self.clip * weights.clip
    }
}

/// Computes every term; labels [b], int64, below C.
///
/// # Errors
/// Shapes that do not belong together, or a label that is no action.
pub fn terms(step: &Step, labels: &Tensor) -> Result<Terms, TrainError> {
    let Step { exo_features, ego_features, exo_logits, ego_logits, text_logits, class_weights } = step;
    expect("class weights", class_weights, &[ANY, ANY], "[C, D]")?;
    let (actions, dim) = (class_weights.size()[0], class_weights.size()[1]);
    expect("ego features", ego_features, &[ANY, dim, ANY, ANY], "[b, D, h, w]")?;
    let shape = ego_features.size();
    expect("exo features", exo_features, &shape, "[b, D, h, w]")?;
    expect("ego logits", ego_logits, &[shape[0], actions], "[b, C]")?;
    expect("text logits", text_logits, &[shape[0], actions], "[b, C]")?;
    expect("exo logits", exo_logits, &[shape[0], ANY, actions], "[b, n, C]")?;
    expect_labels(labels, shape[0], actions)?;
    Ok(Terms {
        ego_cls: classification::ego(ego_logits, labels),
        exo_cls: classification::exo(exo_logits, labels),
        d: distance(exo_features, ego_features, &class_weights.index_select(0, labels)),
        lrela: relations(exo_features, ego_features, class_weights),
        clip: cross_entropy(text_logits, labels),
    })
}

/// Mean over samples of half || n(GAP(w F_exo)) - n(GAP(w F_ego)) ||^2, n dividing by the length. Features [b, D, h, w], the
/// label's weights [b, D].
fn distance(exo: &Tensor, ego: &Tensor, own_weights: &Tensor) -> Tensor {
    let pooled = |features: &Tensor| {
        let mean = features.mean_dim([-2_i64, -1].as_slice(), false, None::<Kind>);
        unit(&(mean * own_weights), -1)
    };
    (pooled(exo) - pooled(ego)).square().sum_dim_intlist(-1, false, None::<Kind>).mean(None::<Kind>) * 0.5
}

/// Half of one minus the mean over samples of the cosine between both views' relations: the Gram matrix of class maps
/// m_c = mean over channels of w_c F, each row divided by its length.
fn relations(exo: &Tensor, ego: &Tensor, class_weights: &Tensor) -> Tensor {
    let relation = |features: &Tensor| {
        let dim = class_weights.size()[1] as f64;
        let maps = class_weights.matmul(&features.flatten(2, 3)) / dim;
        unit(&unit(&maps.matmul(&maps.transpose(1, 2)), -1).flatten(1, 2), -1)
    };
    let cosine = (relation(exo) * relation(ego)).sum_dim_intlist(-1, false, None::<Kind>);
    (1.0 - cosine.mean(None::<Kind>)) * 0.5
}
