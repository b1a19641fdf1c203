//! HOI transfer: what the exocentric pictures have in common, found as a non-negative matrix factorisation (the module is
//! Hamburger's, Geng et al., ICLR 2021).

use tch::{
    Kind, Tensor,
    nn::{self, Init, Module},
};

use super::super::{
    norm::{BatchNorm, Norm},
    tensor::unit,
};

/// Channels of the factorised maps.
const WIDTH: i64 = 512;
/// Bases R of the factorisation.
const BASES: i64 = 64;
/// Of all bases: unit columns [1, 512, R].
pub(super) const SHAPE: [i64; 3] = [1, WIDTH, BASES];
/// Multiplicative updates in training.
const STEPS: usize = 6;
const EPSILON: f64 = 1e-6;
/// How much of a batch's bases goes into the kept ones.
const RATE: f64 = 0.9;
/// Of the normalisation behind it.
const MOMENTUM: f64 = 3e-4;

/// Parameters: `lower_bread.0`, `upper_bread.0`, `upper_bread.1`. The bases are no parameter of published files.
#[derive(Debug)]
pub(super) struct Transfer {
    lower: nn::Conv2D,
    upper: nn::Conv2D,
    norm: BatchNorm,
    /// Unit columns, [`SHAPE`].
    bases: Tensor,
}

impl Transfer {
    pub(super) fn new(path: &nn::Path<'_>, dim: i64) -> Self {
        let conv = |path: nn::Path<'_>, inputs, outputs: i64, bias| {
            let ws_init = Init::Randn { mean: 0.0, stdev: (2.0 / outputs as f64).sqrt() };
            nn::conv2d(path, inputs, outputs, 1, nn::ConvConfig { ws_init, bias, ..Default::default() })
        };
        let (lower, upper) = (path / "lower_bread", path / "upper_bread");
        let start = Tensor::rand(SHAPE, (Kind::Float, path.device()));
        Self {
            lower: conv(&lower / 0, dim, WIDTH, true),
            upper: conv(&upper / 0, WIDTH, dim, false),
            norm: BatchNorm::with_momentum(&(&upper / 1), dim, MOMENTUM),
            bases: unit(&start, 1),
        }
    }

    /// Replaces the kept bases, [`SHAPE`] (not negative, not all 0 in a column).
    pub(super) fn set_bases(&self, bases: &Tensor) {
        tch::no_grad(|| self.bases.shallow_clone().copy_(&unit(bases, 1)));
    }

    /// The kept bases, [`SHAPE`].
    pub(super) fn bases(&self) -> Tensor {
        self.bases.shallow_clone()
    }

    /// Takes up bases that were kept, [`SHAPE`], to the last bit.
    pub(super) fn restore(&self, bases: &Tensor) {
        tch::no_grad(|| self.bases.shallow_clone().copy_(bases));
    }

    /// Exocentric features [b*n, D, h, w] with what the n of a sample have in common added. Training mode: the kept bases
    /// move.
    pub(super) fn forward(&self, features: &Tensor, samples: i64) -> Tensor {
        let shape = features.size();
        let (pictures, h, w) = (shape[0], shape[2], shape[3]);
        let maps = self.lower.forward(features).relu();
        // [b*n, 512, h, w] -> [b, 512, n*h*w]
        let grouped = maps.reshape([samples, pictures / samples, WIDTH, h * w]).transpose(1, 2).flatten(2, 3);
        let (bases, coefficients) = tch::no_grad(|| self.factorise(&grouped));
        // One more update, with gradient through the maps.
        let coefficients = updated_coefficients(&grouped, &bases, &coefficients);
        let common = bases.matmul(&coefficients.transpose(1, 2));
        tch::no_grad(|| self.keep(&bases));

        let common = common.reshape([samples, WIDTH, pictures / samples, h * w]).transpose(1, 2);
        let back = self.upper.forward(&common.reshape([pictures, WIDTH, h, w]));
        (self.norm.forward(&back, Norm::Batch) + features).relu()
    }

    /// V [b, 512, L] -> bases B [b, 512, R], coefficients [b, L, R], with V near B C^T.
    fn factorise(&self, maps: &Tensor) -> (Tensor, Tensor) {
        let mut bases = self.bases.expand([maps.size()[0], -1, -1], false);
        let mut coefficients = maps.transpose(1, 2).matmul(&bases).softmax(-1, None::<Kind>);
        for _ in 0..STEPS {
            coefficients = updated_coefficients(maps, &bases, &coefficients);
            let explained = bases.matmul(&coefficients.transpose(1, 2).matmul(&coefficients));
            bases = bases * maps.matmul(&coefficients) / (explained + EPSILON);
        }
        (bases, coefficients)
    }

    fn keep(&self, bases: &Tensor) {
        let mean = bases.mean_dim(0, true, None::<Kind>);
        let moved = &self.bases + (mean - &self.bases) * RATE;
        self.bases.shallow_clone().copy_(&unit(&moved, 1));
    }
}

fn updated_coefficients(maps: &Tensor, bases: &Tensor, coefficients: &Tensor) -> Tensor {
    let explained = coefficients.matmul(&bases.transpose(1, 2).matmul(bases));
    coefficients * maps.transpose(1, 2).matmul(bases) / (explained + EPSILON)
}
