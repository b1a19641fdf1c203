//! The parameter services of a running node, as ros2 param and rclpy's clients use them.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::time::Duration;

use ros_support::{
    camera,
    rig::{HEATMAPS, REGIONS, Rig},
};
use serde_json::{Value, json};

const EVENTS: &str = "/parameter_events";

fn call(rig: &mut Rig, service: &str, kind: &str, request: Value) -> Value {
    rig.peer.call(&format!("/affordance_node/{service}"), &format!("rcl_interfaces/srv/{kind}"), request)
}

fn parameter(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::String(text) => json!({"type": 4, "string_value": text}),
        Value::Array(names) => json!({"type": 9, "string_array_value": names}),
        Value::Number(number) if number.is_f64() => json!({"type": 3, "double_value": number}),
        Value::Number(number) => json!({"type": 2, "integer_value": number}),
        other => panic!("{other}"),
    };
    json!({"name": name, "value": value})
}

/// The reason; empty when it was set.
fn set(rig: &mut Rig, name: &str, value: Value) -> String {
    let request = json!({"parameters": [parameter(name, &value)]});
    let answer = call(rig, "set_parameters", "SetParameters", request);
    let result = &answer["results"][0];
    assert_eq!(result["successful"].as_bool().unwrap(), result["reason"] == "", "{result}");
    result["reason"].as_str().unwrap().to_owned()
}

fn get(rig: &mut Rig, name: &str) -> Value {
    call(rig, "get_parameters", "GetParameters", json!({"names": [name]}))["values"][0].clone()
}

/// Sets max_rate until the peer has been found by the writer of events, then to 25.0, which must be told.
fn changes_are_told(rig: &mut Rig) {
    rig.peer.subscribe_with(EVENTS, "rcl_interfaces/msg/ParameterEvent", json!({"depth": 100}));
    // The peer publishes such events too, so that partners can't be counted.
    let found = (1..=20).any(|rate| {
        assert_eq!(set(rig, "max_rate", json!(f64::from(rate))), "");
        rig.peer.next_within(EVENTS, Duration::from_secs(2), of_the_node).is_some()
    });
    assert!(found, "no change was told");
    assert_eq!(set(rig, "max_rate", json!(25.0)), "");
    assert_eq!(get(rig, "max_rate")["double_value"], json!(25.0));
    let value = |event: &Value| event["changed_parameters"][0]["value"]["double_value"].clone();
    let event = rig.peer.next_that(EVENTS, |event| of_the_node(event) && value(event) == json!(25.0));
    assert_eq!(event["changed_parameters"][0]["name"], "max_rate");
}

fn of_the_node(event: &Value) -> bool {
    event["node"] == "/affordance_node"
}

