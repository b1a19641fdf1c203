//! Layers whose PyTorch defaults differ from tch's.

use tch::{
    Kind, Tensor,
    nn::{self, Init},
};

use super::ranks::joint::{Joint, Statistics};

/// PyTorch's default for linear and convolution layers, weight and bias: U(+-1/sqrt(fan-in)).
pub(super) fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A linear layer with PyTorch's initial values.
pub(super) fn linear(path: nn::Path<'_>, inputs: i64, outputs: i64) -> nn::Linear {
    let config = nn::LinearConfig { ws_init: uniform(inputs), bs_init: Some(uniform(inputs)), bias: true };
    nn::linear(path, inputs, outputs, config)
}

/// Which mean and variance a normalisation works with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Norm<'a> {
    /// The running ones.
    Running,
    /// The batch's own, which move the running ones.
    Batch,
    /// Those of all ranks' batches together, which move the running ones.
    Joint(&'a Joint<'a>),
}

/// Batch normalisation over [B, C, H, W] as `torch.nn.BatchNorm2d`, its batch counter among the parameters.
#[derive(Debug)]
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    num_batches_tracked: Tensor,
    momentum: f64,
}

impl BatchNorm {
    const EPSILON: f64 = 1e-5;

    /// With PyTorch's momentum.
    pub(super) fn new(path: &nn::Path<'_>, channels: i64) -> Self {
        Self::with_momentum(path, channels, 0.1)
    }

    /// `momentum`: how much of a batch's statistics goes into the running ones.
    pub(super) fn with_momentum(path: &nn::Path<'_>, channels: i64, momentum: f64) -> Self {
        let counter = Tensor::zeros([], (Kind::Int64, path.device()));
        Self {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            num_batches_tracked: path.add("num_batches_tracked", counter, false),
            momentum,
        }
    }

    pub(super) fn forward(&self, x: &Tensor, norm: Norm<'_>) -> Tensor {
        let train = !matches!(norm, Norm::Running);
        if train {
            let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
        }
        if let Norm::Joint(joint) = norm {
            return self.joint(joint.statistics(x));
        }
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            self.momentum,
            Self::EPSILON,
            true,
        )
    }

    fn joint(&self, statistics: Statistics) -> Tensor {
        let Statistics { x, mean, variance, count } = statistics;
        tch::no_grad(|| {
            // The running variance is the unbiased one.
            let unbiased = variance.flatten(0, -1) * (count / (count - 1.0).max(1.0));
            for (running, now) in [(&self.running_mean, mean.flatten(0, -1)), (&self.running_var, unbiased)] {
                let moved = running * (1.0 - self.momentum) + now * self.momentum;
                running.shallow_clone().copy_(&moved);
            }
        });
        let per_channel = |values: &Tensor| values.reshape([1, -1, 1, 1]);
        (x - mean) / (variance + Self::EPSILON).sqrt() * per_channel(&self.weight) + per_channel(&self.bias)
    }
}
