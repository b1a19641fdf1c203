//! Theta_pixel: the pixel-level decoder of the robot's own view (LoopTrans; LOCATE's ego branch).

use tch::{Tensor, nn};

use super::{branch::Branch, norm::Norm, trace::Tracer};

/// Learns from pseudo masks where on the object the action is done. Its class maps are what is evaluated and exported.
#[derive(Debug)]
pub struct ThetaPixel(Branch);

impl ThetaPixel {
    pub(super) fn new(path: &nn::Path<'_>, dim: i64) -> Self {
        Self(Branch::new(path, dim))
    }

    /// [B, D, h, w] -> [B, D, h, w], egocentric features only.
    pub(super) fn forward(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        self.0.forward(features, norm, tracer)
    }
}
