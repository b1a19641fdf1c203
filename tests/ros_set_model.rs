//! `~/set_model` of a running node: what is refused and why, what follows a swap, and what is left behind by many.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use looptrans_ros::contract::{CONTRACT_FILE, MODEL_FILE, sha256_hex};
use ros_support::{
    bridge::Bridge,
    node::{as_before, resources},
    rig::{HEATMAPS, IMAGE, REGIONS, Rig, count},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const LABELS: &str = "/affordance_node/label_info";
const SET_MODEL: &str = "/affordance_node/set_model";
const SET_MODEL_KIND: &str = "looptrans_ros/srv/SetModel";

/// The "colours" model under another name with other words for its actions.
fn other(actions: [&str; 3]) -> TempDir {
    let mut bundle = models::colours();
    bundle.contract.name = "other".to_owned();
    bundle.contract.actions = actions.map(str::to_owned).to_vec();
    written(&bundle.onnx, &serde_yaml::to_string(&bundle.contract).unwrap())
}

fn printer_s() -> TempDir {
    other(["cyan", "magenta", "yellow"])
}

fn written(onnx: &[u8], contract: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(MODEL_FILE), onnx).unwrap();
    fs::write(folder.path().join(CONTRACT_FILE), contract).unwrap();
    folder
}

fn request(folder: &Path, is_dry_run: bool) -> Value {
    json!({"bundle": folder, "dry_run": is_dry_run})
}

fn set_model(peer: &mut Bridge, folder: &Path) -> Value {
    peer.call(SET_MODEL, SET_MODEL_KIND, request(folder, false))
}

fn accepted(answer: &Value) -> &Value {
    assert_eq!(answer["success"], true, "{answer}");
    &answer["model_id"]
}

/// Why nothing was changed.
fn refusal(answer: &Value) -> String {
    assert_eq!((&answer["success"], &answer["model_id"]), (&json!(false), &answer["previous_model_id"]), "{answer}");
    answer["message"].as_str().unwrap().to_owned()
}

fn set_affordances(peer: &mut Bridge, names: &[&str]) -> String {
    let value = json!({"type": 9, "string_array_value": names});
    let request = json!({"parameters": [{"name": "affordances", "value": value}]});
    let answer = peer.call("/affordance_node/set_parameters", "rcl_interfaces/srv/SetParameters", request);
    answer["results"][0]["reason"].as_str().unwrap().to_owned()
}

fn model_parameter(peer: &mut Bridge) -> Value {
    let request = json!({"names": ["model"]});
    let answer = peer.call("/affordance_node/get_parameters", "rcl_interfaces/srv/GetParameters", request);
    answer["values"][0]["string_value"].clone()
}

fn change(peer: &mut Bridge, label: &str) {
    let request = json!({"transition": {"label": label}});
    let answer = peer.call("/affordance_node/change_state", "lifecycle_msgs/srv/ChangeState", request);
    assert_eq!(answer["success"], true, "{label}");
}

fn latched() -> Value {
    json!({"durability": "transient_local", "depth": 10})
}

/// The model of the next result.
fn model_at_work(rig: &mut Rig) -> Value {
    rig.exchange(&[REGIONS], Rig::good).1[0]["model_id"].clone()
}

#[test]
fn whatever_is_wrong_with_a_bundle_the_model_before_stays() {
    let mut rig = Rig::start(json!({}));
    let before = model_at_work(&mut rig);
    let good = models::colours();
    let contract = serde_yaml::to_string(&good.contract).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let cut = written(&good.onnx[..good.onnx.len() / 2], &contract);
    // Its checksum is right, but it is no model.
    let rubbish = b"no model at all";
    let rubbish = written(rubbish, &contract.replace(&good.contract.sha256, &sha256_hex(rubbish)));
    // The contract promises what the graph does not keep.
    let wrong = written(&good.onnx, &contract.replace("- blue\n", "- blue\n- mauve\n"));
    for (folder, part) in [
        (empty.path(), CONTRACT_FILE),
        (cut.path(), "sha256"),
        (rubbish.path(), ""),
        (wrong.path(), ""),
        (Path::new("/nowhere/at/all"), "/nowhere/at/all"),
        (Path::new("relative/folder"), "expected the absolute path"),
        (Path::new(""), "expected the absolute path"),
    ] {
        let reason = refusal(&set_model(&mut rig.peer, folder));
        assert!(!reason.is_empty() && reason.contains(part), "{}: {reason}", folder.display());
    }
    let printer = printer_s();
    assert_eq!(set_affordances(&mut rig.peer, &["red"]), "");
    let reason = refusal(&set_model(&mut rig.peer, printer.path()));
    assert!(reason.contains("red"), "the action that it lacks: {reason}");
    assert_eq!(set_affordances(&mut rig.peer, &[]), "");

    let trial = rig.peer.call(SET_MODEL, SET_MODEL_KIND, request(printer.path(), true));
    assert_eq!(accepted(&trial), &before, "a dry run changes nothing");
    assert!(trial["message"].as_str().unwrap().starts_with("dry run: model other:"), "{trial}");
    let answers = {
        rig.peer.ask(SET_MODEL, SET_MODEL_KIND, request(printer.path(), true), 8);
        rig.peer.answers()
    };
    let busy = answers.iter().filter(|answer| answer["message"].as_str().unwrap().starts_with("busy")).count();
    let done = answers.iter().filter(|answer| answer["success"] == true).count();
    assert!(busy + done == 8 && busy > 0 && done > 0, "one at a time: {answers:?}");

    assert_eq!(model_at_work(&mut rig), before);
    assert_ne!(model_parameter(&mut rig.peer), json!(printer.path()));
    rig.summary();
}

