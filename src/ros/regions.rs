//! [`Perception`] as looptrans_ros/GraspRegionArray.

use r2r::{
    builtin_interfaces::msg::{Duration, Time},
    geometry_msgs::msg::{Point, Point32, Pose, Quaternion, Vector3},
    looptrans_ros::msg::{GraspRegion as GraspRegionMsg, GraspRegionArray},
    std_msgs,
};

use crate::{
    message::{
        image::Header,
        text::{MAX_FRAME_ID_BYTES, clean_prefix},
    },
    perceive::{
        Frame, Stamp,
        depth::{DepthState, MetricGrasp, RegionDepth},
        grasp::GraspRegion,
        pipeline::Perception,
    },
    robot::{PublishFacts, depth::DepthResult},
};

/// The message for one processed frame. Where a region has no depth, `has_3d` is false and every field of the 3D part is
/// NaN, or 0 for the share of valid depth: nobody can mistake them for a place.
pub fn message(
    frame: &Frame<'_>,
    perception: &Perception,
    depth: &DepthResult,
    facts: &PublishFacts,
    model_id: &str,
) -> GraspRegionArray {
    // Where depth says nothing there is nothing for each region.
    let depths = depth.regions.iter().copied().chain(std::iter::repeat(RegionDepth::default()));
    GraspRegionArray {
        header: header(Header::from(frame)),
        model_id: model_id.to_owned(),
        source_width: perception.source.width,
        source_height: perception.source.height,
        age: duration(facts.age_nanos),
        frames_dropped: facts.frames_dropped,
        depth_state: depth_state(depth.state),
        regions: perception.regions.iter().zip(depths).map(|(r, depth)| region(r, &depth)).collect(),
    }
}

/// The message's constant.
fn depth_state(state: DepthState) -> u8 {
    match state {
        DepthState::None => GraspRegionArray::NONE as u8,
        DepthState::Ok => GraspRegionArray::OK as u8,
        DepthState::Late => GraspRegionArray::LATE as u8,
        DepthState::Unsynced => GraspRegionArray::UNSYNCED as u8,
        DepthState::Invalid => GraspRegionArray::INVALID as u8,
        DepthState::NoCameraInfo => GraspRegionArray::NO_CAMERA_INFO as u8,
    }
}

/// A grasp's place and orientation.
pub fn pose(grasp: &MetricGrasp) -> Pose {
    let ([px, py, pz], [x, y, z, w]) = (grasp.position_m, grasp.orientation_xyzw);
    Pose { position: Point { x: px, y: py, z: pz }, orientation: Quaternion { x, y, z, w } }
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

fn region(region: &GraspRegion, depth: &RegionDepth) -> GraspRegionMsg {
    let nan = f64::NAN;
    let nowhere = MetricGrasp {
        position_m: [nan; 3],
        orientation_xyzw: [nan; 4],
        width_m: nan,
        width_stddev_m: nan,
        length_m: nan,
        surface_normal: [nan; 3],
    };
    let grasp = depth.grasp.unwrap_or(nowhere);
    let [nx, ny, nz] = grasp.surface_normal;
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
        has_3d: depth.grasp.is_some(),
        pose: pose(&grasp),
        width: grasp.width_m as f32,
        length: grasp.length_m as f32,
        width_stddev: grasp.width_stddev_m as f32,
        surface_normal: Vector3 { x: nx, y: ny, z: nz },
        depth: grasp.position_m[2] as f32,
        depth_valid_ratio: depth.valid_ratio,
        track_id: String::new(),
        flags: region.flags | depth.flags,
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
