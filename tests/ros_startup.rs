//! How the node starts, refuses to start, explains silence, and stops.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{fs, path::Path, process::Command, time::Duration};

use looptrans_ros::{
    config::config_text,
    contract::{CONTRACT_FILE, MODEL_FILE},
};
use ros_support::{
    domain::Domain,
    node::{self, Ended, Node},
    rig::{IMAGE, REGIONS, Rig, count},
};
use serde_json::{Value, json};

/// The node's one line on stderr, after it refused to start.
fn refusal(what: &str, ended: &Ended) -> String {
    assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("[INFO]")).collect();
    assert_eq!(lines.len(), 1, "{what}: one line, not\n{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{what}");
    assert_eq!(ended.stdout, "", "{what}");
    lines[0].to_owned()
}

fn start_with(parameters: &Value) -> Ended {
    let params = node::params_file(parameters);
    node::run_to_end(node::command(&Domain::claim(), params.path(), &[]))
}

#[test]
fn wrong_parameters_are_refused_with_name_expected_and_found() {
    for (name, value, expected) in [
        ("max_rtae", json!(10.0), "max_rate"),
        ("max_regions", json!("many"), "int"),
        ("max_rate", json!(10), "10.0"),
        ("min_region_score", json!(1.5), "1.5"),
        ("execution_provider", json!("gpu"), "cuda"),
    ] {
        let line = refusal(name, &start_with(&node::parameters(json!({name: value}))));
        assert!(line.contains(name) && line.contains(expected), "{line}");
    }
    // YAML's own way to write what JSON cannot.
    let params = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(params.path(), "/**:\n  ros__parameters:\n    max_rate: .nan\n").unwrap();
    let line = refusal("NaN", &node::run_to_end(node::command(&Domain::claim(), params.path(), &[])));
    assert!(line.contains("max_rate") && line.to_lowercase().contains("nan"), "{line}");
}

#[test]
fn wrong_arguments_and_files_are_refused_before_rcl_sees_them() {
    let broken = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(broken.path(), "/**:\n  ros__parameters:\n    max_rate: [1.0\n").unwrap();
    let broken = broken.path().to_str().unwrap();
    for (args, expected) in [
        (vec!["--params-file", broken], broken),
        (vec!["--params-file", "/no/such/file.yaml"], "/no/such/file.yaml"),
        (vec!["-r", "image"], "image"),
        (vec!["-p", "max_rate"], "max_rate"),
        (vec!["--log-level", "loud"], "loud"),
    ] {
        let params = node::params_file(&node::parameters(json!({})));
        let line = refusal(expected, &node::run_to_end(node::command(&Domain::claim(), params.path(), &args)));
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn an_environment_that_rcl_refuses_is_one_line_too() {
    let params = node::params_file(&node::parameters(json!({})));
    let domain = Domain::claim();
    let mut command = node::command(&domain, params.path(), &[]);
    command.env("ROS_DOMAIN_ID", "not a number");
    let ended = node::run_to_end(command);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("affordance_node: ROS 2: cannot start") && last.contains("ROS_DOMAIN_ID"), "{last}");
}

/// The node's one line about a configure that failed; the process stays, unconfigured, and ends cleanly when told to.
fn not_configured(mut command: Command, parameters: &Value) -> String {
    let params = node::params_file(parameters);
    command.args(["--ros-args", "--params-file"]).arg(params.path());
    let mut node = Node::spawn(command);
    let line = node.logged("configuring failed: ");
    assert!(line.contains("[ERROR]"), "{line}");
    let ended = node.stop("TERM");
    assert_eq!((ended.status.code(), ended.summary()), (Some(0), None), "{}", ended.stderr);
    let errors = ended.stderr.lines().filter(|line| line.contains("[ERROR]")).count();
    assert!(errors == 1 && !ended.stderr.contains("panicked"), "one line, not\n{}", ended.stderr);
    line
}

fn plain_command(domain: &Domain) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affordance_node"));
    domain.apply(&mut command);
    command
}

