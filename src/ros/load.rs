//! From settings to a pipeline that is ready to run.

use std::path::{Path, PathBuf};

use super::NodeError;
use crate::{
    config::NodeSettings,
    contract::{Bundle, CONTRACT_FILE},
    perceive::{infer::Model, pipeline::Pipeline},
};

/// Where the package installs its default bundle, below each prefix of AMENT_PREFIX_PATH.
const DEFAULT_BUNDLE: &str = "share/looptrans_ros/models/default";

/// Loads the bundle, checks it, and runs it once. Takes seconds.
///
/// # Errors
/// No bundle, a bundle that is refused, hardware that cannot be had, an affordance the model does not have.
pub fn pipeline(settings: &NodeSettings) -> Result<Pipeline, NodeError> {
    let folder = match &settings.model {
        Some(folder) => folder.clone(),
        None => default_bundle()?,
    };
    let bundle = Bundle::load(&folder)?;
    let model = Model::load(&bundle, &settings.into())?;
    Ok(Pipeline::new(model, settings.into())?)
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
