//! `looptrans seed-weights` and `looptrans export` as a user calls them: the real program, its output and exit code.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

use std::{
    path::Path,
    process::{Command, Output},
};

use looptrans_ros::contract::{Bundle, PresenceSource};

fn looptrans(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_looptrans")).current_dir(folder).args(arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr of a command that fails with code 1.
fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    text
}

const SEED: [&str; 7] = ["seed-weights", "--arch", "toy", "--actions", "cut,hold,open", "--out", "w.safetensors"];

#[test]
fn seeded_weights_become_a_bundle_and_both_reports_say_it_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let table = succeed(folder.path(), &SEED);
    assert!(table.contains("3: cut hold open") && table.contains("the heat means nothing"), "{table}");
    let table = succeed(folder.path(), &["export", "w.safetensors", "--out", "b", "--name", "mine"]);
    assert!(table.contains("the heat means nothing") && table.contains("trained"), "{table}");
    let contract = Bundle::load(&folder.path().join("b")).unwrap().contract;
    assert!(table.contains(&contract.model_id()), "{table}");
    assert_eq!(contract.presence.source, PresenceSource::Scam);
    assert_eq!(contract.provenance.command, "looptrans export w.safetensors --out b --name mine");
}

#[test]
fn options_reach_the_contract_and_json_is_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &SEED);
    // No parity: serde_json reads the last digit of a measured number otherwise than YAML.
    let options =
        ["--presence", "pixel", "--affordances", "open,cut", "--heat-threshold", "0.25", "--parity", "0", "--json"];
    let json = succeed(folder.path(), &[&["export", "w.safetensors", "--out", "b"], options.as_slice()].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let contract = Bundle::load(&folder.path().join("b")).unwrap().contract;
    assert_eq!(report["contract"], serde_json::to_value(&contract).unwrap());
    assert_eq!(report["model_id"], contract.model_id());
    assert_eq!(contract.name, "w", "the weights file's name");
    assert_eq!(contract.actions, ["open", "cut"]);
    assert_eq!(contract.presence.source, PresenceSource::Pixel);
    assert_eq!(contract.heat_threshold, 0.25);
}

#[test]
fn failures_are_one_line_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), &SEED);
    assert!(fail(folder.path(), &SEED).contains("w.safetensors exists"));
    succeed(folder.path(), &["export", "w.safetensors", "--out", "b"]);
    assert!(fail(folder.path(), &["export", "w.safetensors", "--out", "b"]).contains("give --force"));
    succeed(folder.path(), &["export", "w.safetensors", "--out", "b", "--force"]);
    let missing = fail(folder.path(), &["export", "gone.safetensors", "--out", "c"]);
    assert_eq!(missing.matches("No such file").count(), 1, "a cause is said once: {missing}");
}

#[test]
fn a_folder_that_is_not_called_by_its_name_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    // No weights file: it is not looked for.
    let line = fail(&empty, &["export", "w.safetensors", "--out", "."]);
    assert!(line.contains("a folder that is not called by its name; name a new one, such as ./bundle"), "{line}");
}

#[test]
fn a_wrong_option_is_answered_with_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let output = looptrans(folder.path(), &["seed-weights", "--arch", "vit_huge", "--actions", "cut", "--out", "w"]);
    assert_eq!(output.status.code(), Some(2), "clap's code for a wrong call");
    assert!(String::from_utf8_lossy(&output.stderr).contains("vit_small_16"));
}

#[test]
fn help_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["seed-weights", "export"] {
        assert!(succeed(folder.path(), &[command, "--help"]).contains("Examples:"));
    }
}
