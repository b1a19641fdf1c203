//! `qos_overrides`: what the node's topics really ask and offer.
//!
//! Covers: overrides by file and by `-p`, for inputs, outputs and the node's own topics, of one camera and of a named one;
//! refusals; warnings; what a silence is then explained by.
//! Needs: `source scripts/env.sh`. Not asserted: history and depth over discovery, which Fast DDS does not tell; a
//! latecomer counts the messages that were kept instead.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::time::Duration;

use ros_support::{
    bridge::Bridge,
    domain::Domain,
    node::{self, Node},
    rig::{IMAGE, REGIONS, Rig, STATUS},
};
use serde_json::{Value, json};

const NODE: &str = "/affordance_node";
/// rmw's infinite time [ns].
const FOREVER: i64 = i64::MAX;
const CAMERA: [&str; 2] = ["-r", "image:=/cam/image"];

/// Those of the policies that `expected` names.
fn policies(actual: &Value, expected: &Value) -> Value {
    expected.as_object().unwrap().keys().map(|name| (name.clone(), actual[name].clone())).collect()
}

#[track_caller]
fn assert_qos(peer: &mut Bridge, topic: &str, expected: Value) {
    let actual = peer.qos(NODE, topic);
    assert_eq!(policies(&actual, &expected), expected, "{topic}: {actual}");
}

#[test]
fn overrides_reach_the_topics_they_name_and_no_others() {
    let domain = Domain::claim();
    let mut peer = Bridge::start(&domain);
    let overrides = json!({"qos_overrides": {
        "/cam/image": {"subscription": {
            "reliability": "reliable", "durability": "transient_local", "deadline": 500_000_000,
            "liveliness": "manual_by_topic", "liveliness_lease_duration": 700_000_000,
        }},
        "/cam/camera_info": {"subscription": {"reliability": "reliable"}, "publisher": {"durability": "transient_local"}},
        "/affordance_node/heatmap": {"publisher": {
            "reliability": "best_effort", "durability": "transient_local", "deadline": 250_000_000,
            "lifespan": 2_000_000_000, "liveliness": "manual_by_topic", "liveliness_lease_duration": 3_000_000_000_i64,
        }},
        "/affordance_node/label_info.publisher.reliability": "best_effort",
        "/affordance_node/status.publisher.lifespan": 5_000_000_000_i64,
        "/diagnostics.publisher": {"durability": "transient_local"},
    }});
    let camera_info = ["-r", "camera_info:=/cam/camera_info", "-p", "use_depth:=true"];
    let by_argument = ["-p", "qos_overrides./parameter_events.publisher.reliability:=best_effort"];
    let depth = ["-p", "qos_overrides./depth/image.subscription.reliability:=reliable"];
    let poses = ["-p", "qos_overrides./affordance_node/grasp_poses.publisher.deadline:=900000000"];
    let args = [&CAMERA[..], &camera_info, &by_argument, &depth, &poses].concat();
    let mut node = Node::start_with(&domain, overrides, &args);
    node.logged("waiting for images");

    let asked = json!({
        "reliability": "reliable", "durability": "transient_local", "deadline": 500_000_000,
        "liveliness": "manual_by_topic", "liveliness_lease_duration": 700_000_000,
    });
    assert_qos(&mut peer, "/cam/image", asked);
    let own = json!({"reliability": "reliable", "durability": "volatile", "deadline": FOREVER});
    assert_qos(&mut peer, "/cam/camera_info", own.clone());
    assert_qos(&mut peer, "/depth/image", json!({"reliability": "reliable", "durability": "volatile"}));
    let offered = json!({
        "reliability": "best_effort", "durability": "transient_local", "deadline": 250_000_000,
        "lifespan": 2_000_000_000, "liveliness": "manual_by_topic", "liveliness_lease_duration": 3_000_000_000_i64,
    });
    assert_qos(&mut peer, "/affordance_node/heatmap", offered);
    assert_qos(&mut peer, "/affordance_node/grasp_regions", own);
    assert_qos(&mut peer, "/affordance_node/grasp_poses", json!({"reliability": "reliable", "deadline": 900_000_000}));
    let latched = json!({"reliability": "best_effort", "durability": "transient_local"});
    assert_qos(&mut peer, "/affordance_node/label_info", latched);
    assert_qos(&mut peer, STATUS, json!({"reliability": "reliable", "lifespan": 5_000_000_000_i64}));
    let latched = json!({"reliability": "reliable", "durability": "transient_local"});
    assert_qos(&mut peer, "/diagnostics", latched);
    let log = node.log();
    // The one that names the wrong end.
    let strays: Vec<&str> = log.lines().filter(|line| line.contains("qos_overrides.")).collect();
    assert!(strays.len() == 1 && strays[0].contains("[WARN]"), "{log}");
    assert!(strays[0].contains("qos_overrides./cam/camera_info.publisher: this node has no such publisher"), "{log}");
}

#[test]
fn a_named_camera_s_topics_are_overridden_by_their_own_names() {
    let domain = Domain::claim();
    let mut peer = Bridge::start(&domain);
    let parameters = json!({"cameras": ["left", "right"], "qos_overrides": {
        "/robot/eye": {"subscription": {"reliability": "reliable", "deadline": 400_000_000}},
        "/affordance_node/left/overlay": {"publisher": {"reliability": "best_effort", "deadline": 300_000_000}},
    }});
    let mut node = Node::start_with(&domain, parameters, &["-r", "left/image:=/robot/eye"]);
    node.logged("waiting for images");
    assert_qos(&mut peer, "/robot/eye", json!({"reliability": "reliable", "deadline": 400_000_000}));
    assert_qos(&mut peer, "/right/image", json!({"reliability": "best_effort", "deadline": FOREVER}));
    let overlay = |camera: &str| format!("/affordance_node/{camera}/overlay");
    assert_qos(&mut peer, &overlay("left"), json!({"reliability": "best_effort", "deadline": 300_000_000}));
    assert_qos(&mut peer, &overlay("right"), json!({"reliability": "reliable", "deadline": FOREVER}));
    assert!(!node.log().contains("qos_overrides"), "{}", node.log());
}

