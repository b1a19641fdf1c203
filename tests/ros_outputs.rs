//! What the node publishes: headers, consistency between topics, who gets what and when.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use ros_support::{
    camera::{self, FRAME_ID, HEIGHT, WIDTH},
    node::{self, Node},
    rig::{COMPRESSED, HEATMAPS, IMAGE, REGIONS, Rig, STATUS, count},
};
use serde_json::{Value, json};

const HEATMAP: &str = "/affordance_node/heatmap";
const HEATMAP_INFO: &str = "/affordance_node/heatmap/camera_info";
const OVERLAY: &str = "/affordance_node/overlay";
const OVERLAY_JPEG: &str = "/affordance_node/overlay/compressed";
const LABEL_INFO: &str = "/affordance_node/label_info";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn camera_info() -> Value {
    json!({
        "header": camera::header(), "width": WIDTH, "height": HEIGHT, "distortion_model": "plumb_bob",
        "d": [0.1, 0.0, 0.0, 0.0, 0.0],
        "k": [80.0, 0.0, 47.5, 0.0, 90.0, 31.5, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [80.0, 0.0, 47.5, -8.0, 0.0, 90.0, 31.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    })
}

/// [`Rig::exchange`] with a calibration before each frame: it goes best effort and may be lost, as a camera's may.
fn exchange_calibrated(rig: &mut Rig, topics: &[&str]) -> (Value, Vec<Value>) {
    let answered = (0..20).find_map(|_| {
        rig.peer.publish("/cam/camera_info", &camera_info());
        let frame = Rig::good();
        rig.peer.publish(rig.camera, &frame);
        rig.answers(topics, &frame).map(|messages| (frame, messages))
    });
    answered.expect("a frame on every topic")
}

#[test]
fn every_output_of_a_frame_carries_its_header_and_agrees_with_the_others() {
    let mut rig = Rig::start(json!({}));
    rig.peer.advertise("/cam/camera_info", "sensor_msgs/msg/CameraInfo");
    let topics = [REGIONS, HEATMAP, HEATMAPS, OVERLAY, OVERLAY_JPEG, HEATMAP_INFO];
    rig.listen(HEATMAP, IMAGE);
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    rig.listen(OVERLAY, IMAGE);
    rig.listen(OVERLAY_JPEG, COMPRESSED);
    rig.listen(HEATMAP_INFO, "sensor_msgs/msg/CameraInfo");
    let (frame, messages) = exchange_calibrated(&mut rig, &topics);
    for (topic, message) in topics.iter().zip(&messages) {
        assert_eq!(message["header"], frame["header"], "{topic}");
    }
    let [regions, heatmap, heatmaps, overlay, jpeg, info] = &messages[..] else { unreachable!() };
    check_regions(regions);
    check_heat(heatmap, heatmaps);
    for (name, value) in [("encoding", json!("rgb8")), ("width", json!(WIDTH)), ("height", json!(HEIGHT))] {
        assert_eq!(overlay[name], value, "overlay");
    }
    assert_eq!(count(overlay, "step"), u64::from(3 * WIDTH));
    let picture = image::load_from_memory(&camera::from_bytes(&jpeg["data"])).unwrap();
    assert_eq!((picture.width(), picture.height()), (WIDTH, HEIGHT));
    assert_eq!(jpeg["format"], "rgb8; jpeg compressed bgr8");
    for name in ["width", "height", "distortion_model", "d", "k", "r", "p"] {
        assert_eq!(info[name], camera_info()[name], "at source size the calibration stays: {name}");
    }
}

fn check_regions(array: &Value) {
    assert_eq!((count(array, "source_width"), count(array, "source_height")), (WIDTH.into(), HEIGHT.into()));
    assert!(array["model_id"].as_str().unwrap().starts_with("colours:"), "{}", array["model_id"]);
    assert_eq!(array["depth_state"], 0, "depth is not in use");
    let age = number(&array["age"]["sec"]) + 1e-9 * number(&array["age"]["nanosec"]);
    assert!((0.0..ros_support::DEADLINE.as_secs_f64()).contains(&age), "age {age} s");
    let regions = array["regions"].as_array().unwrap();
    assert!(regions.len() >= 3, "one for each third at least: {array}");
    assert!(regions.is_sorted_by(|a, b| number(&a["score"]) >= number(&b["score"])), "best first");
    for region in regions {
        let third = ["red", "green", "blue"].iter().position(|name| region["affordance"] == *name).unwrap();
        assert_eq!(count(region, "class_id"), third as u64);
        let (x, y) = (number(&region["point_x"]), number(&region["point_y"]));
        let width = f64::from(WIDTH) / 3.0;
        let of_third = third as f64 * width..(third as f64 + 1.0) * width;
        assert!(of_third.contains(&x) && (0.0..f64::from(HEIGHT)).contains(&y), "({x}, {y}) of {region}");
        assert!(region["contour"].as_array().unwrap().len() >= 3);
        assert!((0.0..=1.0).contains(&number(&region["score"])));
        assert_eq!((&region["has_3d"], &region["depth"]), (&json!(false), &json!("nan")));
    }
}

fn check_heat(heatmap: &Value, heatmaps: &Value) {
    assert_eq!((count(heatmap, "width"), count(heatmap, "height")), (WIDTH.into(), HEIGHT.into()));
    assert_eq!((heatmap["encoding"].as_str(), count(heatmap, "step")), (Some("mono8"), WIDTH.into()));
    let maps: Vec<Vec<u8>> = heatmaps["heatmaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|map| {
            assert_eq!(map["image"]["header"], heatmaps["header"]);
            assert_eq!((number(&map["scale_x"]), number(&map["scale_y"])), (1.0, 1.0));
            camera::from_bytes(&map["image"]["data"])
        })
        .collect();
    assert_eq!(maps.len(), 3);
    let combined = camera::from_bytes(&heatmap["data"]);
    assert_eq!(combined.len(), (WIDTH * HEIGHT) as usize);
    let most = |at: usize| maps.iter().map(|map| map[at]).max().unwrap();
    assert!((0..combined.len()).all(|at| combined[at] == most(at)), "the combined heat is the maximum of all");
}

#[test]
fn the_node_has_these_topics_and_no_others() {
    let mut rig = Rig::start(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    let inputs = json!({"/cam/image": [IMAGE], "/cam/camera_info": ["sensor_msgs/msg/CameraInfo"]});
    let outputs = json!({
        REGIONS: ["looptrans_ros/msg/GraspRegionArray"],
        HEATMAP: [IMAGE],
        HEATMAP_INFO: ["sensor_msgs/msg/CameraInfo"],
        HEATMAPS: ["looptrans_ros/msg/HeatmapArray"],
        OVERLAY: [IMAGE],
        OVERLAY_JPEG: [COMPRESSED],
        LABEL_INFO: ["looptrans_ros/msg/LabelInfo"],
        STATUS: ["looptrans_ros/msg/NodeStatus"],
        "/affordance_node/transition_event": ["lifecycle_msgs/msg/TransitionEvent"],
        "/diagnostics": ["diagnostic_msgs/msg/DiagnosticArray"],
        "/parameter_events": ["rcl_interfaces/msg/ParameterEvent"],
        "/rosout": ["rcl_interfaces/msg/Log"],
    });
    rig.peer.topics("/affordance_node", |subscribed, published| *subscribed == inputs && *published == outputs);
}

#[test]
fn heat_at_network_size_in_floats_comes_with_a_calibration_to_match() {
    let mut rig = Rig::start(json!({"heatmap_size": "network", "heatmap_encoding": "32FC1", "affordances": ["blue"]}));
    rig.peer.advertise("/cam/camera_info", "sensor_msgs/msg/CameraInfo");
    rig.listen(HEATMAP, IMAGE);
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    rig.listen(HEATMAP_INFO, "sensor_msgs/msg/CameraInfo");
    let (_, messages) = exchange_calibrated(&mut rig, &[HEATMAP, HEATMAPS, HEATMAP_INFO]);
    let [heatmap, heatmaps, info] = &messages[..] else { unreachable!() };
    let (height, width) = (models::COLOURS_INPUT.height, models::COLOURS_INPUT.width);
    assert_eq!((count(heatmap, "width"), count(heatmap, "height")), (width.into(), height.into()));
    assert_eq!((heatmap["encoding"].as_str(), count(heatmap, "step")), (Some("32FC1"), (4 * width).into()));
    let data = camera::from_bytes(&heatmap["data"]);
    let heat: Vec<f32> = data.chunks(4).map(|sample| f32::from_le_bytes(sample.try_into().unwrap())).collect();
    assert_eq!(heat.len(), (width * height) as usize);
    assert!(heat.iter().all(|heat| (0.0..=1.0).contains(heat)) && heat.contains(&1.0));
    let maps = heatmaps["heatmaps"].as_array().unwrap();
    assert_eq!((maps.len(), &maps[0]["affordance"], &maps[0]["class_id"]), (1, &json!("blue"), &json!(2)));
    assert_eq!((number(&maps[0]["scale_x"]), number(&maps[0]["scale_y"])), (2.0, 2.0));
    assert_eq!(maps[0]["image"]["data"], heatmap["data"], "one affordance: its heat is the combined one");
    assert_eq!((count(info, "width"), count(info, "height")), (width.into(), height.into()));
    // Half of everything; centres by c' = (c + 0.5) / 2 - 0.5.
    assert_eq!(info["k"], json!([40.0, 0.0, 23.5, 0.0, 45.0, 15.5, 0.0, 0.0, 1.0]));
    assert_eq!(info["p"], json!([40.0, 0.0, 23.5, -4.0, 0.0, 45.0, 15.5, 0.0, 0.0, 0.0, 1.0, 0.0]));
}

/// Median time for the overlay's stage [ms], while somebody listens to it or nobody does.
fn overlay_millis(somebody_listens: bool) -> f64 {
    let mut rig = Rig::start(json!({}));
    let mut topics = vec![REGIONS];
    if somebody_listens {
        rig.listen(OVERLAY_JPEG, COMPRESSED);
        topics.push(OVERLAY_JPEG);
    }
    (0..5).for_each(|_| drop(rig.exchange(&topics, || camera::image(&camera::large_thirds(), "rgb8", 0))));
    if somebody_listens {
        rig.peer.unsubscribe(OVERLAY_JPEG);
        rig.exchange(&[REGIONS], Rig::good);
        rig.peer.subscribe(OVERLAY_JPEG, COMPRESSED);
        rig.exchange(&topics, Rig::good);
    }
    number(&rig.summary()["stages_ms"]["overlay"])
}

#[test]
fn the_overlay_is_rendered_only_while_somebody_listens() {
    // Drawing 307200 pixels against doing nothing: a factor of thousands.
    let (heard, unheard) = (overlay_millis(true), overlay_millis(false));
    assert!(heard > 10.0 * unheard, "{heard} ms when heard, {unheard} ms when not");
}

#[test]
fn who_comes_late_still_gets_labels_and_status() {
    let mut rig = Rig::start(json!({"heat_threshold": 0.625}));
    rig.exchange(&[REGIONS], Rig::good);
    let latched = json!({"durability": "transient_local", "depth": 1});
    rig.peer.subscribe_with(LABEL_INFO, "looptrans_ros/msg/LabelInfo", latched);
    let labels = rig.peer.next(LABEL_INFO);
    assert_eq!(labels["affordances"], json!(["red", "green", "blue"]));
    assert_eq!(labels["threshold"], json!(0.625));
    let status = rig.status(|status| count(status, "processed") > 0);
    assert_eq!(labels["model_id"], status["model_id"]);
    assert_eq!((status["state"].as_u64(), &status["degraded"]), (Some(3), &json!(false)), "{status}");
    assert_eq!((&status["execution_provider"], &status["requested_provider"]), (&json!("cpu"), &json!("cpu")));
    assert!(number(&status["age_p50"]) > 0.0 && number(&status["age_p99"]) >= number(&status["age_p50"]));
}

#[test]
fn default_viewers_and_best_effort_subscribers_both_connect() {
    let mut rig = Rig::start(json!({}));
    rig.listen(HEATMAP, IMAGE);
    rig.exchange(&[HEATMAP], Rig::good);
    rig.peer.unsubscribe(HEATMAP);
    rig.peer.subscribe_with(HEATMAP, IMAGE, json!({"reliability": "best_effort", "depth": 5}));
    rig.exchange(&[HEATMAP], Rig::good);
}

#[test]
fn a_reader_that_is_stuck_holds_nobody_up() {
    let mut rig = Rig::start(json!({}));
    let domain = rig.domain();
    let mut stuck = ros_support::bridge::Bridge::start(domain);
    for (topic, message_type) in [(HEATMAPS, "looptrans_ros/msg/HeatmapArray"), (OVERLAY, IMAGE)] {
        stuck.subscribe(topic, message_type);
    }
    rig.exchange(&[REGIONS], Rig::good);
    stuck.next(HEATMAPS);
    node::send("STOP", stuck.id());
    let before = count(&rig.fresh_status(), "processed");
    for _ in 0..30 {
        rig.exchange(&[REGIONS], || camera::image(&camera::large_thirds(), "rgb8", 0));
    }
    // A frame counts once all of it is published, and its regions come first.
    rig.fresh_status_that(|status| count(status, "processed") >= before + 30);
    node::send("CONT", stuck.id());
}

#[test]
fn node_and_topics_follow_the_remap_rules() {
    let domain = ros_support::domain::Domain::claim();
    let args = [
        "-r",
        "__ns:=/robot",
        "-r",
        "__node:=grip",
        "-r",
        "image:=front/rgb",
        "-r",
        "~/grasp_regions:=/grasps",
        "--log-level",
        "warn",
    ];
    // launch_ros writes the node's name first; the last rule for the same thing does not win in rcl, so name it once.
    let params = node::params_file(&node::parameters(json!({"input_reliability": "reliable"})));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_affordance_node"));
    command.arg("--ros-args").args(args).arg("--params-file").arg(params.path());
    domain.apply(&mut command);
    let node = Node::spawn(command);
    let mut peer = ros_support::bridge::Bridge::start(&domain);
    peer.advertise("/robot/front/rgb", IMAGE);
    peer.subscribe("/grasps", "looptrans_ros/msg/GraspRegionArray");
    peer.subscribe("/robot/grip/status", "looptrans_ros/msg/NodeStatus");
    peer.topics("/robot/grip", |subscribed, _| subscribed["/robot/front/rgb"] == json!([IMAGE]));
    let arrived = (0..20).any(|_| {
        let frame = Rig::good();
        peer.publish("/robot/front/rgb", &frame);
        let patience = std::time::Duration::from_secs(2);
        peer.next_within("/grasps", patience, |message| message["header"] == frame["header"]).is_some()
    });
    assert_eq!(node.stop("TERM").status.code(), Some(0));
    assert!(arrived, "no regions on /grasps");
}

#[test]
fn simulated_time_is_the_time_of_ages_and_stamps() {
    let mut rig = Rig::start(json!({"use_sim_time": true, "input_timeout": 0.3, "max_input_age": 0.5}));
    let status = rig.status(|status| !status["reasons"].as_array().unwrap().is_empty());
    assert!(status["reasons"][0].as_str().unwrap().contains("waiting for /clock"), "{status}");
    rig.peer.advertise("/clock", "rosgraph_msgs/msg/Clock");
    let at = |nanosec: u64| {
        let mut frame = Rig::good();
        frame["header"] = json!({"stamp": {"sec": 1000, "nanosec": nanosec}, "frame_id": FRAME_ID});
        frame
    };
    let mut nanosec = 0;
    let regions = loop {
        // Best effort: send the clock again and again, as /clock is.
        rig.peer.publish("/clock", &json!({"clock": {"sec": 1000, "nanosec": 250_000_000}}));
        nanosec += 1_000_000;
        let frame = at(nanosec);
        rig.peer.publish(rig.camera, &frame);
        if let Some(mut messages) = rig.answers(&[REGIONS], &frame) {
            break messages.remove(0);
        }
        assert!(nanosec < 20_000_000, "no frame was processed in simulated time");
    };
    assert_eq!(regions["age"]["sec"], 0);
    assert_eq!(count(&regions["age"], "nanosec"), 250_000_000 - nanosec);
    let status = rig.peer.next_that(STATUS, |status| count(status, "processed") >= 1);
    assert_eq!(status["header"]["stamp"], json!({"sec": 1000, "nanosec": 250_000_000}));
}
