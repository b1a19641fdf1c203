//! From settings to a pipeline that is ready to run.

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

use super::NodeError;
use crate::{
    config::NodeSettings,
    contract::{Bundle, CONTRACT_FILE, Size},
    perceive::{infer::Model, pipeline::Pipeline},
};

/// Where the package installs its default bundle, below each prefix of AMENT_PREFIX_PATH.
const DEFAULT_BUNDLE: &str = "share/looptrans_ros/models/default";
/// Of the picture of a self-test: the same for every model.
const SEED: u64 = 1;

/// Loads the bundle, checks it, and runs it once. Takes seconds.
///
/// # Errors
/// No bundle, a bundle that is refused, hardware that cannot be had, an affordance the model does not have.
pub fn pipeline(settings: &NodeSettings) -> Result<Pipeline, NodeError> {
    Ok(Pipeline::new(model(settings)?, settings.into())?)
}

/// The same for a model that is to replace one that works: it must also have a usable answer to a picture that is not
/// plain.
///
/// # Errors
/// As [`pipeline`]; or the answer is not finite, or a presence lies outside [0, 1].
pub fn self_tested(settings: &NodeSettings) -> Result<Pipeline, NodeError> {
    let mut model = model(settings)?;
    let Size { height, width } = model.contract().input;
    let mut noise = ChaCha8Rng::seed_from_u64(SEED);
    let mut picture = vec![0; 3 * height as usize * width as usize];
    noise.fill_bytes(&mut picture);
    model.run(&picture).map_err(NodeError::SelfTest)?;
    Ok(Pipeline::new(model, settings.into())?)
}

fn model(settings: &NodeSettings) -> Result<Model, NodeError> {
    let folder = match &settings.model {
        Some(folder) => folder.clone(),
        None => default_bundle()?,
    };
    let bundle = Bundle::load(&folder)?;
    Ok(Model::load(&bundle, &settings.into())?)
}

fn default_bundle() -> Result<PathBuf, NodeError> {
    let prefixes = std::env::var_os("AMENT_PREFIX_PATH").unwrap_or_default();
    let mut tried: Vec<_> = std::env::split_paths(&prefixes).map(|prefix| prefix.join(DEFAULT_BUNDLE)).collect();
    let is_bundle = |folder: &PathBuf| Path::is_file(&folder.join(CONTRACT_FILE));
    match tried.iter().position(is_bundle) {
        Some(index) => Ok(tried.swap_remove(index)),
        None => Err(NodeError::NoModel { tried }),
    }
}
