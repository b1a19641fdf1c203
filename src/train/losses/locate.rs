//! LOCATE's loss: every term on one training step.

use tch::Tensor;

use super::{Named, classification, concentration::concentration, prototype::prototype};
use crate::train::{
    TrainError,
    locate::Step,
    locate_parts::Prototypes,
    shape::{ANY, expect, expect_labels},
    tensor::channel_of,
};

/// What [`terms`] is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The step's class maps.
    pub step: &'a Step,
    /// Frozen descriptors of the egocentric pictures [b, N, D].
    pub ego_descriptors: &'a Tensor,
    /// What the exocentric views showed of the part. None where the loss on it is not active: in the published
    /// schedule, in the first epoch.
    pub prototypes: Option<&'a Prototypes>,
    /// Class labels [b], int64, below C.
    pub labels: &'a Tensor,
}

/// What each term counts. The default is published.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Of both cross-entropies.
    pub cls: f64,
    /// Of the prototype loss.
    pub proto: f64,
    /// Of the concentration.
    pub con: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { cls: 1.0, proto: 1.0, con: 0.07 }
    }
}

/// The terms, unweighted scalars.
#[derive(Debug)]
pub struct Terms {
    /// Cross-entropy of P.
    pub ego_cls: Tensor,
    /// Mean cross-entropy of G_exo.
    pub exo_cls: Tensor,
    /// L_proto; 0 where it is not active.
    pub proto: Tensor,
    /// L_con, over all channels of P.
    pub con: Tensor,
}

impl Terms {
    /// By name.
    pub fn named(&self) -> Named<'_> {
        let Self { ego_cls, exo_cls, proto, con } = self;
        vec![("ego_cls", ego_cls), ("exo_cls", exo_cls), ("proto", proto), ("con", con)]
    }

    /// The weighted sum.
    pub fn total(&self, weights: &Weights) -> Tensor {
        (&self.ego_cls + &self.exo_cls) * weights.cls + &self.proto * weights.proto + &self.con * weights.con
    }
}

/// Computes every term.
///
/// # Errors
/// Shapes that do not belong together, or a label that is no action.
pub fn terms(inputs: &Inputs<'_>) -> Result<Terms, TrainError> {
    let Inputs { step, ego_descriptors, prototypes, labels } = *inputs;
    expect("ego maps", &step.ego_maps, &[ANY; 4], "[b, C, h, w]")?;
    let sides = step.ego_maps.size();
    let (b, channels, patches) = (sides[0], sides[1], sides[2] * sides[3]);
    expect("ego logits", &step.ego_logits, &[b, channels], "[b, C]")?;
    expect("exo logits", &step.exo_logits, &[b, ANY, channels], "[b, n, C]")?;
    expect("ego descriptors", ego_descriptors, &[b, patches, ANY], "[b, N, D]")?;
    expect_labels(labels, b, channels)?;
    let proto = match prototypes {
        Some(Prototypes { vectors, found, .. }) => {
            expect("prototypes", vectors, &[b, ego_descriptors.size()[2]], "[b, D]")?;
            expect("found prototypes", found, &[b], "[b]")?;
            let map = channel_of(&step.ego_maps, labels).flatten(1, 2);
            prototype(&map, ego_descriptors, vectors, found)
        }
        None => Tensor::zeros([], (step.ego_maps.kind(), step.ego_maps.device())),
    };
    Ok(Terms {
        ego_cls: classification::ego(&step.ego_logits, labels),
        exo_cls: classification::exo(&step.exo_logits, labels),
        proto,
        con: concentration(&step.ego_maps),
    })
}
