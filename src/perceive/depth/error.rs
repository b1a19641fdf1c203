//! Why there is no 3D.

use crate::{contract::Size, perceive::FrameError};

/// Why a depth image can't be used for a picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DepthError {
    /// Size, step and data do not belong together, or too many pixels.
    #[error("depth image: {0}")]
    Image(#[from] FrameError),
    /// Not an encoding of depth (REP-118).
    #[error("depth image: expected 16UC1 or mono16 (millimetres) or 32FC1 (metres), found {found:?}")]
    Encoding {
        /// The beginning of the message's string.
        found: String,
    },
    /// Not registered to the picture: its pixels are not the picture's.
    #[error(
        "depth image: expected {}x{} as the picture (depth must be registered to it), found {}x{}",
        .picture.width, .picture.height, .depth.width, .depth.height
    )]
    Size {
        /// The picture's size.
        picture: Size,
        /// The depth image's.
        depth: Size,
    },
    /// Not registered to the picture: another camera's.
    #[error(
        "depth image: expected frame_id {picture:?} as the picture (depth must be registered to it), found {depth:?}"
    )]
    Frame {
        /// The picture's frame.
        picture: String,
        /// The depth image's.
        depth: String,
    },
    /// Metres that are none.
    #[error(
        "depth image: 32FC1 holds metres, and half of its values exceed {median_m:.0}: this looks like millimetres"
    )]
    LooksLikeMillimetres {
        /// Median of the valid pixels, read as metres.
        median_m: f32,
    },
    /// NaN, infinite, zero, negative or out of range everywhere.
    #[error("depth image: no pixel between depth_min = {min_m} m and depth_max = {max_m} m")]
    NoValidPixel {
        /// The setting of that name.
        min_m: f64,
        /// The setting of that name.
        max_m: f64,
    },
}

/// Why a calibration can't be used for a picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// None has come.
    #[error("no camera_info has arrived")]
    Missing,
    /// The driver says "uncalibrated", or writes nonsense.
    #[error(
        "camera_info: {matrix} says that the camera is uncalibrated: focal lengths {fx} and {fy}, centre {cx}, {cy}"
    )]
    Uncalibrated {
        /// "K" or "P".
        matrix: &'static str,
        /// Focal length along x [px].
        fx: f64,
        /// Focal length along y [px].
        fy: f64,
        /// Principal point [px].
        cx: f64,
        /// Principal point [px].
        cy: f64,
    },
    /// K or P does not have its numbers.
    #[error("camera_info: expected {expected} numbers in {matrix}, found {found}")]
    Shape {
        /// "K" or "P".
        matrix: &'static str,
        /// Numbers of such a matrix.
        expected: usize,
        /// Numbers that came.
        found: usize,
    },
    /// It is for pictures of another size.
    #[error(
        "camera_info: expected a calibration of {}x{} pictures, found one of {}x{} (binning and region of interest \
         applied)", .picture.width, .picture.height, .calibrated.width, .calibrated.height
    )]
    Size {
        /// The picture's size.
        picture: Size,
        /// What the calibration gives.
        calibrated: Size,
    },
    /// A region of interest that is not within the sensor.
    #[error("camera_info: the region of interest exceeds the {}x{} of the sensor", .sensor.width, .sensor.height)]
    RegionOfInterest {
        /// Full resolution.
        sensor: Size,
    },
    /// A lens we can't undo. Taking it for a pinhole would give wrong places.
    #[error("camera_info: expected distortion_model plumb_bob, rational_polynomial or equidistant, found {found:?}")]
    UnknownModel {
        /// The beginning of the message's string.
        found: String,
    },
    /// The model's coefficients are too few, too many or not finite.
    #[error("camera_info: expected {expected} finite coefficients of {model}, found {found}")]
    Coefficients {
        /// The distortion model.
        model: &'static str,
        /// How many there may be.
        expected: &'static str,
        /// How many came, or the one that is not finite.
        found: String,
    },
    /// It describes another camera, or nobody knows which.
    #[error("camera_info: expected a frame_id that is not empty and the picture's ({picture:?}), found {calibrated:?}")]
    Frame {
        /// The picture's frame.
        picture: String,
        /// The calibration's.
        calibrated: String,
    },
}
