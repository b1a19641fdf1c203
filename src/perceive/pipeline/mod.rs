//! One frame from bytes to heatmaps and grasp regions.

#[cfg(feature = "onnx")]
mod paint;
#[cfg(feature = "onnx")]
mod run;

use std::time::Duration;

#[cfg(feature = "onnx")]
pub use run::Pipeline;

use super::{
    decode::DecodeNotes,
    grasp::GraspRegion,
    heatmap::{HeatImage, Heatmap, HeatmapEncoding, HeatmapSize},
};
use crate::{config::NodeSettings, contract::Size};

/// What to look for and how to report it. Ranges are those of the ROS parameters of the same names.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineSettings {
    /// The actions to look for; empty = all of the model's.
    pub affordances: Vec<String>,
    /// Heat in [0, 1] from which a pixel belongs to a region. None: the contract's.
    pub heat_threshold: Option<f32>,
    /// Regions below this score are not reported.
    pub min_region_score: f32,
    /// Regions smaller than this fraction of the image are not reported.
    pub min_region_area: f32,
    /// The most regions of one frame, the best by score over all affordances.
    pub max_regions: usize,
    /// The most points of one outline.
    pub max_contour_points: usize,
    /// Larger images are rejected before anything is allocated.
    pub max_image_pixels: u64,
    /// On which grid heat is given.
    pub heatmap_size: HeatmapSize,
    /// How heat is written.
    pub heatmap_encoding: HeatmapEncoding,
    /// How much of the overlay is heat, in [0, 1].
    pub overlay_alpha: f32,
}

impl From<&NodeSettings> for PipelineSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
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
}

/// What has subscribers. Nothing else is rendered; regions are always computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// [`Perception::combined`].
    pub heatmap: bool,
    /// [`Perception::heatmaps`].
    pub heatmaps: bool,
    /// [`Perception::overlay`].
    pub overlay: bool,
}

impl Wanted {
    /// What either wants.
    #[must_use]
    pub fn and(self, also: Self) -> Self {
        Self {
            heatmap: self.heatmap || also.heatmap,
            heatmaps: self.heatmaps || also.heatmaps,
            overlay: self.overlay || also.overlay,
        }
    }
}

/// What was seen in one frame. Owned by the pipeline, which reuses its buffers from frame to frame.
#[derive(Debug, Default)]
pub struct Perception {
    /// Size of the source image.
    pub source: Size,
    /// One per requested affordance, in class order; empty unless [`Wanted::heatmaps`].
    pub heatmaps: Vec<Heatmap>,
    /// Pixelwise maximum over the requested affordances; None unless [`Wanted::heatmap`].
    pub combined: Option<HeatImage>,
    /// Best first.
    pub regions: Vec<GraspRegion>,
    /// RGB at source size; None unless [`Wanted::overlay`].
    pub overlay: Option<image::RgbImage>,
    /// What was odd about the frame.
    pub notes: DecodeNotes,
    /// How long each stage took.
    pub timings: StageTimings,
}

/// Wall time of each stage of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimings {
    /// Message bytes to RGB.
    pub decode: Duration,
    /// RGB to network size.
    pub resize: Duration,
    /// The model.
    pub run: Duration,
    /// Class maps to heat images.
    pub upsample: Duration,
    /// Heat to regions.
    pub regions: Duration,
    /// The picture for people.
    pub overlay: Duration,
}