#[test]
fn a_swap_is_told_first_and_everything_follows_it() {
    let mut rig = Rig::start(json!({}));
    rig.peer.subscribe_with("/parameter_events", "rcl_interfaces/msg/ParameterEvent", json!({"depth": 100}));
    let first = model_at_work(&mut rig);
    let printer = printer_s();
    let answer = set_model(&mut rig.peer, printer.path());
    let second = accepted(&answer).clone();
    assert_eq!((&answer["previous_model_id"], second.as_str().unwrap().starts_with("other:")), (&first, true));
    assert_eq!(model_at_work(&mut rig), second);
    rig.status(|status| status["model_id"] == second);
    assert_eq!(model_parameter(&mut rig.peer), json!(printer.path()));
    let says_so = |event: &Value| event["changed_parameters"][0]["value"]["string_value"] == json!(printer.path());
    rig.peer.next_that("/parameter_events", says_so);
    let reason = set_affordances(&mut rig.peer, &["red"]);
    assert!(reason.contains("red"), "settings must fit the model at work: {reason}");

    // Inactive, the model that is held is exchanged.
    change(&mut rig.peer, "deactivate");
    assert_eq!(accepted(&set_model(&mut rig.peer, &ros_support::model())), &first);
    rig.peer.subscribe_with(LABELS, "looptrans_ros/msg/LabelInfo", latched());
    rig.peer.next_that(LABELS, |labels| labels["model_id"] == first && labels["affordances"][0] == "red");
    assert_eq!(accepted(&set_model(&mut rig.peer, printer.path())), &second);
    rig.peer.next_that(LABELS, |labels| labels["model_id"] == second && labels["affordances"][0] == "cyan");
    change(&mut rig.peer, "activate");
    assert_eq!(model_at_work(&mut rig), second);

    // What was set is what the next configure loads.
    change(&mut rig.peer, "deactivate");
    change(&mut rig.peer, "cleanup");
    let reason = rig.peer.call(SET_MODEL, SET_MODEL_KIND, request(printer.path(), false));
    assert_eq!(reason["message"], "the node is unconfigured: configure it first");
    change(&mut rig.peer, "configure");
    change(&mut rig.peer, "activate");
    assert_eq!(model_at_work(&mut rig), second);
    assert_eq!(rig.summary()["model_id"], second);
}

/// Nanoseconds of a time or duration.
fn nanos(time: &Value) -> i64 {
    time["sec"].as_i64().unwrap() * 1_000_000_000 + time["nanosec"].as_i64().unwrap()
}

/// Everything on a topic until nothing comes any more.
fn rest(peer: &mut Bridge, topic: &str) -> Vec<Value> {
    std::iter::from_fn(|| peer.next_within(topic, Duration::from_secs(3), |_| true)).collect()
}

