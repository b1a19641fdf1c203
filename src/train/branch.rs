//! [Conv 3x3 + BatchNorm + ReLU] x 2: the structure that Theta_scam and Theta_pixel share, each with its own weights.

use tch::{
    Tensor,
    nn::{self, Module},
};

use super::{
    norm::{BatchNorm, Norm, uniform},
    trace::Tracer,
};

/// Keys `0`, `3` (convolutions) and `1`, `4` (normalisations), as in an `nn.Sequential` whose 2 and 5 are the ReLUs.
#[derive(Debug)]
pub(super) struct Branch {
    layers: [(nn::Conv2D, BatchNorm); 2],
}

impl Branch {
    pub(super) fn new(path: &nn::Path<'_>, dim: i64) -> Self {
        let kernel = 3;
        let init = uniform(dim * kernel * kernel);
        let config = nn::ConvConfig { padding: 1, ws_init: init, bs_init: init, ..Default::default() };
        let layer = |conv: usize, norm: usize| {
            (nn::conv2d(path / conv, dim, dim, kernel, config), BatchNorm::new(&(path / norm), dim))
        };
        Self { layers: [layer(0, 1), layer(3, 4)] }
    }

    /// [B, D, h, w] -> [B, D, h, w]
    pub(super) fn forward(&self, features: &Tensor, norm: Norm<'_>, tracer: &mut Tracer<'_>) -> Tensor {
        let [(conv_0, norm_1), (conv_3, norm_4)] = &self.layers;
        let x = conv_0.forward(features);
        tracer.record("0", &x);
        let x = norm_1.forward(&x, norm);
        tracer.record("1", &x);
        let x = conv_3.forward(&x.relu());
        tracer.record("3", &x);
        let x = norm_4.forward(&x, norm).relu();
        tracer.record("5", &x);
        x
    }
}
