//! Theta_scam: the shared class activation map (LoopTrans, section on the unified classifier; LOCATE's exo branch).

use tch::{Tensor, nn};

use super::{branch::Branch, norm::Norm, trace::Tracer};

/// Learns from the image's action label what of a picture speaks for the action. One set of weights for exocentric and
/// egocentric features: that is what carries knowledge from one view to the other.
#[derive(Debug)]
pub struct ThetaScam(Branch);

impl ThetaScam {
    pub(super) fn new(path: &nn::Path<'_>, dim: i64) -> Self {
        Self(Branch::new(path, dim))
    }

    /// [B, D, h, w] -> [B, D, h, w]. Called once per view and step: the running statistics mix both views.
    pub(super) fn forward(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        self.0.forward(features, norm, tracer)
    }
}
