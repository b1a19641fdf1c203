//! From settings to a pipeline that is ready to run.

use std::path::{Path, PathBuf};

use super::NodeError;
use crate::{
    config::NodeSettings,
    contract::{Bundle, CONTRACT_FILE},
    perceive::{
        infer::{InferSettings, Model},
        pipeline::{Pipeline, PipelineSettings},
    },
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
    let model = Model::load(&bundle, &infer_settings(settings))?;
    Ok(Pipeline::new(model, pipeline_settings(settings))?)
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

fn infer_settings(settings: &NodeSettings) -> InferSettings {
    InferSettings {
        library: None,
        provider: settings.execution_provider,
        allow_fallback: settings.allow_fallback,
        device_id: settings.device_id,
        intra_op_threads: settings.intra_op_threads as usize,
    }
}

fn pipeline_settings(settings: &NodeSettings) -> PipelineSettings {
    PipelineSettings {
        affordances: settings.affordances.clone(),
        heat_threshold: settings.heat_threshold,
        min_region_score: settings.min_region_score,
        min_region_area: settings.min_region_area,
        max_regions: settings.max_regions as usize,
        max_contour_points: settings.max_contour_points as usize,
        max_image_pixels: u64::from(settings.max_image_pixels),
        heatmap_size: settings.heatmap_size,
        heatmap_encoding: settings.heatmap_encoding,
        overlay_alpha: settings.overlay_alpha,
    }
}
