//! `looptrans bench` as a user calls it. Needs: ONNX Runtime (ORT_DYLIB_PATH). Not asserted: how long anything takes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn looptrans(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_looptrans")).current_dir(folder).args(arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    text
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn row<'a>(group: &'a Value, name: &str) -> &'a Value {
    let rows = group["rows"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name} in {group}"))
}

const QUICK: [&str; 6] = ["bench", "--arch", "toy", "--seconds", "0.01", "--json"];

#[test]
fn every_size_batch_and_thread_count_is_a_group_with_the_reference_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--size", "56,64", "--batch", "1,2", "--threads", "1,2"];
    let report = json(&succeed(folder.path(), &[QUICK.as_slice(), &options].concat()));
    let groups = report["groups"].as_array().unwrap();
    let key = |group: &Value| {
        let side = row(group, "fp32")["input"][0].as_u64().unwrap();
        (side, group["batch"].as_u64().unwrap(), group["threads"].as_u64().unwrap())
    };
    let keys: Vec<_> = groups.iter().map(key).collect();
    let all: Vec<_> = [56, 64]
        .into_iter()
        .flat_map(|side| [1, 2].map(|batch| (side, batch)))
        .flat_map(|(side, batch)| [1, 2].map(|threads| (side, batch, threads)))
        .collect();
    assert_eq!(keys, all);
    for group in groups {
        let reference = row(group, "reference");
        assert_eq!(reference["ratio_to_reference"], 1.0);
        for name in ["reference", "fp32", "fp16", "int8", "matrix product"] {
            let row = row(group, name);
            assert!(row["p10_ms"].as_f64() <= row["median_ms"].as_f64(), "{row}");
            assert!(row["median_ms"].as_f64() <= row["p90_ms"].as_f64(), "{row}");
            assert!(row["median_ms"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["nodes"]["CPUExecutionProvider"].as_u64().unwrap() > 0, "{row}");
        }
        assert!(group["rounds"].as_u64().unwrap() >= 11);
        // What is exported leaves out most of the last block, here one of two.
        assert!(row(group, "fp32")["gmac"].as_f64() < reference["gmac"].as_f64(), "{group}");
    }
    // Twice the pictures are twice the work.
    let gmac = |index: usize| row(&groups[index], "fp32")["gmac"].as_f64().unwrap();
    assert!((gmac(2) / gmac(0) - 2.0).abs() < 1e-9, "{} {}", gmac(2), gmac(0));
}

#[test]
fn multiply_adds_are_those_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["bench", "--arch", "vit_tiny_16", "--size", "224", "--threads", "2", "--seconds", "0.01", "--json"];
    let report = json(&succeed(folder.path(), &options));
    // By hand, with n = 197 tokens, p = 196 patches, d = 192: eleven blocks of qkv, projection, MLP and two products of
    // attention; the patch embedding; the last block's keys; the adapter; two convolutions; 36 maps; 51 scores.
    let (n, p, d) = (197_u64, 196_u64, 192_u64);
    let block = n * d * d * (3 + 1 + 8) + 2 * n * n * d;
    let by_hand = 11 * block + p * 768 * d + p * d * d + 8 * p * d * d + 2 * 9 * p * d * d + p * d * 36 + d * 51;
    let found = row(&report["groups"][0], "fp32")["gmac"].as_f64().unwrap() * 1e9;
    // Blocked convolutions compute the 36 maps as a whole number of vectors.
    let difference = found / by_hand as f64 - 1.0;
    assert!((0.0..1e-3).contains(&difference), "{found} {by_hand}");
}

#[test]
fn weights_files_and_bundles_are_measured_and_the_report_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeed(at, &["seed-weights", "--arch", "toy", "--actions", "cut,hold", "--out", "w.safetensors"]);
    for (name, presence) in [("a", "scam"), ("b", "pixel")] {
        succeed(at, &["export", "w.safetensors", "--out", name, "--presence", presence]);
    }
    let quick = ["--size", "56,64", "--threads", "1", "--seconds", "0.01"];
    let arguments = [&["bench", "w.safetensors", "a", "b", "--out", "bench.json"], quick.as_slice()].concat();
    let table = succeed(at, &arguments);
    let kept = json(&fs::read_to_string(at.join("bench.json")).unwrap());
    let groups = kept["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    // And libtorch's row, where there is one.
    let rows = 5 + usize::from(cfg!(feature = "train"));
    assert_eq!(groups[1]["rows"].as_array().unwrap().len(), rows, "no bundle is of that size: {}", groups[1]);
    for name in ["a", "b"] {
        assert!(row(&groups[0], name)["ratio_to_reference"].as_f64().unwrap() > 0.0);
    }
    let message = fail(at, &arguments);
    assert!(message.contains("bench.json exists; give --force"), "{message}");
    succeed(at, &[arguments.as_slice(), &["--force"]].concat());
    let json = succeed(at, &["bench", "a", "b", "--threads", "1", "--seconds", "0.01", "--json"]);
    let group = &serde_json::from_str::<Value>(&json).unwrap()["groups"][0];
    assert_eq!(row(group, "a")["ratio_to_reference"], 1.0, "the first bundle stands in for the reference");
    assert_eq!(row(group, "b")["ratio_to_fp32"], Value::Null);
    // A bundle's name makes it nothing that it is not.
    fs::rename(at.join("a"), at.join("reference")).unwrap();
    fs::rename(at.join("b"), at.join("matrix product")).unwrap();
    let json = succeed(at, &["bench", "matrix product", "reference", "--threads", "1", "--seconds", "0.01", "--json"]);
    let group = &serde_json::from_str::<Value>(&json).unwrap()["groups"][0];
    assert_eq!(row(group, "matrix product")["ratio_to_reference"], 1.0, "the first bundle");
    for name in ["reference", "fp32", "fp16", "int8", "matrix product", "a ", "b "] {
        assert!(table.contains(name), "{name}: {table}");
    }
}

#[test]
fn what_cannot_be_measured_is_one_line_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text"), "no weights").unwrap();
    for (arguments, expected) in [
        (["--batch", "0"], "--batch and --threads: expected 1 or more, found 0"),
        (["--threads", "0"], "--batch and --threads: expected 1 or more, found 0"),
        (["--seconds", "0"], "--seconds: expected more than 0"),
        (["--seconds", "nan"], "--seconds: expected more than 0"),
        (["--size", "60"], "multiples of the patch, 8, found 60x60"),
    ] {
        let message = fail(at, &[&["bench", "--arch", "toy"], arguments.as_slice()].concat());
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let message = fail(at, &["bench", "text"]);
    assert!(message.contains("expected a safetensors file"), "{message}");
    let message = fail(at, &["bench", "text", "text"]);
    assert!(message.contains("at most one weights file"), "{message}");
}

#[test]
fn hardware_that_is_not_there_gives_no_figures() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["bench", "--arch", "toy", "--size", "56", "--seconds", "0.01", "--json", "--provider", "cuda"];
    let output = looptrans(folder.path(), &options);
    // With a library and a machine that have CUDA, it is measured there.
    if output.status.success() {
        let report = json(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(row(&report["groups"][0], "fp32")["provider"], "cuda");
    } else {
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("execution provider cuda can't be had"), "{text}");
    }
}
