//! sensor_msgs/CameraInfo as a camera: pixels to rays and back.

use super::{CalibrationError, lens::Lens};
use crate::contract::Size;

/// What a sensor_msgs/CameraInfo says, unchecked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// Full resolution of the sensor during calibration.
    pub size: Size,
    /// distortion_model.
    pub distortion_model: String,
    /// Its coefficients.
    pub d: Vec<f64>,
    /// Camera matrix of the raw picture, 3x3 by rows.
    pub k: Vec<f64>,
    /// Projection matrix of the rectified picture, 3x4 by rows.
    pub p: Vec<f64>,
    /// Sensor pixels per picture pixel along x and y; 0 = 1.
    pub binning: [u32; 2],
    /// The window of the sensor that was read, in sensor pixels.
    pub roi: RegionOfInterest,
}

/// sensor_msgs/RegionOfInterest; all zero = the whole sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct RegionOfInterest {
    pub x_offset: u32,
    pub y_offset: u32,
    pub width: u32,
    pub height: u32,
}

/// Which of the two cameras in a CameraInfo the picture is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rectification {
    /// As the lens shows it: K and D.
    Raw,
    /// After image_proc: P. Its fourth column (the other camera's baseline) does not matter: places are given in this
    /// camera's own frame.
    Rectified,
}

impl Rectification {
    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Rectified => "rectified",
        }
    }
}

/// A calibrated camera for pictures of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraModel {
    focal: [f64; 2],
    skew: f64,
    centre: [f64; 2],
    lens: Lens,
}

impl CameraModel {
    /// The camera that took pictures of size `picture`.
    ///
    /// K, D and P hold for the full resolution (REP-104). A picture pixel u covers `binning` sensor pixels from
    /// `offset + binning * u` on, and pixel centres are whole numbers, so that
    /// f' = f / binning, c' = (c - offset + 1/2) / binning - 1/2.
    ///
    /// # Errors
    /// Every [`CalibrationError`] but `Missing` and `Frame`.
    pub fn new(
        calibration: &Calibration,
        rectification: Rectification,
        picture: Size,
    ) -> Result<Self, CalibrationError> {
        let (matrix, numbers, columns) = match rectification {
            Rectification::Raw => ("K", &calibration.k, 3),
            Rectification::Rectified => ("P", &calibration.p, 4),
        };
        if numbers.len() != 3 * columns {
            return Err(CalibrationError::Shape { matrix, expected: 3 * columns, found: numbers.len() });
        }
        let (fx, skew, cx, fy, cy) = (numbers[0], numbers[1], numbers[2], numbers[columns + 1], numbers[columns + 2]);
        // Positive tests, so that NaN fails.
        let is_calibrated = [fx, fy].iter().all(|f| f.is_finite() && *f > 0.0)
            && [skew, cx, cy].iter().all(|number| number.is_finite());
        if !is_calibrated {
            return Err(CalibrationError::Uncalibrated { matrix, fx, fy, cx, cy });
        }
        let lens = match rectification {
            Rectification::Raw => Lens::parse(&calibration.distortion_model, &calibration.d)?,
            Rectification::Rectified => Lens::Pinhole,
        };
        let (binning, offset) = window(calibration, picture)?;
        let centre = |c: f64, axis: usize| (c - offset[axis] + 0.5) / binning[axis] - 0.5;
        Ok(Self {
            focal: [fx / binning[0], fy / binning[1]],
            skew: skew / binning[0],
            centre: [centre(cx, 0), centre(cy, 1)],
            lens,
        })
    }

    /// The point at depth 1 that is seen at pixel (u, v): [x, y, 1] in the optical frame. None where the lens shows
    /// nothing there, or the iteration that undoes the lens does not converge.
    pub fn ray(&self, [u, v]: [f64; 2]) -> Option<[f64; 3]> {
        let y = (v - self.centre[1]) / self.focal[1];
        let x = (u - self.centre[0] - self.skew * y) / self.focal[0];
        let [x, y] = self.lens.undistort([x, y])?;
        (x.is_finite() && y.is_finite()).then_some([x, y, 1.0])
    }

    /// The pixel (u, v) that shows a point of the optical frame [m]. None behind the camera.
    pub fn project(&self, [x, y, z]: [f64; 3]) -> Option<[f64; 2]> {
        if !(z > 0.0 && z.is_finite()) {
            return None;
        }
        let [x, y] = self.lens.distort([x / z, y / z]);
        let pixel = [self.focal[0] * x + self.skew * y + self.centre[0], self.focal[1] * y + self.centre[1]];
        pixel.iter().all(|c| c.is_finite()).then_some(pixel)
    }

    /// Mean of the two focal lengths [px].
    pub fn focal_px(&self) -> f64 {
        (self.focal[0] + self.focal[1]) / 2.0
    }
}

/// Binning and offset of the picture on the sensor, along x and y.
fn window(calibration: &Calibration, picture: Size) -> Result<([f64; 2], [f64; 2]), CalibrationError> {
    let (sensor, roi) = (calibration.size, calibration.roi);
    let side = |roi: u32, sensor: u32| if roi == 0 { sensor } else { roi };
    let (width, height) = (side(roi.width, sensor.width), side(roi.height, sensor.height));
    let fits = |offset: u32, side: u32, whole: u32| offset.checked_add(side).is_some_and(|end| end <= whole);
    let is_whole = roi.width == 0 && roi.height == 0;
    let is_within = fits(roi.x_offset, width, sensor.width) && fits(roi.y_offset, height, sensor.height);
    if !is_whole && !is_within {
        return Err(CalibrationError::RegionOfInterest { sensor });
    }
    let binning = calibration.binning.map(|count| count.max(1));
    let calibrated = Size { height: height / binning[1], width: width / binning[0] };
    if calibrated != picture || picture.width == 0 || picture.height == 0 {
        return Err(CalibrationError::Size { picture, calibrated });
    }
    let offset = if is_whole { [0, 0] } else { [roi.x_offset, roi.y_offset] };
    Ok((binning.map(f64::from), offset.map(f64::from)))
}