#[test]
fn parameters_are_described_listed_read_and_set_over_ros() {
    let mut rig = Rig::start(json!({}));
    let names = call(&mut rig, "list_parameters", "ListParameters", json!({}))["result"]["names"].clone();
    assert!(names.as_array().unwrap().contains(&json!("max_rate")), "{names}");
    let request = json!({"names": ["max_rate", "max_regions", "model", "no_such"]});
    let described = call(&mut rig, "describe_parameters", "DescribeParameters", request.clone());
    let [rate, regions, model, unknown] = [0, 1, 2, 3].map(|n| &described["descriptors"][n]);
    let range = &rate["floating_point_range"][0];
    assert_eq!((&range["from_value"], &range["to_value"]), (&json!(0.0), &json!(1000.0)));
    assert_eq!((&rate["read_only"], &rate["type"]), (&json!(false), &json!(3)));
    assert_eq!(regions["integer_range"][0]["to_value"], json!(256));
    assert_eq!((&model["read_only"], &model["type"], &unknown["type"]), (&json!(true), &json!(4), &json!(0)));
    let types = call(&mut rig, "get_parameter_types", "GetParameterTypes", request);
    assert_eq!(types["types"], camera::bytes(&[3, 2, 4, 0]));

    changes_are_told(&mut rig);

    for (name, value, part) in [
        ("max_rate", json!(10), "write 10.0"),
        ("max_rate", json!(-1.0), "0.0 to 1000.0"),
        ("model", json!("/other"), "read-only"),
        ("max_rtae", json!(1.0), "max_rtae"),
        ("affordances", json!(["red", "reed"]), "did you mean red?"),
    ] {
        let reason = set(&mut rig, name, value);
        assert!(reason.contains(part), "{name}: {reason}");
    }
    // An empty list, as `ros2 param set` (bools) and rclpy (bytes) send it, and with a type of ours.
    for kind in [6, 5, 9] {
        assert_eq!(set(&mut rig, "affordances", json!(["red"])), "");
        let empty = json!({"parameters": [{"name": "affordances", "value": {"type": kind}}]});
        let answer = call(&mut rig, "set_parameters", "SetParameters", empty);
        assert_eq!(answer["results"][0]["reason"], "", "{kind}");
        assert_eq!(get(&mut rig, "affordances")["string_array_value"], json!([]));
    }
    let pair = [parameter("max_regions", &json!(3)), parameter("min_region_score", &json!(1.5))];
    let answer = call(&mut rig, "set_parameters_atomically", "SetParametersAtomically", json!({"parameters": pair}));
    assert_eq!(answer["result"]["successful"], json!(false), "{answer}");
    assert_eq!(get(&mut rig, "max_regions")["integer_value"], json!(16), "all or none");
    assert_eq!(get(&mut rig, "max_rate")["double_value"], json!(25.0));
}

#[test]
fn a_change_is_seen_in_the_next_results() {
    let mut rig = Rig::start(json!({}));
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let (_, messages) = rig.exchange(&[REGIONS, HEATMAPS], Rig::good);
    assert_eq!(messages[1]["heatmaps"].as_array().unwrap().len(), 3);
    assert_eq!(messages[1]["heatmaps"][0]["image"]["encoding"], "mono8");
    assert_eq!(set(&mut rig, "affordances", json!(["blue"])), "");
    assert_eq!(set(&mut rig, "heatmap_encoding", json!("32FC1")), "");
    assert_eq!(set(&mut rig, "heatmap_size", json!("network")), "");
    let (_, messages) = rig.exchange(&[REGIONS, HEATMAPS], Rig::good);
    let maps = messages[1]["heatmaps"].as_array().unwrap();
    assert_eq!((maps.len(), &maps[0]["affordance"]), (1, &json!("blue")));
    assert_eq!(maps[0]["image"]["encoding"], "32FC1");
    assert_ne!(maps[0]["image"]["width"], messages[1]["source_width"]);
    assert!(messages[0]["regions"].as_array().unwrap().iter().all(|region| region["affordance"] == "blue"));
    let labels = "/affordance_node/label_info";
    let latched = json!({"durability": "transient_local", "depth": 1});
    rig.peer.subscribe_with(labels, "looptrans_ros/msg/LabelInfo", latched);
    assert_eq!(set(&mut rig, "heat_threshold", json!(0.75)), "");
    rig.peer.next_that(labels, |labels| labels["threshold"] == json!(0.75));
}

#[test]
fn parallel_calls_are_all_answered_and_a_client_that_vanishes_does_no_harm() {
    let mut rig = Rig::start(json!({}));
    let (service, kind) = ("/affordance_node/get_parameters", "rcl_interfaces/srv/GetParameters");
    let request = json!({"names": ["max_regions"]});
    for _ in 0..3 {
        rig.peer.vanish(service, kind, request.clone());
    }
    let answers = rig.peer.call_in_parallel(service, kind, request, 50);
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| answer["values"][0]["integer_value"] == json!(16)), "{answers:?}");
    rig.exchange(&[REGIONS], Rig::good);
    rig.summary();
}
