//! What a bundle is measured against.

use std::path::Path;

use super::{Answer, ParityError};
#[cfg(feature = "train")]
use crate::train::inference::Network;
use crate::{
    contract::ReferenceKind,
    export::{
        bundle::{self, Settings},
        graph::Batch,
        rewrites::Rewrites,
        weights::Weights,
    },
    perceive::infer::{InferSettings, Model},
};

/// The same function by other means.
#[derive(Debug)]
pub enum Reference {
    /// The network on libtorch.
    #[cfg(feature = "train")]
    Libtorch(Box<Network>),
    /// The graph without rewrites.
    PlainGraph(Box<Model>),
}

/// What a bundle was exported from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The weights file.
    pub weights_file: &'a Path,
    /// As it was read.
    pub weights: &'a Weights,
    /// What was exported of it.
    pub settings: &'a Settings,
}

impl Reference {
    /// The best there is in this build: libtorch with the feature `train`, else the graph without rewrites.
    ///
    /// # Errors
    /// libtorch can't read the file, or its tensors are not the network's.
    #[cfg(feature = "train")]
    pub fn best(origin: Origin<'_>, _plain_graph: &InferSettings) -> Result<Self, ParityError> {
        let options = origin.settings.graph(origin.weights)?;
        Ok(Self::Libtorch(Box::new(Network::load(origin.weights_file, origin.weights, options)?)))
    }

    /// The best there is in this build: libtorch with the feature `train`, else the graph without rewrites.
    ///
    /// # Errors
    /// As [`Self::plain_graph`].
    #[cfg(not(feature = "train"))]
    pub fn best(origin: Origin<'_>, plain_graph: &InferSettings) -> Result<Self, ParityError> {
        Self::plain_graph(origin, plain_graph)
    }

    /// The graph without rewrites in ONNX Runtime.
    ///
    /// # Errors
    /// The weights file holds no more of the last block than a trimmed graph takes; or ONNX Runtime can't be had.
    pub fn plain_graph(origin: Origin<'_>, infer: &InferSettings) -> Result<Self, ParityError> {
        let settings = Settings { rewrites: Rewrites::none(), batch: Batch::One, ..origin.settings.clone() };
        let bundle = bundle::build(origin.weights, Path::new("the graph without rewrites"), &settings)?;
        Ok(Self::PlainGraph(Box::new(Model::load(&bundle, infer)?)))
    }

    /// Which one it is.
    pub fn kind(&self) -> ReferenceKind {
        match self {
            #[cfg(feature = "train")]
            Self::Libtorch(_) => ReferenceKind::Libtorch,
            Self::PlainGraph(_) => ReferenceKind::PlainGraph,
        }
    }

    /// Its answer for u8 [H, W, 3] RGB at network size.
    ///
    /// # Errors
    /// It can't be run.
    pub fn run(&mut self, picture: &[u8]) -> Result<Answer, ParityError> {
        match self {
            #[cfg(feature = "train")]
            Self::Libtorch(network) => {
                let (maps, presence) = network.run(picture)?;
                Ok(Answer { maps, presence })
            }
            Self::PlainGraph(model) => Ok(Answer::of(model.run(picture)?)),
        }
    }
}
