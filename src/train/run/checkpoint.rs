//! What a run leaves on disk: checkpoints to go on from, and weights to use.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{learner::Learner, tensor_file};
use crate::{
    export::{
        layout,
        weights::{DESCRIPTION, Description},
    },
    metrics::Mean,
    train::{TrainError, optimizer::Optimizer, settings::Settings, store::Kept},
};

/// The metadata key of a checkpoint's [`State`].
const STATE: &str = "looptrans-checkpoint";
/// What the optimiser's tensors have before the parameter's name.
const MOMENTUM: &str = "optimizer.momentum.";
/// What a learner carries from step to step beside parameters.
const CARRIED: &str = "learner.carried";
/// Changes with anything that would make an older checkpoint go on differently.
const FORMAT: u32 = 2;

/// How far a run is, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: u32,
    /// All its settings.
    pub settings: Settings,
    /// SHA-256 of the dataset's list of pictures.
    pub dataset: String,
    /// The actions in class order.
    pub actions: Vec<String>,
    /// Attention heads of the backbone.
    pub heads: usize,
    /// Where the backbone's numbers come from.
    pub backbone: String,
    /// The feature store that it reads; None: the backbone runs live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Kept>,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Steps of it that are done.
    pub step: u64,
    /// Test scores after each epoch that is done; None where there is nothing to test with.
    pub scores: Vec<Option<Mean>>,
}

/// What a new run starts as.
pub(super) struct Origin {
    pub settings: Settings,
    pub dataset: String,
    pub actions: Vec<String>,
    pub heads: usize,
    pub backbone: String,
}

impl State {
    pub(super) fn new(origin: Origin) -> Self {
        let Origin { settings, dataset, actions, heads, backbone } = origin;
        let (features, epoch, step, scores) = (None, 0, 0, Vec::new());
        Self { format: FORMAT, settings, dataset, actions, heads, backbone, features, epoch, step, scores }
    }

    /// The epoch with the lowest KLD, and its scores.
    pub fn best(&self) -> Option<(usize, Mean)> {
        let tested = self.scores.iter().enumerate().filter_map(|(epoch, mean)| Some((epoch, (*mean)?)));
        tested.min_by(|a, b| a.1.kld.total_cmp(&b.1.kld))
    }
}

/// A checkpoint's content.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub state: State,
    /// The network's parameters.
    pub weights: BTreeMap<String, Tensor>,
    /// The optimiser's state by parameter.
    pub momentum: BTreeMap<String, Tensor>,
    /// See [`Learner::carried`].
    pub carried: Option<Tensor>,
}

impl Checkpoint {
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let file = tensor_file::read(path)?;
        let refuse = |found: String| TrainError::File {
            path: path.to_owned(),
            expected: format!("a checkpoint of looptrans train, format {FORMAT}"),
            found,
        };
        let json = file.metadata.get(STATE).ok_or_else(|| refuse("safetensors of something else".to_owned()))?;
        let state: State = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
        if state.format != FORMAT {
            return Err(refuse(format!("format {}", state.format)));
        }
        let (mut weights, mut momentum, mut carried) = (BTreeMap::new(), BTreeMap::new(), None);
        for (key, tensor) in file.tensors {
            match key.strip_prefix(MOMENTUM) {
                Some(name) => momentum.insert(name.to_owned(), tensor),
                None if key == CARRIED => carried.replace(tensor),
                None if layout::is_cluster(&key) => None,
                None => weights.insert(key, tensor),
            };
        }
        Ok(Self { state, weights, momentum, carried })
    }
}

/// Writes all that is needed to go on.
pub(super) fn write_checkpoint(
    path: &Path,
    learner: &Learner,
    optimizer: &Optimizer,
    state: &State,
) -> Result<(), TrainError> {
    tensor_file::write(path, &tensors_of(learner, optimizer), (STATE, json(path, state)?))
}

/// All that a checkpoint holds, under the names it has there.
pub(super) fn tensors_of(learner: &Learner, optimizer: &Optimizer) -> BTreeMap<String, Tensor> {
    let mut tensors = weights_of(learner);
    let momentum = optimizer.momentum().map(|(name, tensor)| (format!("{MOMENTUM}{name}"), tensor.shallow_clone()));
    tensors.extend(momentum);
    tensors.extend(learner.carried().map(|tensor| (CARRIED.to_owned(), tensor)));
    tensors
}

/// Writes the weights alone, described as `looptrans export` and `predict` want them.
pub(super) fn write_weights(path: &Path, learner: &Learner, state: &State) -> Result<(), TrainError> {
    let Settings { system, data, seed, .. } = &state.settings;
    let on = data.split.as_deref().unwrap_or("a dataset");
    let epochs = state.scores.len();
    let without = if state.settings.has_no_text_encoder() { " without text encoder" } else { "" };
    let trained = state.settings.trains_exported_maps();
    let but = if trained { "" } else { ", but P on no action (looptrans.ablation)" };
    let description = Description {
        actions: state.actions.clone(),
        trained,
        source: format!(
            "{system:?}{without} trained on {on}{but}, epochs: {epochs}, seed: {seed}; backbone: {}",
            state.backbone
        ),
        heads: Some(state.heads),
        checkpoint: None,
    };
    tensor_file::write(path, &weights_of(learner), (DESCRIPTION, json(path, &description)?))
}

fn weights_of(learner: &Learner) -> BTreeMap<String, Tensor> {
    learner.parameters.variables().into_iter().chain(learner.clusters()).collect()
}

fn json(path: &Path, value: &impl Serialize) -> Result<String, TrainError> {
    serde_json::to_string(value).map_err(|error| tensor_file::io_error("write", path)(error.into()))
}
