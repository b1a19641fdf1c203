//! LoopTrans or LOCATE, whichever a weights file holds.

use std::path::Path;

use tch::{Device, Tensor, nn::VarStore};

use super::{
    TrainError,
    locate::Locate,
    looptrans::{LoopTrans, Maps},
    weights,
};
use crate::export::layout::{self, Sizes};

#[derive(Debug)]
pub(super) enum Network {
    LoopTrans(Box<LoopTrans>),
    Locate(Box<Locate>),
}

impl Network {
    /// With the weights of a whole checkpoint's file.
    ///
    /// # Errors
    /// As [`weights::load`].
    pub fn load(path: &Path, network: layout::Network, sizes: &Sizes) -> Result<Self, TrainError> {
        let parameters = VarStore::new(Device::Cpu);
        let root = parameters.root();
        let network = match network {
            layout::Network::LoopTrans => Self::LoopTrans(Box::new(LoopTrans::new(&root, sizes))),
            layout::Network::Locate => Self::Locate(Box::new(Locate::new(&root, sizes))),
        };
        weights::load(&parameters, path, "")?;
        Ok(network)
    }

    /// See [`LoopTrans::class_maps`].
    pub fn class_maps(&self, images: &Tensor) -> Result<Tensor, TrainError> {
        match self {
            Self::LoopTrans(model) => model.class_maps(images),
            Self::Locate(model) => model.class_maps(images),
        }
    }

    /// See [`LoopTrans::forward`].
    pub fn forward(&self, images: &Tensor) -> Result<Maps, TrainError> {
        match self {
            Self::LoopTrans(model) => model.forward(images),
            Self::Locate(model) => model.forward(images),
        }
    }
}
