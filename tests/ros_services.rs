//! `~/detect`, `~/enable` and `~/reset` of a running node, as ros2 service and rclpy's clients call them.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use ros_support::{
    DEADLINE, camera,
    rig::{HEATMAPS, REGIONS, Rig, count},
};
use serde_json::{Value, json};

const DETECT: &str = "/affordance_node/detect";
const DETECT_KIND: &str = "looptrans_ros/srv/Detect";
/// depth_state of a GraspRegionArray.
const LATE: u64 = 2;

/// Asks and waits for the answer.
fn detect(rig: &mut Rig, request: Value) -> Value {
    rig.peer.call(DETECT, DETECT_KIND, request)
}

/// The answers to that many requests, which wait while frames are sent.
fn detect_while_frames_come(rig: &mut Rig, request: Value, times: usize) -> Vec<Value> {
    rig.peer.ask(DETECT, DETECT_KIND, request, times);
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        rig.peer.publish(rig.camera, &Rig::good());
        if let Some(answers) = rig.peer.answers_within(Duration::from_millis(200)) {
            return answers;
        }
    }
    panic!("no answer");
}

/// An answer that holds results.
fn seen(rig: &mut Rig, request: Value) -> Value {
    let answer = detect_while_frames_come(rig, request, 1).remove(0);
    assert_eq!((&answer["success"], &answer["message"]), (&json!(true), &json!("")), "{answer}");
    answer
}

/// Why an answer holds none.
fn refusal(answer: &Value) -> String {
    assert_eq!((&answer["success"], &answer["regions"]["regions"]), (&json!(false), &json!([])), "{answer}");
    answer["message"].as_str().unwrap().to_owned()
}

fn enable(rig: &mut Rig, is_on: bool) -> Value {
    rig.peer.call("/affordance_node/enable", "std_srvs/srv/SetBool", json!({"data": is_on}))
}

fn reset(rig: &mut Rig) -> Value {
    rig.peer.call("/affordance_node/reset", "std_srvs/srv/Trigger", json!({}))
}

fn change(rig: &mut Rig, label: &str) {
    let request = json!({"transition": {"label": label}});
    let answer = rig.peer.call("/affordance_node/change_state", "lifecycle_msgs/srv/ChangeState", request);
    assert_eq!(answer["success"], true, "{label}");
}

/// Regions without what the topic alone can say: when it was published, and what was dropped before.
fn result(regions: &Value) -> Value {
    let mut regions = regions.clone();
    for field in ["age", "frames_dropped"] {
        regions.as_object_mut().unwrap().remove(field).unwrap();
    }
    // NaN, where there is no 3D, is a text here and equals itself.
    regions
}

