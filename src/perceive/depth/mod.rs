//! Depth to metric grasps: a region of the picture, the depth image of the same moment and the camera's calibration
//! give a pose, a width and a length in metres, or the reason why there are none.
//!
//! ```text
//! DepthSync:   the depth frame nearest in time to the picture, within a slop, never waited for here
//! DepthImage:  16UC1 or 32FC1 bytes, read in place -> metres
//! CameraModel: camera_info (P, or K and D, with binning and region of interest) -> a ray for each pixel
//! RegionPatch: the region's pixels, parted at jumps in depth; the nearest part counts -> MetricGrasp
//! ```
//!
//! All 3D quantities are in the picture's optical frame (REP-103: z forward, x right, y down), in metres. Depth is the
//! distance along the optical axis (REP-118), and registered: its pixels are the picture's pixels.

mod calibration;
mod error;
mod grasp;
mod image;
mod lens;
mod patch;
mod plane;
mod sync;
mod width;

pub use calibration::{Calibration, CameraModel, Rectification, RegionOfInterest};
pub use error::{CalibrationError, DepthError};
pub use grasp::{GraspMeasurer, MetricGrasp, RegionDepth, Scene};
pub use image::DepthImage;
pub use sync::{DepthSync, Match};

/// Too few valid depth pixels in the region for a good fit.
pub const DEPTH_SPARSE: u16 = 1;
/// The region crosses a jump in depth; only its nearest part was measured.
pub const DEPTH_EDGE: u16 = 2;
/// Wider than the gripper opens.
pub const TOO_WIDE: u16 = 4;
/// Narrower than the gripper closes.
pub const TOO_NARROW: u16 = 8;
/// The surface normal changes a lot around the contact point, or depth is too noisy to know it.
pub const NORMAL_UNSTABLE: u16 = 32;

/// What depth could do for one picture; the names are those of looptrans_ros/GraspRegionArray.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DepthState {
    /// Depth is not in use.
    #[default]
    None,
    /// A depth image of the same moment was used.
    Ok,
    /// The depth image did not arrive in time.
    Late,
    /// Depth images arrive, but none close enough in time; or the picture's own stamp is wrong.
    Unsynced,
    /// The depth image was malformed, not of this camera, or held no valid pixel.
    Invalid,
    /// No calibration of this camera has come, or none that can be used.
    NoCameraInfo,
}

/// What counts as depth, and what the gripper can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthSettings {
    /// Nearer depth is not used [m].
    pub depth_min_m: f64,
    /// Further depth is not used [m].
    pub depth_max_m: f64,
    /// Below this width a region is [`TOO_NARROW`] [m].
    pub gripper_width_min_m: f64,
    /// Above this width a region is [`TOO_WIDE`] [m].
    pub gripper_width_max_m: f64,
}
