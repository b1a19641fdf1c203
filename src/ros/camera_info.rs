//! The camera's calibration for `~/heatmap`, so that rviz2 and depth_image_proc can place the heat in space.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use r2r::sensor_msgs::msg::CameraInfo;

use super::regions;
use crate::{
    contract::Size,
    message::image::Header,
    perceive::{
        Stamp,
        depth::{Calibration, RegionOfInterest},
    },
    robot::depth::PictureCalibration,
};

/// Calibrations kept: two seconds at 30 Hz, so that a picture that waited and was worked on is still found its own.
const KEPT: usize = 64;
/// The most distortion coefficients: OpenCV's largest model has 14.
const MAX_COEFFICIENTS: usize = 64;

/// The calibrations that came last from one camera. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Calibrations(Arc<Mutex<VecDeque<CameraInfo>>>);

impl Calibrations {
    /// Takes one in, unless it is absurdly long.
    pub fn offer(&self, camera_info: CameraInfo) {
        if camera_info.d.len() > MAX_COEFFICIENTS {
            return;
        }
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(camera_info);
    }

    /// What `look` makes of the picture's calibration: the one of the same stamp (drivers send it with the picture, and a
    /// lens may zoom), or the newest. None: none has come.
    pub fn of<T>(&self, stamp: Stamp, look: impl FnOnce(&CameraInfo) -> T) -> Option<T> {
        let stamp = regions::time(stamp);
        let kept = self.kept();
        kept.iter().rev().find(|info| info.header.stamp == stamp).or_else(|| kept.back()).map(look)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<CameraInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no calibration for a heatmap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CameraInfoError {
    /// It is of another camera.
    #[error("camera_info: expected a calibration in the picture's frame {picture:?}, found {calibrated:?}")]
    Frame {
        /// The picture's frame_id.
        picture: String,
        /// The calibration's.
        calibrated: String,
    },
    /// It describes pictures of another size, or parts of them, which a resized heatmap could not follow.
    #[error(
        "camera_info: expected a calibration of {}x{} pictures without binning and region of interest, found \
         {}x{}{} (width x height)", .picture.width, .picture.height, .calibrated.width, .calibrated.height,
        if *.partial { " with one of them" } else { "" }
    )]
    Size {
        /// Size of the source image.
        picture: Size,
        /// Size the calibration is for.
        calibrated: Size,
        /// Binning or a region of interest is set.
        partial: bool,
    },
    /// K, R or P does not have its 9, 9 or 12 numbers: r2r would panic on publishing it.
    #[error("camera_info: expected 9, 9 and 12 numbers in K, R and P")]
    Shape,
}

/// What a message says, unchecked, for 3D.
pub fn for_depth(camera_info: &CameraInfo) -> PictureCalibration {
    let roi = &camera_info.roi;
    PictureCalibration {
        frame_id: camera_info.header.frame_id.clone(),
        calibration: Calibration {
            size: Size { height: camera_info.height, width: camera_info.width },
            distortion_model: camera_info.distortion_model.clone(),
            d: camera_info.d.clone(),
            k: camera_info.k.clone(),
            p: camera_info.p.clone(),
            binning: [camera_info.binning_x, camera_info.binning_y],
            roi: RegionOfInterest {
                x_offset: roi.x_offset,
                y_offset: roi.y_offset,
                width: roi.width,
                height: roi.height,
            },
        },
    }
}

/// The calibration of a heatmap of size `heat` over a picture of size `source`, under the picture's header.
///
/// A heatmap pixel (u, v) lies at u_source = (u + 0.5) * scale_x - 0.5 (pixel centres at whole numbers), so that
/// f' = f / scale, c' = (c + 0.5) / scale - 0.5, and P's fourth column (f times the baseline) scales like f. The
/// distortion acts on normalised coordinates and stays.
///
/// # Errors
/// The calibration is not for pictures of that size, or names another frame than the picture's header (none is let pass).
pub fn for_heatmap(
    camera_info: &CameraInfo,
    header: Header<'_>,
    source: Size,
    heat: Size,
) -> Result<CameraInfo, CameraInfoError> {
    let calibrated = &camera_info.header.frame_id;
    if !calibrated.is_empty() && calibrated != header.frame_id {
        return Err(CameraInfoError::Frame { picture: header.frame_id.to_owned(), calibrated: calibrated.clone() });
    }
    let mut scaled = camera_info.clone();
    scaled.header = regions::header(header);
    if (scaled.k.len(), scaled.r.len(), scaled.p.len()) != (9, 9, 12) {
        return Err(CameraInfoError::Shape);
    }
    let calibrated = Size { height: camera_info.height, width: camera_info.width };
    let roi = &camera_info.roi;
    let has_roi = roi.x_offset != 0 || roi.y_offset != 0 || (roi.width, roi.height) != (0, 0);
    let partial = camera_info.binning_x > 1 || camera_info.binning_y > 1 || has_roi;
    if heat == source && (partial || calibrated == source) {
        // Nothing to scale: binning and region of interest (REP-104) say of the heatmap what they say of the picture.
        return Ok(scaled);
    }
    if partial || calibrated != source {
        return Err(CameraInfoError::Size { picture: source, calibrated, partial });
    }
    let scale = [f64::from(source.width) / f64::from(heat.width), f64::from(source.height) / f64::from(heat.height)];
    for (row, scale) in scale.into_iter().enumerate() {
        scale_row(&mut scaled.k[3 * row..3 * row + 3], scale);
        scale_row(&mut scaled.p[4 * row..4 * row + 4], scale);
    }
    (scaled.width, scaled.height) = (heat.width, heat.height);
    Ok(scaled)
}

