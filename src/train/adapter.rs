//! `aff_proj`: the residual adapter between the frozen descriptors and the branches, shared by both views.

use tch::{
    Tensor,
    nn::{self, Module},
};

use super::{backbone::Grid, norm::linear, trace::Tracer};

/// F = descriptors + fc2(GELU(fc1(LayerNorm(descriptors)))).
#[derive(Debug)]
pub(super) struct Adapter {
    norm: nn::LayerNorm,
    fc1: nn::Linear,
    fc2: nn::Linear,
}

impl Adapter {
    pub(super) fn new(path: &nn::Path<'_>, dim: i64, hidden: i64) -> Self {
        Self {
            norm: nn::layer_norm(path / "norm", vec![dim], nn::LayerNormConfig::default()),
            fc1: linear(path / "fc1", dim, hidden),
            fc2: linear(path / "fc2", hidden, dim),
        }
    }

    /// Descriptors [B, N, D] -> features [B, D, h, w]
    pub(super) fn forward(&self, descriptors: &Tensor, grid: Grid, tracer: &mut Tracer<'_>) -> Tensor {
        let hidden = self.fc1.forward(&self.norm.forward(descriptors)).gelu("none");
        tracer.record("fc1", &hidden);
        let features = descriptors + self.fc2.forward(&hidden);
        tracer.record("features", &features);
        grid.map_of(&features)
    }
}
