//! The networks as libtorch runs them, operator by operator: what exported models are timed against.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{TrainError, network::Network};
use crate::{
    contract::Size,
    export::layout::{self, Sizes},
};

/// A network with its weights and pictures to run it on.
#[derive(Debug)]
pub struct Eager {
    network: Network,
    /// f32 [B, 3, H, W]
    images: Tensor,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct EagerSettings {
    /// Whose weights they are.
    pub network: layout::Network,
    /// Their sizes.
    pub sizes: Sizes,
    /// The pictures' size in pixels, multiples of the patch.
    pub input: Size,
    /// Pictures per run.
    pub pictures: usize,
    /// Threads of an operator. This counts for the whole process.
    pub threads: usize,
}

impl Eager {
    /// Reads the weights file of a whole checkpoint.
    ///
    /// # Errors
    /// As [`super::weights::load`].
    pub fn load(path: &Path, settings: &EagerSettings) -> Result<Self, TrainError> {
        let EagerSettings { network, sizes, input, pictures, threads } = settings;
        let network = Network::load(path, *network, sizes)?;
        tch::set_num_threads(i32::try_from(*threads).unwrap_or(i32::MAX));
        let sides = [*pictures as i64, 3, i64::from(input.height), i64::from(input.width)];
        Ok(Self { network, images: Tensor::zeros(sides, (Kind::Float, Device::Cpu)) })
    }

    /// Runs the network once, without a trace for gradients; the last block's attention and MLP are computed as the
    /// published code computes them. Gives the class maps [B, C, h, w].
    ///
    /// # Errors
    /// The pictures are no whole number of patches.
    pub fn run(&self) -> Result<Tensor, TrainError> {
        tch::no_grad(|| self.network.class_maps(&self.images))
    }
}
