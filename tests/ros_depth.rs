//! Depth images in, metric grasps out, as a planner sees them.
//!
//! Covers: width, place and flags of aligned depth; both units; depth that is late, of another moment, frame, size or unit;
//! poses and markers.
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::time::{Duration, Instant};

use ros_support::{
    DEADLINE,
    camera::{self, HEIGHT, WIDTH},
    rig::{IMAGE, REGIONS, Rig, STATUS, count},
};
use serde_json::{Value, json};

const DEPTH: &str = "/depth/image";
const INFO: &str = "/cam/camera_info";
const POSES: &str = "/affordance_node/grasp_poses";
const MARKERS: &str = "/affordance_node/markers";
const FOCAL: f64 = 80.0;
/// The bar in the middle of the picture, the wall behind it [m], and the bar's columns [px].
const BAR_M: f32 = 0.5;
const WALL_M: f32 = 1.0;
const BAR: std::ops::Range<u32> = 41..55;

const CALIBRATED: Option<&str> = Some(camera::FRAME_ID);

/// GraspRegionArray's constants.
const OK: u64 = 1;
const LATE: u64 = 2;
const UNSYNCED: u64 = 3;
const INVALID: u64 = 4;
const NO_CAMERA_INFO: u64 = 5;
/// GraspRegion's.
const DEPTH_EDGE: u64 = 2;
const TOO_WIDE: u64 = 4;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn camera_info(frame_id: &str) -> Value {
    json!({
        "header": {"stamp": camera::stamp(), "frame_id": frame_id}, "width": WIDTH, "height": HEIGHT,
        "distortion_model": "plumb_bob", "d": [0.0, 0.0, 0.0, 0.0, 0.0],
        "k": [FOCAL, 0.0, 47.5, 0.0, FOCAL, 31.5, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [FOCAL, 0.0, 47.5, 0.0, 0.0, FOCAL, 31.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    })
}

/// The scene's depth, each pixel written by `write`.
fn depth(header: &Value, encoding: &str, write: impl Fn(f32) -> Vec<u8>) -> Value {
    let scene = |x: u32| if BAR.contains(&x) { BAR_M } else { WALL_M };
    let data: Vec<u8> =
        (0..HEIGHT).flat_map(|_| (0..WIDTH).flat_map(|x| write(scene(x))).collect::<Vec<_>>()).collect();
    json!({
        "header": header, "height": HEIGHT, "width": WIDTH, "encoding": encoding, "is_bigendian": 0,
        "step": data.len() as u32 / HEIGHT, "data": camera::bytes(&data),
    })
}

fn metres(header: &Value) -> Value {
    depth(header, "32FC1", |m| m.to_le_bytes().to_vec())
}

fn millimetres(header: &Value) -> Value {
    depth(header, "16UC1", |m| ((m * 1e3).round() as u16).to_le_bytes().to_vec())
}

/// A node that uses depth, patient enough for a busy machine, and a peer with a depth camera.
fn start(more: Value) -> Rig {
    let mut parameters = json!({"use_depth": true, "depth_wait": 1.0});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut rig = Rig::start(parameters);
    rig.peer.advertise(INFO, "sensor_msgs/msg/CameraInfo");
    rig.peer.advertise(DEPTH, IMAGE);
    rig
}

/// Sends a calibration of `camera` and a frame with what `depth` makes of its header until its regions have this state.
fn regions_with_state(
    rig: &mut Rig,
    camera: Option<&str>,
    state: u64,
    depth: impl Fn(&Value) -> Option<Value>,
) -> Value {
    let mut last = Value::Null;
    for _ in 0..20 {
        // Best effort: it may be lost.
        if let Some(frame_id) = camera {
            rig.peer.publish(INFO, &camera_info(frame_id));
        }
        let frame = Rig::good();
        if let Some(depth) = depth(&frame["header"]) {
            rig.peer.publish(DEPTH, &depth);
        }
        rig.peer.publish(rig.camera, &frame);
        let Some(messages) = rig.answers(&[REGIONS], &frame) else { continue };
        last = messages[0].clone();
        if last["depth_state"] == state {
            return last;
        }
    }
    panic!("no regions with depth_state {state}; the last: {last}");
}

fn green(regions: &Value) -> Value {
    let regions = regions["regions"].as_array().unwrap();
    regions.iter().find(|region| region["affordance"] == "green").unwrap().clone()
}

fn check_bar(region: &Value) {
    assert_eq!(region["has_3d"], true, "{region}");
    let width = f64::from(BAR.end - BAR.start) * f64::from(BAR_M) / FOCAL;
    assert!((number(&region["width"]) - width).abs() < (0.05 * width).max(0.002), "{width}: {region}");
    assert!((number(&region["depth"]) - f64::from(BAR_M)).abs() < 0.005, "{region}");
    let position = &region["pose"]["position"];
    assert!((number(&position["z"]) - f64::from(BAR_M)).abs() < 0.005, "{region}");
    let x = (number(&region["point_x"]) - 47.5) / FOCAL * f64::from(BAR_M);
    assert!((number(&position["x"]) - x).abs() < 0.005, "{region}");
    assert!((number(&region["surface_normal"]["z"]) + 1.0).abs() < 1e-3, "{region}");
    assert_eq!(number(&region["depth_valid_ratio"]), 1.0);
    assert_ne!(count(region, "flags") & DEPTH_EDGE, 0, "the bar does not fill its third: {region}");
    assert_eq!(count(region, "flags") & TOO_WIDE, 0, "{region}");
}

#[test]
fn aligned_depth_gives_metric_grasps_in_either_unit() {
    let mut rig = start(json!({}));
    rig.listen(POSES, "geometry_msgs/msg/PoseArray");
    rig.listen(MARKERS, "visualization_msgs/msg/MarkerArray");
    rig.exchange(&[REGIONS, POSES], Rig::good);
    // Without a calibration there is no 3D, and regions come all the same.
    let blind = regions_with_state(&mut rig, None, NO_CAMERA_INFO, |header| Some(metres(header)));
    assert_eq!((&green(&blind)["has_3d"], &green(&blind)["width"]), (&json!(false), &json!("nan")));
    rig.node.logged("regions have no 3D: no camera_info has arrived");

    let in_metres = regions_with_state(&mut rig, CALIBRATED, OK, |header| Some(metres(header)));
    check_bar(&green(&in_metres));
    let in_millimetres = regions_with_state(&mut rig, CALIBRATED, OK, |header| Some(millimetres(header)));
    let (a, b) = (green(&in_metres), green(&in_millimetres));
    for field in ["pose", "width", "length", "surface_normal"] {
        assert_eq!(a[field], b[field], "{field}");
    }

    let stamp = &in_millimetres["header"]["stamp"];
    let poses = rig.peer.next_that(POSES, |poses| poses["header"]["stamp"] == *stamp);
    let expected: Vec<&Value> = in_millimetres["regions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["has_3d"] == true)
        .map(|r| &r["pose"])
        .collect();
    assert_eq!(poses["poses"].as_array().unwrap().iter().collect::<Vec<_>>(), expected, "best first");
    assert_eq!(poses["header"], in_millimetres["header"]);
    let markers = rig.peer.next_that(MARKERS, |m| m["markers"][0]["header"]["stamp"] == *stamp);
    assert_eq!(markers["markers"].as_array().unwrap().len(), 3 * expected.len());
    assert!(markers["markers"].as_array().unwrap().iter().all(|m| m["action"] == 0 && m["lifetime"]["sec"] == 1));
    // What is no more is deleted.
    let none = regions_with_state(&mut rig, CALIBRATED, INVALID, |header| Some(depth(header, "32FC1", |_| vec![0; 4])));
    let stamp = &none["header"]["stamp"];
    let deleted = rig.peer.next_that(MARKERS, |m| m["markers"][0]["header"]["stamp"] == *stamp);
    assert_eq!(deleted["markers"].as_array().unwrap().len(), 3 * expected.len());
    assert!(deleted["markers"].as_array().unwrap().iter().all(|marker| marker["action"] == 2), "{deleted}");
    let poses = rig.peer.next_that(POSES, |poses| poses["header"]["stamp"] == *stamp);
    assert_eq!(poses["poses"], json!([]));
}

#[test]
fn a_picture_has_the_calibration_of_its_stamp_and_is_taken_for_what_the_parameter_says() {
    let mut rig = start(json!({"image_rectification": "rectified"}));
    rig.node.logged("(taken as rectified)");
    // Only P is of this camera, and only in the calibration that comes with the picture.
    let rectified = |header: &Value, focal: f64| {
        let mut info = camera_info(camera::FRAME_ID);
        info["header"] = header.clone();
        info["k"] = json!([7.0, 0.0, 47.5, 0.0, 7.0, 31.5, 0.0, 0.0, 1.0]);
        info["p"] = json!([focal, 0.0, 47.5, 0.0, 0.0, focal, 31.5, 0.0, 0.0, 0.0, 1.0, 0.0]);
        info
    };
    let mut frame = Rig::good();
    let mut regions = Value::Null;
    for _ in 0..20 {
        rig.peer.publish(INFO, &rectified(&frame["header"], FOCAL));
        let later = json!({"stamp": {"sec": count(&frame["header"]["stamp"], "sec") + 1, "nanosec": 0}, "frame_id": camera::FRAME_ID});
        rig.peer.publish(INFO, &rectified(&later, 2.0 * FOCAL));
        rig.peer.publish(DEPTH, &metres(&frame["header"]));
        rig.peer.publish(rig.camera, &frame);
        if let Some(messages) = rig.answers(&[REGIONS], &frame) {
            regions = messages[0].clone();
            if regions["depth_state"] == OK {
                break;
            }
        }
        frame = Rig::good();
    }
    assert_eq!(regions["depth_state"], OK, "{regions}");
    check_bar(&green(&regions));
}

#[test]
fn wrong_depth_never_gives_a_pose_and_says_why() {
    let mut rig = start(json!({"depth_wait": 0.05}));
    regions_with_state(&mut rig, CALIBRATED, OK, |header| Some(metres(header)));

    let wrong_units = |header: &Value| Some(depth(header, "32FC1", |m| (m * 1e3).to_le_bytes().to_vec()));
    let elsewhere = |header: &Value| Some(metres(&json!({"stamp": header["stamp"], "frame_id": "depth_frame"})));
    let smaller = |header: &Value| {
        let mut message = metres(header);
        message["height"] = json!(HEIGHT - 1);
        Some(message)
    };
    let colours = |header: &Value| Some(depth(header, "rgb8", |_| vec![1; 3]));
    let before = |header: &Value| {
        let sec = count(&header["stamp"], "sec") + 10;
        Some(metres(&json!({"stamp": {"sec": sec, "nanosec": 0}, "frame_id": camera::FRAME_ID})))
    };
    type Make<'a> = &'a dyn Fn(&Value) -> Option<Value>;
    let cases: [(u64, &str, Make<'_>); 6] = [
        (INVALID, "looks like millimetres", &wrong_units),
        (INVALID, "depth must be registered", &elsewhere),
        (INVALID, "expected 96x64", &smaller),
        (INVALID, "rgb8", &colours),
        (LATE, "no depth image has come in time", &|_| None),
        // Last: its depth is of the future, and stays.
        (UNSYNCED, "no depth image lies within sync_slop", &before),
    ];
    for (state, reason, make) in cases {
        let array = regions_with_state(&mut rig, CALIBRATED, state, make);
        let regions = array["regions"].as_array().unwrap();
        assert!(regions.len() >= 3, "2D is not affected: {array}");
        assert!(
            regions.iter().all(|r| r["has_3d"] == false && r["pose"]["position"]["z"] == "nan"),
            "{reason}: {array}"
        );
        let status = rig.status(|status| status["reasons"].to_string().contains(reason));
        assert_eq!(status["degraded"], true);
    }
}

#[test]
fn a_calibration_of_another_camera_gives_no_pose() {
    let mut rig = start(json!({}));
    for frame_id in ["other_camera", ""] {
        let found = format!("found \\\"{frame_id}\\\"");
        let is_told = |status: &Value| status["reasons"].to_string().contains(&found);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let array = regions_with_state(&mut rig, Some(frame_id), NO_CAMERA_INFO, |header| Some(metres(header)));
            assert!(array["regions"].as_array().unwrap().iter().all(|region| region["has_3d"] == false));
            // Before the calibration has come the state is the same, for another reason.
            if rig.peer.next_within(STATUS, Duration::from_secs(3), is_told).is_some() {
                break;
            }
            assert!(Instant::now() < deadline, "{found}");
        }
    }
    check_bar(&green(&regions_with_state(&mut rig, CALIBRATED, OK, |header| Some(metres(header)))));
}
