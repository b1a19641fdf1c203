//! Attention pooling of a feature map into the space that text and picture share (CLIP's, with weights of its own).

use tch::{
    Kind, Tensor,
    nn::{self, Init, Module},
};

use super::super::norm::linear;

/// Heads are narrow: 6 channels each at 384.
pub(super) const HEADS: i64 = 64;

/// Parameters: `positional_embedding`, `q_proj`, `k_proj`, `v_proj`, `c_proj`.
#[derive(Debug)]
pub(super) struct Pool {
    positional_embedding: Tensor,
    query: nn::Linear,
    key: nn::Linear,
    value: nn::Linear,
    out: nn::Linear,
}

/// What pooling gives.
pub(super) struct Pooled {
    /// The picture's feature [b, shared].
    pub picture: Tensor,
    /// Each patch's feature [b, N, shared].
    pub patches: Tensor,
    /// Which patches attend to which, mean of all heads, the pooled token left out [b, N, N].
    pub attention: Tensor,
}

impl Pool {
    /// Pools maps of `dim` channels into a space of width `shared`.
    pub(super) fn new(path: &nn::Path<'_>, (dim, shared): (i64, i64), patches: i64) -> Self {
        let stdev = (dim as f64).powf(-0.5);
        let init = Init::Randn { mean: 0.0, stdev };
        Self {
            positional_embedding: path.var("positional_embedding", &[1 + patches, dim], init),
            query: linear(path / "q_proj", dim, dim),
            key: linear(path / "k_proj", dim, dim),
            value: linear(path / "v_proj", dim, dim),
            out: linear(path / "c_proj", dim, shared),
        }
    }

    /// Patches that the position table has places for.
    pub(super) fn patches(&self) -> i64 {
        self.positional_embedding.size()[0] - 1
    }

    /// Features [b, D, h, w], h*w as in the position table.
    pub(super) fn forward(&self, features: &Tensor) -> Pooled {
        let tokens = features.flatten(2, 3).transpose(1, 2);
        let mean = tokens.mean_dim(1, true, None::<Kind>);
        let x = Tensor::cat(&[mean, tokens], 1) + &self.positional_embedding;
        let channels = x.size()[2] / HEADS;
        // [b, 1+N, D] -> [b, heads, 1+N, D / heads]
        let project = |layer: &nn::Linear| layer.forward(&x).unflatten(2, [HEADS, channels].as_slice()).transpose(1, 2);
        let (query, key, value) = (project(&self.query), project(&self.key), project(&self.value));
        let scores = query.matmul(&key.transpose(-2, -1)) * (channels as f64).powf(-0.5);
        let attention = scores.softmax(-1, None::<Kind>);
        let out = self.out.forward(&attention.matmul(&value).transpose(1, 2).flatten(2, 3));
        let patches = out.size()[1] - 1;
        let attention = attention.mean_dim(1, false, None::<Kind>);
        Pooled {
            picture: out.select(1, 0),
            patches: out.narrow(1, 1, patches),
            attention: attention.narrow(1, 1, patches).narrow(2, 1, patches),
        }
    }
}
