//! The supervisor of accelerators in the real node: which provider runs, a model that is loaded anew, one that runs nowhere
//! any more, a GPU that is lost to the process, and what transitions and `~/set_model` do meanwhile.
//!
//! Needs `source scripts/env.sh`.
//! Not asserted: anything of a GPU; `tests/accelerator.rs` has engines that are built aside.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use image::{Rgb, RgbImage};
use ros_support::{
    bridge::Bridge,
    camera,
    domain::Domain,
    node::{Node, as_before, resources},
    rig::{REGIONS, Rig, STATUS, count},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const DIAGNOSTICS: &str = "/diagnostics";
/// The models of these tests give NaN for it.
const BLACK: u8 = 0;
/// [`models::slow_to_load_and_hungry_when_bright`] has no memory for it.
const BRIGHT: u8 = 255;

fn request(peer: &mut Bridge, label: &str) -> bool {
    let request = json!({"transition": {"label": label}});
    let answer = peer.call("/affordance_node/change_state", "lifecycle_msgs/srv/ChangeState", request);
    answer["success"].as_bool().unwrap()
}

fn change(peer: &mut Bridge, label: &str) {
    assert!(request(peer, label), "{label}");
}

fn reasons(status: &Value) -> String {
    status["reasons"].to_string()
}

/// A node in which nobody complains of silence: these tests send a frame now and then.
fn rig(more: Value) -> Rig {
    let mut parameters = json!({"input_timeout": 60.0});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Rig::start(parameters)
}

fn slow_model() -> TempDir {
    ros_support::written(&models::slow_to_load_and_hungry_when_bright())
}

fn send(rig: &mut Rig, grey: u8) {
    let picture = RgbImage::from_pixel(camera::WIDTH, camera::HEIGHT, Rgb([grey; 3]));
    rig.peer.publish(rig.camera, &camera::image(&picture, "rgb8", 0));
}

/// Sends pictures of one grey, each after the one before has come to its end. The last one's end is not waited for.
fn reject(rig: &mut Rig, grey: u8, times: u64) {
    for _ in 1..times {
        let before = count(&rig.fresh_status(), "rejected");
        send(rig, grey);
        rig.status(|status| count(status, "rejected") > before);
    }
    send(rig, grey);
}

/// How often the log tells of this.
fn told(rig: &Rig, text: &str) -> usize {
    rig.node.log().lines().filter(|line| line.contains(text)).count()
}

fn is_back(status: &Value) -> bool {
    status["execution_provider"] == "cpu"
}

/// The part "inference" of the next diagnostics in which it has this level.
fn inference(peer: &mut Bridge, level: u8) -> Value {
    let part = |array: &Value| {
        let mut all = array["status"].as_array().unwrap().iter();
        all.find(|status| status["name"] == "affordance_node: inference").unwrap().clone()
    };
    part(&peer.next_that(DIAGNOSTICS, |array| camera::from_bytes(&part(array)["level"]) == [level]))
}

#[test]
fn a_model_that_fails_three_times_in_a_row_is_loaded_anew_and_works_again() {
    let model = slow_model();
    let mut rig = rig(json!({"model": model.path(), "diagnostic_updater.period": 0.1}));
    rig.exchange(&[REGIONS], Rig::good);
    rig.listen(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray");
    let model_id = rig.fresh_status()["model_id"].clone();

    // Not in a row. The middleware keeps the newest frame only: each is waited for.
    reject(&mut rig, BLACK, 2);
    rig.status(|status| count(status, "rejected") == 2);
    rig.exchange(&[REGIONS], Rig::good);
    reject(&mut rig, BLACK, 2);
    let status = rig.status(|status| count(status, "rejected") == 4);
    assert_eq!(status["execution_provider"], "cpu", "{status}");
    assert_eq!(told(&rig, "the model is loaded on cpu"), 0, "{}", rig.node.log());
    send(&mut rig, BLACK);

    let said = "cpu failed: inference: heatmap holds NaN: the model is loaded on cpu";
    let status = rig.status(|status| reasons(status).contains(said));
    assert_eq!((&status["degraded"], &status["execution_provider"]), (&json!(true), &json!("")), "{status}");
    let inference = inference(&mut rig.peer, 2);
    assert_eq!(inference["message"], said);
    rig.node.logged(said);
    rig.status(is_back);
    rig.exchange(&[REGIONS], Rig::good);
    let status = rig.fresh_status();
    assert_eq!((&status["degraded"], &status["model_id"]), (&json!(false), &model_id), "{status}");
    assert_eq!(told(&rig, said), 1, "{}", rig.node.log());

    // A second time soon after it would be of no use: the picture may be to blame, and the next one may work.
    reject(&mut rig, BLACK, 6);
    rig.status(|status| count(status, "rejected") == 11);
    rig.exchange(&[REGIONS], Rig::good);
    assert_eq!(told(&rig, said), 1, "{}", rig.node.log());
    rig.summary();
}

#[test]
fn frames_that_do_not_decode_are_no_failures_of_the_model() {
    let mut rig = rig(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    for _ in 0..6 {
        let before = count(&rig.fresh_status(), "rejected");
        let mut frame = Rig::good();
        frame["step"] = json!(1);
        rig.peer.publish(rig.camera, &frame);
        rig.status(|status| count(status, "rejected") > before);
    }
    rig.exchange(&[REGIONS], Rig::good);
    assert_eq!(told(&rig, "the model is loaded"), 0, "{}", rig.node.log());
    rig.summary();
}

#[test]
fn out_of_memory_twice_leaves_nothing_to_run_on_until_the_node_is_configured_anew() {
    let model = slow_model();
    let mut rig = rig(json!({"model": model.path()}));
    rig.exchange(&[REGIONS], Rig::good);
    reject(&mut rig, BRIGHT, 1);
    rig.status(|status| reasons(status).contains("cpu failed: inference: out of memory"));
    rig.status(is_back);
    rig.exchange(&[REGIONS], Rig::good);

    reject(&mut rig, BRIGHT, 1);
    let end = "no execution provider is left: cpu: inference: out of memory";
    let status = rig.status(|status| status["state"] == 2 && reasons(status).contains(end));
    assert_eq!((&status["degraded"], &status["execution_provider"]), (&json!(true), &json!("")), "{status}");
    assert!(reasons(&status).contains("deactivated by itself"), "{status}");
    rig.node.logged(end);
    assert!(!request(&mut rig.peer, "activate"), "it would process nothing");
    rig.status(|status| reasons(status).contains("activating failed: no execution provider is left"));
    change(&mut rig.peer, "cleanup");
    change(&mut rig.peer, "configure");
    change(&mut rig.peer, "activate");
    rig.exchange(&[REGIONS], Rig::good);
    assert_eq!(rig.fresh_status()["reasons"], json!([]));
    rig.summary();
}

#[test]
fn another_model_takes_the_place_of_one_that_runs_nowhere() {
    let model = slow_model();
    let mut rig = rig(json!({"model": model.path()}));
    rig.exchange(&[REGIONS], Rig::good);
    reject(&mut rig, BRIGHT, 1);
    rig.status(|status| reasons(status).contains("the model is loaded on cpu"));
    rig.status(is_back);
    reject(&mut rig, BRIGHT, 1);
    rig.status(|status| status["state"] == 2);
    let request = json!({"bundle": ros_support::model(), "dry_run": false});
    let answer = rig.peer.call("/affordance_node/set_model", "looptrans_ros/srv/SetModel", request);
    assert_eq!(answer["success"], true, "{answer}");
    change(&mut rig.peer, "activate");
    rig.exchange(&[REGIONS], Rig::good);
    let status = rig.fresh_status();
    assert_eq!((&status["reasons"], &status["execution_provider"]), (&json!([]), &json!("cpu")), "{status}");
    // Its own supervision has begun.
    reject(&mut rig, BLACK, 3);
    rig.node.logged("cpu failed: inference: heatmap holds NaN: the model is loaded on cpu");
    rig.exchange(&[REGIONS], Rig::good);
    rig.summary();
}

#[test]
fn the_cpu_stands_in_for_a_gpu_that_cannot_be_had_where_that_is_allowed() {
    let mut rig = rig(json!({"execution_provider": "cuda", "allow_fallback": true, "diagnostic_updater.period": 0.1}));
    rig.listen(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray");
    rig.exchange(&[REGIONS], Rig::good);
    let status = rig.fresh_status();
    assert_eq!((&status["execution_provider"], &status["requested_provider"]), (&json!("cpu"), &json!("cuda")));
    assert!(reasons(&status).starts_with("[\"execution provider cpu stands in: cuda: "), "{status}");
    assert_eq!(status["degraded"], true);
    let inference = inference(&mut rig.peer, 1);
    assert!(inference["message"].as_str().unwrap().starts_with("execution provider cpu stands in: cuda: "));
    rig.node.logged("execution provider cuda can't be had: ");
    rig.summary();
}

#[test]
fn auto_is_the_cpu_where_the_library_knows_nothing_else_and_that_is_no_fallback() {
    let mut rig = rig(json!({"execution_provider": "auto", "allow_fallback": false}));
    rig.exchange(&[REGIONS], Rig::good);
    let status = rig.fresh_status();
    assert_eq!((&status["execution_provider"], &status["requested_provider"]), (&json!("cpu"), &json!("auto")));
    assert_eq!((&status["degraded"], &status["reasons"]), (&json!(false), &json!([])), "{status}");
    rig.summary();
}

#[test]
fn without_fallback_the_node_stays_unconfigured_and_says_why() {
    let domain = Domain::claim();
    let gpu = json!({"autostart": false, "execution_provider": "cuda", "allow_fallback": false});
    let mut node = Node::start(&domain, gpu);
    let mut peer = Bridge::start(&domain);
    peer.subscribe_with(STATUS, "looptrans_ros/msg/NodeStatus", json!({"durability": "transient_local", "depth": 1}));
    assert!(!request(&mut peer, "configure"));
    let why = "configuring failed: execution provider cuda can't be had: cuda: ";
    let status = peer.next_that(STATUS, |status| reasons(status).contains(why));
    assert_eq!((&status["state"], &status["execution_provider"]), (&json!(1), &json!("")), "{status}");
    assert!(reasons(&status).contains("allow_fallback is off, so the CPU may not stand in"), "{status}");
    node.logged(why);
    assert_eq!(node.stop("TERM").status.code(), Some(0));
}

#[test]
fn a_gpu_that_is_lost_to_the_process_ends_it_with_a_status_of_its_own_and_nothing_is_loaded_or_freed() {
    let model = ros_support::written(&models::without_context_above(250.0));
    for allow_fallback in [true, false] {
        let mut rig = rig(json!({"model": model.path(), "allow_fallback": allow_fallback}));
        rig.exchange(&[REGIONS], Rig::good);
        let began = Instant::now();
        send(&mut rig, BRIGHT);
        let said = "cpu failed: inference: GPU lost to this process: ";
        let status = rig.status(|status| reasons(status).contains(said));
        assert_eq!((&status["degraded"], &status["execution_provider"]), (&json!(true), &json!("")), "{status}");

        let ended = rig.node.ended();
        assert_eq!(ended.status.code(), Some(71), "{}", ended.stderr);
        assert!(began.elapsed() < Duration::from_secs(10), "a retry would have waited: {:?}", began.elapsed());
        let last = ended.stderr.lines().last().unwrap();
        let starts = format!("affordance_node: {said}");
        assert!(last.starts_with(&starts) && last.contains(models::CONTEXT_LOST), "{last}");
        let remedy = "the process must be started anew (launch does so, with respawn)";
        assert!(last.ends_with(remedy), "{last}");
        assert!(
            !ended.stderr.contains("the model is loaded on") && !ended.stderr.contains("panicked"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_gpu_that_is_lost_in_the_first_load_follows_the_rule_of_fallback_so_that_the_node_does_not_start_for_ever() {
    // The grey of a model's first runs is above that.
    let model = ros_support::written(&models::without_context_above(100.0));
    let domain = Domain::claim();
    let mut node = Node::start(&domain, json!({"autostart": false, "model": model.path()}));
    let mut peer = Bridge::start(&domain);
    peer.subscribe_with(STATUS, "looptrans_ros/msg/NodeStatus", json!({"durability": "transient_local", "depth": 1}));
    assert!(!request(&mut peer, "configure"));
    let why = "configuring failed: the model can't be loaded: cpu: ONNX Runtime: first run: GPU lost to this process: ";
    let status = peer.next_that(STATUS, |status| reasons(status).contains(why));
    assert_eq!(status["state"], 1, "{status}");
    node.logged(why);
    assert_eq!(node.stop("TERM").status.code(), Some(0));
}

#[test]
fn transitions_in_the_middle_of_a_reload_find_their_way_and_leave_no_threads_behind() {
    let model = slow_model();
    let mut rig = rig(json!({"model": model.path()}));
    rig.exchange(&[REGIONS], Rig::good);
    let begin_reload = |rig: &mut Rig| {
        reject(rig, BLACK, 3);
        rig.status(|status| reasons(status).contains("the model is loaded on cpu"));
    };
    // What is loaded while the node is inactive, or active again, is put where the model is by then.
    for labels in [vec!["deactivate"], vec!["deactivate", "activate"]] {
        begin_reload(&mut rig);
        labels.iter().for_each(|label| change(&mut rig.peer, label));
        rig.status(is_back);
        if labels.len() == 1 {
            change(&mut rig.peer, "activate");
        }
        rig.exchange(&[REGIONS], Rig::good);
        assert_eq!(rig.fresh_status()["reasons"], json!([]));
        // What is loaded anew once is not loaded anew soon after it; another model is.
        change(&mut rig.peer, "deactivate");
        change(&mut rig.peer, "cleanup");
        change(&mut rig.peer, "configure");
        change(&mut rig.peer, "activate");
        rig.exchange(&[REGIONS], Rig::good);
    }
    let before = resources(rig.node.id());
    begin_reload(&mut rig);
    let began = Instant::now();
    change(&mut rig.peer, "deactivate");
    change(&mut rig.peer, "cleanup");
    assert!(began.elapsed() < Duration::from_secs(20), "the reload keeps nobody waiting: {:?}", began.elapsed());
    change(&mut rig.peer, "configure");
    change(&mut rig.peer, "activate");
    rig.exchange(&[REGIONS], Rig::good);
    as_before(rig.node.id(), &before);
    // Another model in the middle of a reload: nothing of the old one is put in its place.
    begin_reload(&mut rig);
    let set_model = |rig: &mut Rig, folder: &Path| {
        let request = json!({"bundle": folder, "dry_run": false});
        let answer = rig.peer.call("/affordance_node/set_model", "looptrans_ros/srv/SetModel", request);
        assert_eq!(answer["success"], true, "{answer}");
        let (_, results) = rig.exchange(&[REGIONS], Rig::good);
        assert_eq!(results[0]["model_id"], answer["model_id"]);
    };
    set_model(&mut rig, &ros_support::model());
    // A stop in the middle of one.
    set_model(&mut rig, model.path());
    begin_reload(&mut rig);
    let ended = rig.node.stop("TERM");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
