//! Layers whose PyTorch defaults differ from tch's.

use tch::{
    Kind, Tensor,
    nn::{self, Init},
};

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

    /// `train`: with the batch's own statistics, which move the running ones; otherwise with the running ones.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        if train {
            let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
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
}
