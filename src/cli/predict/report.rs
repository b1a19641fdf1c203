//! What regions.json says. Positions and lengths are in pixels of the picture, upright, with (0, 0) at the centre of the
//! top left pixel; angles in radians from +x (right) towards +y (down).

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::perceive::{
    grasp::{GraspRegion, LOW_CONTRAST, TOUCHES_BORDER},
    heatmap::Heatmap,
    pipeline::{Perception, Pipeline},
};

/// The whole file.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub model_id: String,
    /// All the model's actions in class order.
    actions: &'a [String],
    /// What computed.
    pub execution_provider: &'static str,
    pub images: Vec<ImageReport>,
    pub failed: Vec<Failure>,
}

/// One picture.
#[derive(Serialize)]
pub(super) struct ImageReport {
    image: PathBuf,
    width: u32,
    height: u32,
    /// File names in the folder of regions.json.
    pub overlay: String,
    /// [A, h, w] f32, not normalised.
    pub class_maps: Option<String>,
    /// Those looked for.
    pub affordances: Vec<AffordanceReport>,
    /// Best first.
    pub regions: Vec<RegionReport>,
}

/// One affordance in one picture.
#[derive(Serialize)]
pub(super) struct AffordanceReport {
    affordance: String,
    class_id: u16,
    /// How much the picture affords it, in [0, 1].
    presence: f32,
    /// The hottest spot.
    peak: [f32; 2],
    heatmap: String,
}

/// One region: the fields of msg/GraspRegion.msg that concern the picture.
#[derive(Serialize)]
pub(super) struct RegionReport {
    affordance: String,
    class_id: u16,
    score: f32,
    score_peak: f32,
    point: [f32; 2],
    closing_angle_rad: f32,
    rectangle: Rectangle,
    flags: Vec<&'static str>,
    contour: Vec<[f32; 2]>,
}

/// The minimum-area rectangle.
#[derive(Serialize)]
struct Rectangle {
    center: [f32; 2],
    /// The long side, which lies along `theta_rad`, and the short one.
    size: [f32; 2],
    theta_rad: f32,
}

/// A picture that could not be done.
#[derive(Serialize)]
pub(super) struct Failure {
    pub image: PathBuf,
    pub error: String,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    results: &'a Path,
    model_id: &'a str,
    execution_provider: &'a str,
    pictures: usize,
    regions: usize,
    failed: &'a [Failure],
}

impl<'a> Report<'a> {
    pub fn new(actions: &'a [String], pipeline: &Pipeline) -> Self {
        Self {
            model_id: pipeline.contract().model_id(),
            actions,
            execution_provider: pipeline.provider().used.name(),
            images: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub fn regions(&self) -> usize {
        self.images.iter().map(|image| image.regions.len()).sum()
    }

    pub fn summary<'s>(&'s self, results: &'s Path) -> Summary<'s> {
        let Self { model_id, execution_provider, images, failed, .. } = self;
        Summary { results, model_id, execution_provider, pictures: images.len(), regions: self.regions(), failed }
    }
}

impl ImageReport {
    pub fn new(image: &Path, seen: &Perception) -> Self {
        Self {
            image: image.to_owned(),
            width: seen.source.width,
            height: seen.source.height,
            overlay: String::new(),
            class_maps: None,
            affordances: Vec::new(),
            regions: seen.regions.iter().map(RegionReport::from).collect(),
        }
    }
}

impl AffordanceReport {
    pub fn new(heatmap: &Heatmap, file: String) -> Self {
        Self {
            affordance: heatmap.affordance.to_string(),
            class_id: heatmap.class_id,
            presence: heatmap.presence,
            peak: [heatmap.peak_x, heatmap.peak_y],
            heatmap: file,
        }
    }
}

impl From<&GraspRegion> for RegionReport {
    fn from(region: &GraspRegion) -> Self {
        let flags = [(TOUCHES_BORDER, "TOUCHES_BORDER"), (LOW_CONTRAST, "LOW_CONTRAST")];
        let set = flags.into_iter().filter(|(bit, _)| region.flags & bit != 0);
        Self {
            affordance: region.affordance.to_string(),
            class_id: region.class_id,
            score: region.score,
            score_peak: region.score_peak,
            point: region.point,
            closing_angle_rad: region.closing_angle_rad,
            rectangle: Rectangle { center: region.center, size: region.size, theta_rad: region.theta_rad },
            flags: set.map(|(_, name)| name).collect(),
            contour: region.contour.clone(),
        }
    }
}
