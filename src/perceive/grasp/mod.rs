//! Heat to grasp regions: where one affordance is possible, as outline, rectangle, contact point and closing direction.

mod contact;
mod contour;
mod find;
mod label;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use find::{AffordanceMap, RegionFinder, RegionSettings};

/// The region is cut off by the border of the picture: its outline and rectangle end there, the object may not.
pub const TOUCHES_BORDER: u16 = 16;
/// The region's class score stands out little from the rest of the picture: see [`LOW_CONTRAST_SCORE`].
pub const LOW_CONTRAST: u16 = 64;
/// A region is of low contrast when its mean class score (before normalisation) exceeds the mean of the rest of the
/// picture by less than this. Scores are logits: 0.1 makes the action's odds 1.1 times those elsewhere. Min-max
/// normalisation stretches even such a map to a full 0..1, so the heat itself can't show it.
pub const LOW_CONTRAST_SCORE: f32 = 0.1;

/// One place for one affordance. All lengths and positions are in source pixels, with (0, 0) at the centre of the top
/// left pixel, x right, y down; all angles are in radians from +x towards +y.
#[derive(Debug, Clone, PartialEq)]
pub struct GraspRegion {
    /// Index into the contract's actions.
    pub class_id: u16,
    /// The action's name.
    pub affordance: Arc<str>,
    /// Mean heat of the region times the action's presence, in [0, 1].
    pub score: f32,
    /// Highest heat of the region, in [0, 1].
    pub score_peak: f32,
    /// Outline: a closed polygon (the last point joins the first) of 3 to `max_contour_points` points.
    pub contour: Vec<[f32; 2]>,
    /// Centre of the minimum-area rectangle around the outline.
    pub center: [f32; 2],
    /// Its sides, the long one first: `size[0] >= size[1]`; `size[0]` lies along `theta_rad`.
    pub size: [f32; 2],
    /// Direction of the long side, in (-pi/2, pi/2].
    pub theta_rad: f32,
    /// Suggested contact point: on hot pixels and strictly inside the outline.
    pub point: [f32; 2],
    /// The way the jaws close: across the narrow side, `theta_rad` turned by a right angle, in (-pi/2, pi/2].
    pub closing_angle_rad: f32,
    /// Bitwise or of [`TOUCHES_BORDER`], [`LOW_CONTRAST`]; 0 = nothing to report.
    pub flags: u16,
}