/// How many of five messages or more a latecomer gets from a publisher with these policies: `least`, which must come, and those
/// that come soon after; it would take ten.
fn kept(policies: Value, least: usize) -> usize {
    let mut rig = Rig::start(json!({"qos_overrides": {REGIONS: {"publisher": policies}}}));
    (0..5).for_each(|_| drop(rig.exchange(&[REGIONS], Rig::good)));
    rig.peer.unsubscribe(REGIONS);
    let latecomer = json!({"durability": "transient_local", "depth": 10});
    rig.peer.subscribe_with(REGIONS, "looptrans_ros/msg/GraspRegionArray", latecomer);
    (0..least).for_each(|_| drop(rig.peer.next(REGIONS)));
    least + std::iter::from_fn(|| rig.peer.next_within(REGIONS, Duration::from_secs(1), |_| true)).count()
}

#[test]
fn a_latecomer_gets_as_many_messages_as_history_and_depth_say() {
    assert_eq!(kept(json!({"durability": "transient_local"}), 1), 1, "the topic's own depth");
    assert_eq!(kept(json!({"durability": "transient_local", "depth": 3}), 3), 3);
    assert!(kept(json!({"durability": "transient_local", "history": "keep_all"}), 5) >= 5);
}

#[test]
fn overrides_are_read_only_parameters() {
    let name = "qos_overrides./affordance_node/heatmap.publisher.depth";
    let mut rig = Rig::start(json!({name: 2}));
    let mut call = |service: &str, kind: &str, request: Value| {
        rig.peer.call(&format!("{NODE}/{service}"), &format!("rcl_interfaces/srv/{kind}"), request)
    };
    let listed = call("list_parameters", "ListParameters", json!({"prefixes": ["qos_overrides"]}));
    assert_eq!(listed["result"]["names"], json!([name]));
    let got = call("get_parameters", "GetParameters", json!({"names": [name]}));
    assert_eq!((&got["values"][0]["type"], &got["values"][0]["integer_value"]), (&json!(2), &json!(2)));
    let other = "qos_overrides./affordance_node/heatmap.publisher.reliability";
    let described = call("describe_parameters", "DescribeParameters", json!({"names": [name, other]}));
    let descriptor = &described["descriptors"][0];
    assert_eq!((&descriptor["type"], &descriptor["read_only"]), (&json!(2), &json!(true)), "{descriptor}");
    assert!(descriptor["description"].as_str().unwrap().contains("keep_last"), "{descriptor}");
    assert_eq!(descriptor["integer_range"][0]["from_value"], json!(1));
    assert_eq!(described["descriptors"][1]["type"], json!(0), "one that was not given is no parameter");
    let parameter = json!({"name": name, "value": {"type": 2, "integer_value": 3}});
    let set = call("set_parameters", "SetParameters", json!({"parameters": [parameter]}));
    assert_eq!(set["results"][0]["successful"], json!(false));
    assert!(set["results"][0]["reason"].as_str().unwrap().contains("read-only"), "{set}");
}

#[test]
fn what_is_no_override_is_refused_at_start() {
    for (name, value, parts) in [
        ("/cam/image.subscription.reliabilty", json!("reliable"), ["one of reliability", "did you mean reliability?"]),
        ("/cam/image.subscriber.depth", json!(1), ["publisher subscription", "did you mean subscription?"]),
        ("cam/image.subscription.depth", json!(1), ["a topic's full name", "cam/image"]),
        (
            "/cam/image.subscription.reliability",
            json!("best effort"),
            ["best_effort reliable", "did you mean best_effort?"],
        ),
        ("/cam/image.subscription.depth", json!(-1), ["int, 1 to 100000", "-1"]),
        ("/cam/image.subscription.deadline", json!(0.5), ["int, 0 to", "0.5 (double)"]),
    ] {
        let params = node::params_file(&node::parameters(json!({format!("qos_overrides.{name}"): value})));
        let ended = node::run_to_end(node::command(&Domain::claim(), params.path(), &[]));
        assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(1), 1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&params.path().display().to_string()), "{}", ended.stderr);
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
    }
}

#[test]
fn a_misspelt_topic_is_told_and_a_silence_names_the_policy_that_causes_it() {
    let domain = Domain::claim();
    let mut peer = Bridge::start(&domain);
    let overrides = json!({
        "/cam/image": {"subscription": {"deadline": 100_000_000}},
        "/cam/imagge": {"subscription": {"depth": 2}},
    });
    let mut node = Node::start_with(&domain, json!({"input_timeout": 0.3, "qos_overrides": overrides}), &CAMERA);
    let line = node.logged("qos_overrides./cam/imagge.subscription");
    assert!(line.contains("[WARN]") && line.contains("did you mean /cam/image?"), "{line}");
    peer.advertise_with("/cam/image", IMAGE, "reliable");
    let line = node.logged("publisher /test_peer on /cam/image offers no deadline and we ask for 100ms");
    assert!(line.contains("qos_overrides./cam/image.subscription.deadline"), "{line}");
}
