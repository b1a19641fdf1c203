//! The node's settings, typed and in range.

use std::{path::PathBuf, time::Duration};

use super::{
    ConfigError, HeatmapEncoding, HeatmapSize, ImageTransport, Overrides, ProviderChoice, Reliability, StampPolicy,
};

/// Every ROS parameter, checked. Names, defaults, ranges and units: [`super::PARAMETERS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSettings {
    /// The bundle's folder; None = the default bundle installed with the package.
    pub model: Option<PathBuf>,
    /// The actions to look for; empty = all of the model's.
    pub affordances: Vec<String>,
    /// The hardware asked for.
    pub execution_provider: ProviderChoice,
    /// May the CPU serve when the hardware asked for can't be had?
    pub allow_fallback: bool,
    /// Which of several GPUs.
    pub device_id: u32,
    /// Threads for one operator; 0 = all cores.
    pub intra_op_threads: u32,
    /// Frames per second at most; None = unlimited.
    pub max_rate_hz: Option<f64>,
    /// Older frames are dropped; None = never.
    pub max_input_age: Option<Duration>,
    /// From when on silence is reported.
    pub input_timeout: Duration,
    /// What to do with a zero, negative or future stamp.
    pub stamp_policy: StampPolicy,
    /// Raw or compressed images.
    pub image_transport: ImageTransport,
    /// What we ask of cameras.
    pub input_reliability: Reliability,
    /// What we offer to subscribers.
    pub output_reliability: Reliability,
    /// Heat in [0, 1] from which a pixel belongs to a region; None = the model's own.
    pub heat_threshold: Option<f32>,
    /// Regions below this score are not reported.
    pub min_region_score: f32,
    /// Regions smaller than this fraction of the image are not reported.
    pub min_region_area: f32,
    /// The most regions of one frame.
    pub max_regions: u32,
    /// The most points of one outline.
    pub max_contour_points: u32,
    /// How heat is written.
    pub heatmap_encoding: HeatmapEncoding,
    /// On which grid heat is given.
    pub heatmap_size: HeatmapSize,
    /// How much of the overlay is heat, in [0, 1].
    pub overlay_alpha: f32,
    /// JPEG quality of `~/overlay/compressed`, 1 to 100.
    pub overlay_jpeg_quality: u8,
    /// Larger images are rejected before anything is allocated.
    pub max_image_pixels: u32,
    /// Time comes from /clock.
    pub use_sim_time: bool,
}
