//! `aff_fc`: the classifier that every branch shares, with noise heads.

use tch::{
    Kind, Tensor,
    nn::{self, Module},
};

use super::{norm::uniform, trace::Tracer};

/// A 1x1 convolution to C actions and, after them, M noise heads that take up what no action explains.
#[derive(Debug)]
pub(super) struct Classifier(nn::Conv2D);

impl Classifier {
    /// `channels`: C + M.
    pub(super) fn new(path: nn::Path<'_>, dim: i64, channels: i64) -> Self {
        let config = nn::ConvConfig { ws_init: uniform(dim), bs_init: uniform(dim), ..Default::default() };
        Self(nn::conv2d(path, dim, channels, 1, config))
    }

    /// [B, D, h, w] -> class maps [B, C+M, h, w]
    pub(super) fn maps(&self, features: &Tensor, tracer: &mut Tracer<'_>) -> Tensor {
        let maps = self.0.forward(features);
        tracer.record("maps", &maps);
        maps
    }
}

/// Class scores of class maps: their spatial mean. [..., C+M, h, w] -> [..., C+M]
pub fn logits(maps: &Tensor) -> Tensor {
    maps.mean_dim([-2_i64, -1].as_slice(), false, None::<Kind>)
}
