//! Small arithmetic that losses and part finders share.

use tch::{Kind, Tensor};

/// Keeps the length of a zero vector from being divided by.
const LENGTH_EPSILON: f64 = 1e-12;

/// Divided by its length along an axis.
pub(super) fn unit(x: &Tensor, axis: i64) -> Tensor {
    let length = x.norm_scalaropt_dim(2.0, [axis].as_slice(), true);
    x / length.clamp_min(LENGTH_EPSILON)
}

/// (x - min) / (max - min + epsilon) over the last axis; the gradient passes through both extremes.
pub(super) fn min_max(x: &Tensor, epsilon: f64) -> Tensor {
    let (least, most) = (x.amin(-1, true), x.amax(-1, true));
    (x - &least) / (most - least + epsilon)
}

/// Each sample's own channel: [b, C, ...] and labels [b] -> [b, ...].
pub(super) fn channel_of(maps: &Tensor, labels: &Tensor) -> Tensor {
    let samples = Tensor::arange(labels.size()[0], (Kind::Int64, labels.device()));
    maps.index(&[Some(samples), Some(labels.shallow_clone())])
}

/// Mean over samples of the cross-entropy of logits [b, C] against labels [b].
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.log_softmax(-1, None::<Kind>).nll_loss(labels)
}
