//! [`Perception`] as looptrans_ros/GraspRegionArray.

use r2r::{
    builtin_interfaces::msg::{Duration, Time},
    geometry_msgs::msg::{Point, Point32, Pose, Quaternion, Vector3},
    looptrans_ros::msg::{GraspRegion as GraspRegionMsg, GraspRegionArray},
    std_msgs,
};

use super::{
    image_message::Header,
    text::{MAX_FRAME_ID_BYTES, clean_prefix},
};
use crate::{
    perceive::{Frame, Stamp, grasp::GraspRegion, pipeline::Perception},
    robot::PublishFacts,
};

/// GraspRegionArray.NONE: depth is not in use.
const DEPTH_NONE: u8 = GraspRegionArray::NONE as u8;

/// The message for one processed frame. Without depth `has_3d` is false and every field of the 3D part is NaN, or 0 for
/// the share of valid depth: nobody can mistake them for a place.
pub fn message(frame: &Frame<'_>, perception: &Perception, facts: &PublishFacts, model_id: &str) -> GraspRegionArray {
    GraspRegionArray {
        header: header(Header::from(frame)),
        model_id: model_id.to_owned(),
        source_width: perception.source.width,
        source_height: perception.source.height,
        age: duration(facts.age_nanos),
        frames_dropped: facts.frames_dropped,
        depth_state: DEPTH_NONE,
        regions: perception.regions.iter().map(region).collect(),
    }
}

/// The typed form of a header, cut to what C strings can hold.
pub fn header(header: Header<'_>) -> std_msgs::msg::Header {
    std_msgs::msg::Header {
        stamp: time(header.stamp),
        frame_id: clean_prefix(header.frame_id.as_bytes(), MAX_FRAME_ID_BYTES).to_owned(),
    }
}

/// The typed form of a stamp.
pub fn time(stamp: Stamp) -> Time {
    Time { sec: stamp.sec, nanosec: stamp.nanosec }
}

/// Nanoseconds as seconds and a remainder in [0, 1) s; what does not fit is held at the ends.
fn duration(nanos: i64) -> Duration {
    const SECOND: i64 = 1_000_000_000;
    let sec = nanos.div_euclid(SECOND);
    match i32::try_from(sec) {
        // The remainder is below 10^9.
        Ok(sec) => Duration { sec, nanosec: nanos.rem_euclid(SECOND) as u32 },
        Err(_) => Duration { sec: if sec < 0 { i32::MIN } else { i32::MAX }, nanosec: 0 },
    }
}

fn region(region: &GraspRegion) -> GraspRegionMsg {
    let nan = f64::NAN;
    GraspRegionMsg {
        affordance: region.affordance.to_string(),
        class_id: region.class_id,
        score: region.score,
        score_peak: region.score_peak,
        contour: region.contour.iter().map(|&[x, y]| Point32 { x, y, z: 0.0 }).collect(),
        center_x: region.center[0],
        center_y: region.center[1],
        size_x: region.size[0],
        size_y: region.size[1],
        theta: region.theta_rad,
        point_x: region.point[0],
        point_y: region.point[1],
        closing_angle: region.closing_angle_rad,
        has_3d: false,
        pose: Pose {
            position: Point { x: nan, y: nan, z: nan },
            orientation: Quaternion { x: nan, y: nan, z: nan, w: nan },
        },
        width: f32::NAN,
        length: f32::NAN,
        width_stddev: f32::NAN,
        surface_normal: Vector3 { x: nan, y: nan, z: nan },
        depth: f32::NAN,
        depth_valid_ratio: 0.0,
        track_id: String::new(),
        flags: region.flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_remainder_within_the_second_on_both_sides_of_zero() {
        let parts = |nanos| {
            let Duration { sec, nanosec } = duration(nanos);
            (sec, nanosec)
        };
        assert_eq!(parts(1_500_000_000), (1, 500_000_000));
        assert_eq!(parts(-1), (-1, 999_999_999));
        assert_eq!(parts(0), (0, 0));
        assert_eq!(parts(i64::MAX).0, i32::MAX);
        assert_eq!(parts(i64::MIN).0, i32::MIN);
    }
}