#[test]
fn a_request_gets_what_the_topics_get_and_its_own_actions_if_it_wants() {
    let mut rig = Rig::start(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    let plain = seen(&mut rig, json!({"timeout": 30.0}));
    assert_eq!(plain["heatmaps"]["heatmaps"], json!([]), "not wanted");
    let stamp = plain["regions"]["header"]["stamp"].clone();
    let published = rig.peer.next_that(REGIONS, |regions| regions["header"]["stamp"] == stamp);
    assert_eq!(result(&plain["regions"]), result(&published));
    assert!(plain["regions"]["regions"].as_array().unwrap().len() >= 3, "{plain}");

    // Nobody listens to the topic: the maps are made for who asks.
    let blue = seen(&mut rig, json!({"timeout": 30.0, "affordances": ["blue"], "want_heatmaps": true}));
    let regions = blue["regions"]["regions"].as_array().unwrap();
    assert!(!regions.is_empty() && regions.iter().all(|region| region["affordance"] == "blue"), "{blue}");
    assert_eq!(blue["heatmaps"]["heatmaps"][0]["affordance"], "blue");
    let stamp = blue["regions"]["header"]["stamp"].clone();
    let beside = rig.peer.next_that(REGIONS, |regions| regions["header"]["stamp"] == stamp);
    assert!(beside["regions"].as_array().unwrap().iter().any(|region| region["affordance"] == "red"), "{beside}");

    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let all = seen(&mut rig, json!({"timeout": 30.0, "want_heatmaps": true}));
    let stamp = all["heatmaps"]["header"]["stamp"].clone();
    let published = rig.peer.next_that(HEATMAPS, |heatmaps| heatmaps["header"]["stamp"] == stamp);
    assert_eq!(all["heatmaps"], published);
    assert_eq!(published["heatmaps"].as_array().unwrap().len(), 3);
    let lean = seen(&mut rig, json!({"timeout": 30.0}));
    assert_eq!(lean["heatmaps"]["heatmaps"], json!([]), "also while somebody listens to the topic");
    rig.summary();
}

#[test]
fn requests_that_cannot_be_answered_are_refused_with_the_reason() {
    let mut rig = Rig::start(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    for (request, part) in [
        (json!({"timeout": 0.0}), "no frame came in time"),
        (json!({"timeout": 0.2}), "no frame came in time"),
        (json!({"timeout": -1.0}), "timeout: expected 0 to 60 s, found -1"),
        (json!({"timeout": 30.0, "affordances": ["reed"]}), "did you mean red?"),
        (json!({"timeout": 30.0, "camera": "left"}), "the node has one camera, whose name is empty"),
    ] {
        let reason = refusal(&detect(&mut rig, request.clone()));
        assert!(reason.contains(part), "{request}: {reason}");
    }
    // Clients that are gone before the answer, and many at once.
    for _ in 0..3 {
        rig.peer.vanish(DETECT, DETECT_KIND, json!({"timeout": 0.5}));
    }
    let answers = detect_while_frames_come(&mut rig, json!({"timeout": 30.0}), 50);
    let is_busy = |answer: &&Value| answer["message"].as_str().unwrap().starts_with("busy: 32 requests wait");
    let (busy, answered) = (answers.iter().filter(is_busy).count(), answers.iter().filter(|a| a["success"] == true));
    assert_eq!(busy + answered.count(), 50, "{answers:?}");

    // A deactivation answers who waits.
    rig.peer.ask(DETECT, DETECT_KIND, json!({"timeout": 60.0}), 1);
    change(&mut rig, "deactivate");
    let reason = refusal(&rig.peer.answers().remove(0));
    assert!(reason.contains("deactivated meanwhile") || reason.contains("inactive"), "{reason}");
    assert_eq!(refusal(&detect(&mut rig, json!({}))), "the node is inactive: activate it first");
    assert_eq!(enable(&mut rig, false)["message"], "the node is inactive: activate it first");
    change(&mut rig, "cleanup");
    assert_eq!(reset(&mut rig)["success"], false);
    assert_eq!(reset(&mut rig)["message"], "the node is unconfigured: configure and activate it first");
    rig.summary();
}

#[test]
fn on_demand_a_frame_is_processed_when_somebody_asks_and_published_as_well() {
    let mut rig = Rig::start(json!({"mode": "on_demand"}));
    let first = seen(&mut rig, json!({"timeout": 30.0}));
    let stamp = first["regions"]["header"]["stamp"].clone();
    rig.peer.next_that(REGIONS, |regions| regions["header"]["stamp"] == stamp);
    rig.peer.forget(REGIONS);
    // Frames nobody asks for wait, the newest of them for the next request.
    for _ in 0..3 {
        rig.peer.publish(rig.camera, &Rig::good());
    }
    rig.fresh_status();
    assert_eq!(rig.peer.pending(REGIONS), 0, "nothing is published that nobody asked for");
    let waiting = detect(&mut rig, json!({"timeout": 30.0, "affordances": ["green"]}));
    assert_eq!(waiting["success"], true, "{waiting}");
    let published = rig.peer.next(REGIONS);
    assert_eq!(result(&published), result(&waiting["regions"]));
    let status = rig.status(|status| count(status, "processed") >= 2);
    assert_eq!(count(&status, "processed"), 2, "{status}");
    rig.summary();
}

#[test]
fn a_disabled_node_drops_what_comes_and_does_not_call_that_silence() {
    let mut rig = Rig::start(
        json!({"input_timeout": 0.3, "use_depth": true, "depth_wait": 0.01, "diagnostic_updater.period": 0.1}),
    );
    rig.exchange(&[REGIONS], Rig::good);
    // What is said of 3D belongs to pictures that are looked at.
    rig.status(|status| status["reasons"].to_string().contains("camera_info"));
    assert_eq!(enable(&mut rig, false)["success"], true);
    rig.listen("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    let says = |status: &Value| {
        let is_part = ["inputs", "outputs"].iter().any(|part| status["name"] == format!("affordance_node: {part}"));
        is_part
            && camera::from_bytes(&status["level"]) == [0]
            && status["message"] == "disabled by ~/enable: frames are dropped"
    };
    let both = |array: &Value| array["status"].as_array().unwrap().iter().filter(|&status| says(status)).count() == 2;
    rig.peer.next_that("/diagnostics", both);
    let off = |status: &Value| status["reasons"].to_string().contains("disabled by ~/enable");
    rig.status(off);
    let complaints = |rig: &Rig| rig.node.log().matches("no frame processed").count();
    let before = complaints(&rig);
    rig.peer.publish(rig.camera, &Rig::good());
    let reason = refusal(&detect(&mut rig, json!({"timeout": 30.0})));
    assert_eq!(reason, "disabled by ~/enable");
    // The third status from now comes two seconds later, many times input_timeout.
    let [_, _, status] = [(); 3].map(|()| rig.fresh_status());
    assert_eq!((status["reasons"].as_array().unwrap().len(), &status["cameras"][0]["silence"]), (1, &json!("")));
    let dropped = status["cameras"][0]["loss_reasons"].as_array().unwrap().contains(&json!("disabled"));
    assert!(dropped, "{status}");
    assert_eq!(complaints(&rig), before, "it was asked for");
    assert_eq!(enable(&mut rig, true)["success"], true);
    rig.exchange(&[REGIONS], Rig::good);
    rig.status(|status| !off(status));

    // Nor is it the camera's fault that an inactive node sees nothing.
    enable(&mut rig, false);
    change(&mut rig, "deactivate");
    let [_, _, status] = [(); 3].map(|()| rig.fresh_status());
    assert_eq!((&status["reasons"], &status["cameras"][0]["silence"]), (&json!([]), &json!("")), "{status}");
    // A fresh activation is enabled.
    change(&mut rig, "activate");
    rig.exchange(&[REGIONS], Rig::good);
    rig.summary();
}

#[test]
fn after_a_reset_the_node_knows_nothing_of_what_came_before() {
    let mut rig = Rig::start(json!({"use_depth": true, "depth_wait": 0.01}));
    rig.peer.advertise("/cam/camera_info", "sensor_msgs/msg/CameraInfo");
    let intrinsics = json!([80.0, 0.0, 47.5, 0.0, 80.0, 31.5, 0.0, 0.0, 1.0]);
    let info = json!({
        "header": camera::header(), "width": camera::WIDTH, "height": camera::HEIGHT,
        "distortion_model": "plumb_bob", "d": [0.0, 0.0, 0.0, 0.0, 0.0], "k": intrinsics,
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [80.0, 0.0, 47.5, 0.0, 0.0, 80.0, 31.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    });
    let calibrated = (0..20).find_map(|_| {
        // Best effort: it may be lost.
        rig.peer.publish("/cam/camera_info", &info);
        let (frame, messages) = rig.exchange(&[REGIONS], Rig::good);
        // With a calibration, only depth is missing.
        (messages[0]["depth_state"] == LATE).then_some(frame)
    });
    let frame = calibrated.expect("a calibration arrives");
    rig.peer.publish(rig.camera, &frame);
    rig.status(|status| status["cameras"][0]["loss_reasons"].to_string().contains("duplicate"));
    assert_eq!(reset(&mut rig)["success"], true);
    let status = rig.fresh_status();
    assert_eq!((count(&status, "frames_in"), count(&status, "processed"), count(&status, "dropped")), (0, 0, 0));
    rig.peer.publish(rig.camera, &frame);
    let again = rig.peer.next_that(REGIONS, |regions| regions["header"]["stamp"] == frame["header"]["stamp"]);
    assert_eq!(again["depth_state"], LATE, "the calibration, which may come but once, is not forgotten");
    rig.status(|status| count(status, "processed") == 1);
    rig.summary();
}

#[test]
fn while_a_run_does_not_end_no_more_than_some_requests_wait_for_it() {
    let bundle = ros_support::written(&models::endless_when_bright());
    let mut rig = Rig::start(json!({"model": bundle.path(), "inference_timeout": 600.0}));
    rig.exchange(&[REGIONS], Rig::good);
    let bright = RgbImage::from_pixel(camera::WIDTH, camera::HEIGHT, Rgb([255; 3]));
    rig.peer.publish(rig.camera, &camera::image(&bright, "rgb8", 0));

    let expected = "busy: 64 requests wait already; ask again when some of them are answered";
    let deadline = Instant::now() + DEADLINE;
    for sent in 1.. {
        rig.peer.ask(DETECT, DETECT_KIND, json!({"timeout": 60.0}), 1);
        // Before that all of them wait; one that came before the bright picture may have been refused.
        let patience = if sent > 64 { Duration::from_millis(300) } else { Duration::ZERO };
        let answers = rig.peer.answers_within(patience).unwrap_or_default();
        if answers.iter().any(|answer| refusal(answer) == expected) {
            break;
        }
        assert!(Instant::now() < deadline, "{sent} requests were sent");
    }
    let answer = reset(&mut rig);
    assert_eq!((&answer["success"], &answer["message"]), (&json!(false), &json!(expected)));
}