/// One row of K or P, [focal or skew..., centre, focal * baseline]: all but the centre (third column) scale alike.
fn scale_row(row: &mut [f64], scale: f64) {
    for (column, value) in row.iter_mut().enumerate() {
        *value = if column == 2 { (*value + 0.5) / scale - 0.5 } else { *value / scale };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header<'static> = Header { stamp: Stamp { sec: 5, nanosec: 6 }, frame_id: "optical" };
    const SOURCE: Size = Size { height: 480, width: 640 };
    const HEAT: Size = Size { height: 224, width: 224 };

    fn calibration() -> CameraInfo {
        CameraInfo {
            width: 640,
            height: 480,
            distortion_model: "plumb_bob".to_owned(),
            d: vec![0.1, -0.2, 0.0, 0.0, 0.0],
            k: vec![500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0],
            r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p: vec![500.0, 0.0, 300.0, -60.0, 0.0, 510.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            ..CameraInfo::default()
        }
    }

    #[test]
    fn a_picture_has_the_calibration_of_its_own_stamp_or_the_newest() {
        let calibrations = Calibrations::default();
        let focal_at = |sec| calibrations.of(Stamp { sec, nanosec: 0 }, |info| info.k[0]);
        assert_eq!(focal_at(1), None);
        for sec in 1..=70 {
            let mut zoomed = calibration();
            (zoomed.header.stamp.sec, zoomed.k[0]) = (sec, f64::from(sec));
            calibrations.offer(zoomed);
        }
        assert_eq!(focal_at(7), Some(7.0));
        assert_eq!(focal_at(1), Some(70.0), "let go by now");
        assert_eq!(focal_at(71), Some(70.0), "still to come");
        calibrations.offer(CameraInfo { d: vec![0.0; MAX_COEFFICIENTS + 1], ..calibration() });
        assert_eq!(focal_at(71), Some(70.0), "absurd");
    }

    #[test]
    fn at_source_size_only_the_header_changes() {
        let info = for_heatmap(&calibration(), HEADER, SOURCE, SOURCE).unwrap();
        assert_eq!((info.header.stamp.sec, info.header.stamp.nanosec), (5, 6));
        assert_eq!(info.header.frame_id, "optical");
        assert_eq!(CameraInfo { header: calibration().header, ..info }, calibration());
    }

    #[test]
    fn a_point_projects_to_the_same_place_in_the_resized_heatmap() {
        let info = for_heatmap(&calibration(), HEADER, SOURCE, HEAT).unwrap();
        assert_eq!((info.width, info.height), (224, 224));
        let project = |p: &[f64], [x, y, z]: [f64; 3]| {
            let row = |r: usize| p[4 * r] * x + p[4 * r + 1] * y + p[4 * r + 2] * z + p[4 * r + 3];
            [row(0) / row(2), row(1) / row(2)]
        };
        for point in [[0.0, 0.0, 1.0], [0.3, -0.2, 0.8], [-1.0, 0.5, 4.0]] {
            let [u, v] = project(&calibration().p, point);
            let [u_heat, v_heat] = project(&info.p, point);
            assert!(((u_heat + 0.5) * (640.0 / 224.0) - 0.5 - u).abs() < 1e-9);
            assert!(((v_heat + 0.5) * (480.0 / 224.0) - 0.5 - v).abs() < 1e-9);
        }
        // The middle of the picture stays the middle.
        assert!((info.k[2] - 111.5).abs() < 1e-9 && (info.k[5] - 111.5).abs() < 1e-9);
    }

    #[test]
    fn a_calibration_of_another_size_is_refused_with_both_sizes() {
        let other = CameraInfo { width: 1280, height: 720, ..calibration() };
        let error = for_heatmap(&other, HEADER, SOURCE, SOURCE).unwrap_err().to_string();
        assert!(error.contains("640x480") && error.contains("1280x720"), "{error}");
    }

    #[test]
    fn a_calibration_of_another_camera_is_refused_with_both_frames() {
        let mut other = calibration();
        other.header.frame_id = "right_optical".to_owned();
        let error = for_heatmap(&other, HEADER, SOURCE, SOURCE).unwrap_err().to_string();
        assert!(error.contains("\"optical\"") && error.contains("right_optical"), "{error}");
        other.header.frame_id = HEADER.frame_id.to_owned();
        assert!(for_heatmap(&other, HEADER, SOURCE, SOURCE).is_ok());
    }

    #[test]
    fn binning_is_kept_at_source_size_and_refused_when_resized() {
        let binned = CameraInfo { width: 1280, height: 960, binning_x: 2, binning_y: 2, ..calibration() };
        assert!(for_heatmap(&binned, HEADER, SOURCE, SOURCE).is_ok());
        assert!(for_heatmap(&binned, HEADER, SOURCE, HEAT).is_err());
    }

    #[test]
    fn matrices_of_a_wrong_size_are_refused() {
        let damaged = CameraInfo { p: vec![0.0; 11], ..calibration() };
        assert_eq!(for_heatmap(&damaged, HEADER, SOURCE, SOURCE).unwrap_err(), CameraInfoError::Shape);
    }
}