#[test]
fn a_bundle_that_is_missing_or_damaged_leaves_the_node_unconfigured_with_file_expected_and_found() {
    let domain = Domain::claim();
    let damaged = |change: &dyn Fn(&std::path::Path)| {
        let folder = tempfile::tempdir().unwrap();
        for file in [MODEL_FILE, CONTRACT_FILE] {
            fs::copy(ros_support::model().join(file), folder.path().join(file)).unwrap();
        }
        change(folder.path());
        not_configured(plain_command(&domain), &node::parameters(json!({"model": folder.path()})))
    };
    let line = damaged(&|folder| fs::remove_file(folder.join(CONTRACT_FILE)).unwrap());
    assert!(line.contains(CONTRACT_FILE) && line.contains("No such file"), "{line}");
    let line = damaged(&|folder| fs::remove_file(folder.join(MODEL_FILE)).unwrap());
    assert!(line.contains(MODEL_FILE), "{line}");
    let line = damaged(&|folder| fs::write(folder.join(MODEL_FILE), b"").unwrap());
    assert!(line.contains("0 bytes"), "{line}");
    let line = damaged(&|folder| fs::write(folder.join(MODEL_FILE), b"not a model").unwrap());
    assert!(line.contains("sha256") && line.contains("expected") && line.contains("found"), "{line}");
    let line = not_configured(plain_command(&domain), &node::parameters(json!({"model": "/no/such/bundle"})));
    assert!(line.contains("/no/such/bundle"), "{line}");
    let line = not_configured(plain_command(&domain), &node::parameters(json!({"affordances": ["red", "reed"]})));
    assert!(line.contains("reed") && line.contains("did you mean red?"), "{line}");

    // A wrong library is the user's environment, not the bundle.
    let mut command = plain_command(&domain);
    command.env("ORT_DYLIB_PATH", "/no/such/libonnxruntime.so");
    let line = not_configured(command, &node::parameters(json!({})));
    assert!(line.contains("/no/such/libonnxruntime.so") && line.contains("ORT_DYLIB_PATH"), "{line}");
}

#[test]
fn without_a_model_the_line_says_where_one_was_looked_for() {
    let mut parameters = node::parameters(json!({}));
    parameters.as_object_mut().unwrap().remove("model");
    let domain = Domain::claim();
    let mut command = plain_command(&domain);
    command.env("AMENT_PREFIX_PATH", "/no/such/prefix");
    let line = not_configured(command, &parameters);
    assert!(line.contains("parameter model") && line.contains("/no/such/prefix"), "{line}");
}

