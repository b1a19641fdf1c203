//! What the node says of itself on /diagnostics, and what it does when the model hangs.
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
    DEADLINE,
    bridge::Bridge,
    camera,
    rig::{REGIONS, Rig},
};
use serde_json::{Value, json};

const DIAGNOSTICS: &str = "/diagnostics";
const OK: u64 = 0;
const WARN: u64 = 1;
const ERROR: u64 = 2;

/// One part's status in a DiagnosticArray.
fn part<'a>(array: &'a Value, name: &str) -> &'a Value {
    let name = format!("affordance_node: {name}");
    array["status"].as_array().unwrap().iter().find(|status| status["name"] == name).unwrap()
}

/// rclpy gives a `byte` as one of bytes.
fn level(status: &Value) -> u64 {
    u64::from(camera::from_bytes(&status["level"])[0])
}

fn value<'a>(status: &'a Value, key: &str) -> &'a str {
    let values = status["values"].as_array().unwrap();
    let found = values.iter().find(|value| value["key"] == key);
    found.unwrap_or_else(|| panic!("{key}: {status}"))["value"].as_str().unwrap()
}

/// The next array whose part of that name has that level.
fn says(peer: &mut Bridge, name: &str, wanted: u64) -> Value {
    let array = peer.next_that(DIAGNOSTICS, |array| level(part(array, name)) == wanted);
    part(&array, name).clone()
}

#[test]
fn diagnostics_tell_level_reason_and_figures_of_every_part() {
    let mut rig =
        Rig::start(json!({"diagnostic_updater.period": 0.1, "input_timeout": 1.0, "execution_provider": "cpu"}));
    rig.peer.subscribe_with(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray", json!({"depth": 200}));
    let (_, answers) = rig.exchange(&[REGIONS], Rig::good);
    assert_eq!(answers.len(), 1);
    // A publisher's node has no name before all of discovery is done, which may take longer than the camera may be silent.
    let is_known = |array: &Value| value(part(array, "inputs"), "publishers") == "/test_peer";
    rig.peer.next_that(DIAGNOSTICS, is_known);
    let is_complete = |array: &Value| {
        is_known(array) && level(part(array, "inputs")) == OK && value(part(array, "outputs"), "processed") != "0"
    };
    let deadline = Instant::now() + DEADLINE;
    let array = loop {
        rig.exchange(&[REGIONS], Rig::good);
        if let Some(array) = rig.peer.next_within(DIAGNOSTICS, Duration::from_secs(1), is_complete) {
            break array;
        }
        assert!(Instant::now() < deadline, "no complete diagnostics");
    };
    let names: Vec<&str> = array["status"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["inputs", "inference", "outputs", "model"].map(|part| format!("affordance_node: {part}")));
    for status in array["status"].as_array().unwrap() {
        assert_eq!((level(status), &status["hardware_id"]), (OK, &json!("/affordance_node")), "{status}");
    }
    assert_eq!(value(part(&array, "inputs"), "topic"), "/cam/image");
    assert_eq!(value(part(&array, "inference"), "execution provider"), "cpu");
    assert!(value(part(&array, "inference"), "run p99 [ms]").parse::<f64>().unwrap() > 0.0);
    assert!(value(part(&array, "model"), "model").starts_with("colours:"));
    assert!(value(part(&array, "model"), "memory of the process [MiB]").parse::<u64>().unwrap() > 0);

    // The camera goes silent; the reason is the one that log and status give.
    let silent = says(&mut rig.peer, "inputs", WARN);
    assert_eq!(silent["message"], "publisher /test_peer is there, but nothing comes on /cam/image");
    says(&mut rig.peer, "inputs", 3);
}

#[test]
fn a_model_that_hangs_ends_the_process_with_a_status_of_its_own() {
    let bundle = ros_support::written(&models::endless_when_bright());
    let limit = 12.0;
    let mut rig = Rig::start(json!({
        "model": bundle.path(),
        "inference_timeout": limit,
        "diagnostic_updater.period": 0.1,
    }));
    rig.listen(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray");
    // Whatever is not bright it takes like any other model.
    rig.exchange(&[REGIONS], Rig::good);
    let before = rig.node.log().len();
    let bright = RgbImage::from_pixel(camera::WIDTH, camera::HEIGHT, Rgb([255; 3]));
    rig.peer.publish(rig.camera, &camera::image(&bright, "rgb8", 0));

    // First the node says so, and goes on in everything else.
    let inference = says(&mut rig.peer, "inference", ERROR);
    let message = inference["message"].as_str().unwrap();
    assert!(message.starts_with("the model has been at work on one frame for "), "{message}");
    let reasons = |status: &Value| status["reasons"].to_string();
    let status = rig.status(|status| reasons(status).contains("the model has been at work on one frame for "));
    assert_eq!(status["degraded"], true, "{status}");

    let ended = rig.node.ended();
    assert_eq!(ended.status.code(), Some(70), "{}", ended.stderr);
    let told = ended.stderr[before..].lines().filter(|line| line.contains("[ERROR]")).count();
    assert_eq!(told, 1, "one line before the end, not\n{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    let expected = "affordance_node: the model's work on a frame of /cam/image hangs: it has taken ";
    assert!(last.starts_with(expected) && last.contains("(inference_timeout)"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