#[test]
fn while_frames_stream_no_frame_mixes_two_models_and_labels_come_first() {
    let mut rig = Rig::start(json!({}));
    let first = model_at_work(&mut rig);
    rig.peer.subscribe_with(LABELS, "looptrans_ros/msg/LabelInfo", latched());
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let printer = printer_s();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut camera = Bridge::start(rig.domain());
    let streaming = {
        let is_over = is_over.clone();
        thread::spawn(move || {
            camera.advertise("/cam/image", IMAGE);
            while !is_over.load(Ordering::SeqCst) {
                camera.publish("/cam/image", &Rig::good());
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    rig.peer.next(HEATMAPS);
    let second = accepted(&set_model(&mut rig.peer, printer.path())).clone();
    rig.peer.next_that(HEATMAPS, |heatmaps| heatmaps["model_id"] == second);
    assert_eq!(accepted(&set_model(&mut rig.peer, &ros_support::model())), &first);
    let last = rig.peer.next_that(HEATMAPS, |heatmaps| heatmaps["model_id"] == first);
    is_over.store(true, Ordering::SeqCst);
    streaming.join().unwrap();

    let labels: Vec<_> = rest(&mut rig.peer, LABELS);
    let told = |from: i64| {
        labels.iter().find(|labels| labels["model_id"] == second && nanos(&labels["header"]["stamp"]) > from)
    };
    let (to_second, last) = (nanos(&told(0).unwrap()["header"]["stamp"]), nanos(&last["header"]["stamp"]));
    let back = |labels: &&Value| labels["model_id"] == first && nanos(&labels["header"]["stamp"]) > to_second;
    let to_first = nanos(&labels.iter().find(back).unwrap()["header"]["stamp"]);
    let (mut of_second, mut of_first_again) = (0, 0);
    for regions in rest(&mut rig.peer, REGIONS) {
        // By the node's own clock.
        let published = nanos(&regions["header"]["stamp"]) + nanos(&regions["age"]);
        let expected = if (to_second..to_first).contains(&published) { &second } else { &first };
        assert_eq!(&regions["model_id"], expected, "{published} {to_second} {to_first}");
        let words = if *expected == second { ["cyan", "magenta", "yellow"] } else { ["red", "green", "blue"] };
        for region in regions["regions"].as_array().unwrap() {
            assert!(words.contains(&region["affordance"].as_str().unwrap()), "{region}");
        }
        of_second += usize::from(*expected == second);
        of_first_again += usize::from(published >= to_first);
    }
    assert!(of_second > 0 && of_first_again > 0 && last >= to_second, "{of_second} {of_first_again}");
    rig.summary();
}

#[test]
fn a_model_that_was_let_go_gives_its_memory_back() {
    let bundle = models::heavy();
    let heavy = written(&bundle.onnx, &serde_yaml::to_string(&bundle.contract).unwrap());
    let mut rig = Rig::start(json!({}));
    let anonymous_mib = |folder: &Path| {
        accepted(&set_model(&mut rig.peer, folder));
        rig.fresh_status();
        resources(rig.node.id()).anonymous_kib >> 10
    };
    let [light, with_heavy, light_again] =
        [&ros_support::model(), heavy.path(), &ros_support::model()].map(anonymous_mib);
    assert!(with_heavy >= light + 40, "{light} {with_heavy} MiB");
    assert!(light_again <= light + 8, "{light} {with_heavy} {light_again} MiB");
}

#[test]
fn many_swaps_leave_no_threads_files_or_memory_behind() {
    let mut rig = Rig::start(json!({}));
    let printer = printer_s();
    let swap = |rig: &mut Rig, times: usize| {
        for n in 0..times {
            let folder = if n % 2 == 0 { printer.path().to_owned() } else { ros_support::model() };
            accepted(&set_model(&mut rig.peer, &folder));
        }
    };
    // What is made once, by ONNX Runtime and the middleware, is there after these.
    swap(&mut rig, 20);
    // The thread that has answered may still be ending.
    let at_rest = |rig: &mut Rig| {
        rig.fresh_status();
        resources(rig.node.id())
    };
    let before = at_rest(&mut rig);
    swap(&mut rig, 100);
    let after = as_before(rig.node.id(), &before);
    let grown = after.anonymous_kib.saturating_sub(before.anonymous_kib);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");

    // A client that is gone, a transition and a stop while a model loads.
    rig.peer.vanish(SET_MODEL, SET_MODEL_KIND, request(printer.path(), false));
    rig.peer.ask(SET_MODEL, SET_MODEL_KIND, request(printer.path(), false), 1);
    change(&mut rig.peer, "deactivate");
    assert_eq!(rig.peer.answers().len(), 1);
    change(&mut rig.peer, "activate");
    model_at_work(&mut rig);
    rig.status(|status| count(status, "processed") > 0);
    rig.peer.ask(SET_MODEL, SET_MODEL_KIND, request(printer.path(), false), 1);
    let ended = rig.node.stop("TERM");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