#[test]
fn help_version_and_configuration_need_no_ros() {
    let run = |arg: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_affordance_node"));
        command.arg(arg).env("ROS_DOMAIN_ID", "not a number");
        let ended = node::run_to_end(command);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{arg}");
        ended.stdout
    };
    assert!(run("--help").contains("--ros-args"));
    assert_eq!(run("--version"), concat!("affordance_node ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(run("--print-config"), config_text());
}

#[test]
fn the_printed_configuration_starts_the_node() {
    let params = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    fs::write(params.path(), config_text()).unwrap();
    let domain = Domain::claim();
    let mut command = node::command(&domain, params.path(), &[]);
    let model = format!("model:={}", ros_support::model().display());
    command.args(["-p", model.as_str(), "-p", "execution_provider:=cpu", "-r", "image:=/cam/image"]);
    let mut node = Node::spawn(command);
    node.logged("waiting for images on /cam/image");
    assert_eq!(node.stop("TERM").status.code(), Some(0));
}

/// That a node ends as quickly as its interface promises: the one time that is part of it. The quickest of three counts, since
/// a busy machine may keep this thread waiting.
fn assert_in_time(mut end: impl FnMut() -> Ended) {
    let ends = || {
        let ended = end();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended.took
    };
    let took: Vec<Duration> = std::iter::repeat_with(ends).take(3).collect();
    assert!(took.iter().any(|took| *took < Duration::from_secs(2)), "{took:?}");
}

#[test]
fn both_signals_end_it_cleanly_with_a_summary() {
    for signal in ["TERM", "INT"] {
        assert_in_time(|| {
            let mut rig = Rig::start(json!({}));
            rig.exchange(&[REGIONS], Rig::good);
            let ended = rig.node.stop(signal);
            let summary = ended.summary().unwrap();
            let ends = count(&summary, "processed") + count(&summary, "dropped") + count(&summary, "rejected");
            assert_eq!((ends, count(&summary, "waiting")), (count(&summary, "frames_in"), 0), "{summary}");
            assert!(summary["model_id"].as_str().unwrap().starts_with("colours:"));
            assert_eq!(summary["provider"], "cpu");
            ended
        });
    }
}

#[test]
fn a_stop_while_the_model_loads_ends_it_cleanly_and_in_time() {
    assert_in_time(|| {
        let domain = Domain::claim();
        let mut node = Node::start(&domain, json!({}));
        // The first word of the thread that loads; the model comes after the library.
        node.logged("ONNX Runtime: ");
        node.stop("TERM")
    });
}

#[test]
fn silence_names_its_cause_in_log_and_status() {
    let domain = Domain::claim();
    let mut node = Node::start(&domain, json!({"input_timeout": 0.3, "input_reliability": "reliable"}));
    let mut peer = ros_support::bridge::Bridge::start(&domain);
    let latched = json!({"durability": "transient_local", "depth": 1});
    peer.subscribe_with(ros_support::rig::STATUS, "looptrans_ros/msg/NodeStatus", latched);
    let mut says = |peer: &mut ros_support::bridge::Bridge, text: &str| {
        let line = node.logged(text);
        assert!(line.contains("[WARN]") || line.contains("[ERROR]"), "{line}");
        let told = |status: &Value| {
            let reasons = status["reasons"].as_array().unwrap();
            status["degraded"] == true && reasons.iter().any(|reason| reason.as_str().unwrap().contains(text))
        };
        peer.next_that(ros_support::rig::STATUS, told);
    };
    says(&mut peer, "no publisher on /cam/image");
    peer.advertise_with("/cam/image", IMAGE, "best_effort");
    says(&mut peer, "publisher /test_peer on /cam/image offers best_effort and we ask for reliable");
    peer.advertise_with("/cam/image", IMAGE, "reliable");
    says(&mut peer, "publisher /test_peer is there, but nothing comes on /cam/image");
}

#[test]
fn two_nodes_of_one_name_are_told_of_each_other() {
    let domain = Domain::claim();
    let mut first = Node::start(&domain, json!({}));
    first.logged("waiting for images");
    assert!(!first.log().contains("called /affordance_node"), "it is alone: {}", first.log());
    let mut second = Node::start(&domain, json!({}));
    for node in [&mut first, &mut second] {
        let line = node.logged("1 other node is called /affordance_node");
        assert!(line.contains("[WARN]") && line.contains("-r __node:="), "{line}");
    }
    assert_eq!(second.stop("TERM").status.code(), Some(0));
    first.logged("no other node is called /affordance_node any more");
}

#[test]
fn warnings_reach_rosout() {
    let domain = Domain::claim();
    let mut peer = ros_support::bridge::Bridge::start(&domain);
    let latched = json!({"durability": "transient_local", "depth": 100});
    peer.subscribe_with("/rosout", "rcl_interfaces/msg/Log", latched);
    let _node = Node::start(&domain, json!({"input_timeout": 2.0}));
    let warning = peer.next_that("/rosout", |log| log["msg"].as_str().unwrap().contains("no publisher on /cam/image"));
    assert_eq!((&warning["name"], warning["level"].as_u64()), (&json!("affordance_node"), Some(30)));
}

/// The real node with other variables (None: unset) and more arguments, until it waits for images; then it is told to end.
/// Returns its log.
fn runs(variables: &[(&str, Option<&Path>)], args: &[&str]) -> String {
    let params = node::params_file(&node::parameters(json!({})));
    let domain = Domain::claim();
    let mut command = node::command(&domain, params.path(), &["-r", "image:=/cam/image"]);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(args);
    let mut node = Node::spawn(command);
    node.logged("waiting for images on /cam/image");
    let ended = node.stop("TERM");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn without_a_place_for_a_log_file_the_node_runs_and_says_so_once() {
    // A folder below a file can be made by nobody, root included.
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("below");
    let bare = [("HOME", None), ("ROS_HOME", None), ("ROS_LOG_DIR", None)];
    for (variable, value, cause) in [
        ("HOME", None, "no home".to_owned()),
        ("HOME", Some(Path::new("")), "no home".to_owned()),
        ("HOME", Some(&below), format!("{}/.ros/log: Not a directory", below.display())),
        ("ROS_HOME", Some(&below), format!("{}/log: Not a directory", below.display())),
        ("ROS_LOG_DIR", Some(&below), format!("{}: Not a directory", below.display())),
    ] {
        let log = runs(&[&bare[..], &[(variable, value)]].concat(), &[]);
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("no log file")).collect();
        assert_eq!(warnings.len(), 1, "{cause}: {log}");
        let told = ["[WARN] [affordance_node]: ", &cause, "ROS_LOG_DIR"];
        assert!(told.iter().all(|part| warnings[0].contains(part)), "{cause}: {}", warnings[0]);
    }
}

#[test]
fn a_log_file_is_written_where_it_can_be_and_not_where_rcl_is_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("log");
    let log = runs(&[("ROS_LOG_DIR", Some(&place))], &[]);
    assert!(!log.contains("no log file"), "{log}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "rcl's, and nothing of a trial");
    let log = runs(&[("ROS_LOG_DIR", Some(Path::new("/dev/null/log")))], &["--disable-external-lib-logs"]);
    assert!(!log.contains("no log file"), "{log}");
}

#[test]
fn a_temporary_folder_that_cannot_be_written_and_an_unknown_locale_do_no_harm() {
    let unknown = Some(Path::new("xx_YY.none"));
    runs(&[("TMPDIR", Some(Path::new("/dev/null/tmp"))), ("LANG", unknown), ("LC_ALL", unknown)], &[]);
}

#[test]
fn a_stderr_that_is_closed_full_or_without_a_reader_does_no_harm() {
    for redirection in ["2>&-", "2>/dev/full", "2> >(exit)", "<&- >&- 2>&-"] {
        let domain = Domain::claim();
        let parameters = node::parameters(json!({"input_timeout": 0.3}));
        let params = node::params_file(&parameters);
        let node = node::command(&domain, params.path(), &["-r", "image:=/cam/image"]);
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")])
            .arg(node.get_program())
            .args(node.get_args());
        domain.apply(&mut command);
        let node = Node::spawn(command);
        // Nobody hears its log; its status tells that it runs, also after it has said why it is silent.
        let mut peer = ros_support::bridge::Bridge::start(&domain);
        peer.advertise("/cam/image", IMAGE);
        let latched = json!({"durability": "transient_local", "depth": 1});
        peer.subscribe_with(ros_support::rig::STATUS, "looptrans_ros/msg/NodeStatus", latched);
        let is_told = |status: &Value| status["reasons"].to_string().contains("nothing comes on /cam/image");
        (0..2).for_each(|_| drop(peer.next_that(ros_support::rig::STATUS, is_told)));
        assert_eq!((redirection, node.stop("TERM").status.code()), (redirection, Some(0)));
    }
}
