//! The managed node: its services and events as rclcpp's lifecycle nodes offer them, and what each state does.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::fs;

use ros_support::{
    bridge::Bridge,
    domain::Domain,
    node::{Node, as_before, resources},
    rig::{IMAGE, REGIONS, Rig, STATUS, all_ended, count},
};
use serde_json::{Value, json};

const EVENTS: &str = "/affordance_node/transition_event";

fn change(peer: &mut Bridge, label: &str) -> bool {
    let request = json!({"transition": {"label": label}});
    let answer = peer.call("/affordance_node/change_state", "lifecycle_msgs/srv/ChangeState", request);
    answer["success"].as_bool().unwrap()
}

fn state(peer: &mut Bridge) -> String {
    let answer = peer.call("/affordance_node/get_state", "lifecycle_msgs/srv/GetState", json!({}));
    answer["current_state"]["label"].as_str().unwrap().to_owned()
}

fn transitions(peer: &mut Bridge, service: &str) -> Vec<Value> {
    let service = format!("/affordance_node/{service}");
    let answer = peer.call(&service, "lifecycle_msgs/srv/GetAvailableTransitions", json!({}));
    answer["available_transitions"].as_array().unwrap().clone()
}

fn labels(transitions: &[Value]) -> Vec<&str> {
    transitions.iter().map(|transition| transition["transition"]["label"].as_str().unwrap()).collect()
}

/// A node that waits for a manager, and the manager.
fn waiting(more: Value) -> (Domain, Node, Bridge) {
    let domain = Domain::claim();
    let mut parameters = json!({"autostart": false, "input_reliability": "reliable"});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let node = Node::start(&domain, parameters);
    let peer = Bridge::start(&domain);
    (domain, node, peer)
}

/// The next event as (start, transition, goal).
fn event(peer: &mut Bridge) -> (String, u64, String) {
    let event = peer.next(EVENTS);
    let label = |state: &str| event[state]["label"].as_str().unwrap().to_owned();
    assert!(count(&event, "timestamp") > 0);
    (label("start_state"), count(&event["transition"], "id"), label("goal_state"))
}

#[test]
fn a_manager_leads_the_node_through_its_states() {
    let (_domain, node, mut peer) = waiting(json!({}));
    assert_eq!(state(&mut peer), "unconfigured");
    peer.subscribe(EVENTS, "lifecycle_msgs/msg/TransitionEvent");
    assert_eq!(labels(&transitions(&mut peer, "get_available_transitions")), ["configure", "shutdown"]);
    assert_eq!(transitions(&mut peer, "get_transition_graph").len(), 25);
    let states = peer.call("/affordance_node/get_available_states", "lifecycle_msgs/srv/GetAvailableStates", json!({}));
    assert_eq!(states["available_states"].as_array().unwrap().len(), 11);

    assert!(!change(&mut peer, "activate"), "not from unconfigured");
    assert_eq!(state(&mut peer), "unconfigured");
    let told = |peer: &mut Bridge, steps: [(&str, u64, &str); 2]| {
        for (start, id, goal) in steps {
            assert_eq!(event(peer), (start.to_owned(), id, goal.to_owned()));
        }
    };
    assert!(change(&mut peer, "configure"));
    told(&mut peer, [("unconfigured", 1, "configuring"), ("configuring", 10, "inactive")]);
    // An inactive node takes nothing in.
    peer.topics("/affordance_node", |subscribed, published| *subscribed == json!({}) && published[REGIONS].is_array());
    assert!(change(&mut peer, "activate"));
    told(&mut peer, [("inactive", 3, "activating"), ("activating", 30, "active")]);
    assert!(!change(&mut peer, "activate"), "not twice");
    assert_eq!(state(&mut peer), "active");
    assert!(change(&mut peer, "deactivate"));
    told(&mut peer, [("active", 4, "deactivating"), ("deactivating", 40, "inactive")]);
    assert!(change(&mut peer, "cleanup"));
    told(&mut peer, [("inactive", 2, "cleaningup"), ("cleaningup", 20, "unconfigured")]);
    // The output topics are gone.
    peer.topics("/affordance_node", |_, published| !published[REGIONS].is_array());
    assert!(change(&mut peer, "shutdown"));
    told(&mut peer, [("unconfigured", 5, "shuttingdown"), ("shuttingdown", 50, "finalized")]);
    assert!(!change(&mut peer, "configure"), "finalized is for good");
    let ended = node.stop("INT");
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn a_deactivated_node_keeps_its_model_and_takes_no_frames_until_it_is_active_again() {
    let mut rig = Rig::start(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    assert!(change(&mut rig.peer, "deactivate"));
    let before = rig.status(|status| status["state"] == 2);
    for _ in 0..5 {
        let frame = Rig::good();
        rig.peer.publish(rig.camera, &frame);
    }
    assert!(change(&mut rig.peer, "activate"));
    rig.exchange(&[REGIONS], Rig::good);
    let after = rig.fresh_status_that(all_ended);
    assert_eq!(after["model_id"], before["model_id"]);
    // A shutdown from active finishes the frame as a deactivation does.
    assert!(change(&mut rig.peer, "shutdown"));
    assert_eq!(state(&mut rig.peer), "finalized");
    assert_eq!(rig.node.log().matches("model colours:").count(), 2, "said once per activation");
    rig.summary();
}

#[test]
fn a_bad_model_leaves_the_node_unconfigured_and_the_status_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (_domain, _node, mut peer) = waiting(json!({"model": folder.path()}));
    let latched = json!({"durability": "transient_local", "depth": 1});
    peer.subscribe_with(STATUS, "looptrans_ros/msg/NodeStatus", latched);
    assert!(!change(&mut peer, "configure"));
    assert_eq!(state(&mut peer), "unconfigured");
    let names_it = |status: &Value| {
        let reasons = status["reasons"].as_array().unwrap();
        reasons.iter().any(|reason| reason.as_str().unwrap().contains(folder.path().to_str().unwrap()))
    };
    let status = peer.next_that(STATUS, names_it);
    assert_eq!((&status["state"], &status["degraded"]), (&json!(1), &json!(true)));
    // What was wrong is put right, without a restart.
    for file in ["model.onnx", "model.yaml"] {
        fs::copy(ros_support::model().join(file), folder.path().join(file)).unwrap();
    }
    assert!(change(&mut peer, "configure"));
    assert_eq!(peer.next_that(STATUS, |status| status["state"] == 2)["reasons"], json!([]));
}

#[test]
fn two_hundred_cycles_leave_no_threads_files_or_memory_behind() {
    let (_domain, node, mut peer) = waiting(json!({}));
    peer.advertise_with("/cam/image", IMAGE, "reliable");
    let mut cycle = || {
        for label in ["configure", "activate", "deactivate", "cleanup"] {
            assert!(change(&mut peer, label), "{label}");
        }
    };
    // What is made once, by ONNX Runtime and the middleware, is there after these.
    (0..20).for_each(|_| cycle());
    let before = resources(node.id());
    (0..200).for_each(|_| cycle());
    let after = as_before(node.id(), &before);
    let grown = after.anonymous_kib.saturating_sub(before.anonymous_kib);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
    assert_eq!(node.stop("TERM").status.code(), Some(0));
}
