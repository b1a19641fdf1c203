//! `looptrans export` and its parity table, as a user calls it. Here the reference is the graph without rewrites, unless
//! the feature `train` is on; tests/train/export.rs has libtorch's side.
//!
//! Needs ONNX Runtime (`ORT_DYLIB_PATH`); fails without it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

use std::{
    path::Path,
    process::{Command, Output},
};

use looptrans_ros::contract::{Bundle, Parity, PictureSource, ReferenceKind, Size};

const REFERENCE: ReferenceKind =
    if cfg!(feature = "train") { ReferenceKind::Libtorch } else { ReferenceKind::PlainGraph };

fn looptrans(folder: &Path, arguments: &[&str]) -> Output {
    looptrans_with(folder, arguments, &std::env::var("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH: source scripts/env.sh"))
}

fn looptrans_with(folder: &Path, arguments: &[&str], library: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    program.current_dir(folder).args(arguments).env("ORT_DYLIB_PATH", library).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr of an export that fails, and leaves nothing.
fn refusal(output: &Output, folder: &Path) -> String {
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line}");
    let mut left: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["w.safetensors"], "left behind");
    line
}

fn seeded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let seed = ["seed-weights", "--arch", "toy", "--actions", "cut,hold,open", "--out", "w.safetensors"];
    succeed(folder.path(), &seed);
    folder
}

fn parity(folder: &Path) -> Option<Parity> {
    Bundle::load(&folder.join("b")).unwrap().contract.provenance.parity
}

#[test]
fn an_export_tells_how_exact_it_is_and_so_does_its_contract() {
    let folder = seeded();
    let table = succeed(folder.path(), &["export", "w.safetensors", "--out", "b"]);
    let parity = parity(folder.path()).unwrap();
    assert!(table.contains(&format!("with {} on 4 drawn pictures; tolerance 1e-4", REFERENCE.name())), "{table}");
    assert!(table.contains("KLD mean") && table.contains("SIM mean 1.0000"), "{table}");
    assert_eq!((parity.reference, parity.pictures, parity.pictures_from), (REFERENCE, 4, PictureSource::Drawn));
    let Parity { heatmap, presence, heat, tolerance, .. } = parity;
    assert_eq!(tolerance, 1e-4);
    // Another order of sums: something differs, and not much.
    assert!(heatmap.max_abs > 0.0 && heatmap.mean_abs < heatmap.max_abs && heatmap.of_range < 1e-5, "{heatmap:?}");
    assert!(presence.of_range < 1e-5, "{presence:?}");
    let heat = heat.unwrap();
    assert!(heat.min_sim > 0.9999 && heat.max_kld < 1e-5, "{heat:?}");
}

#[test]
fn above_the_tolerance_nothing_is_written_unless_drift_is_allowed() {
    let folder = seeded();
    let strict = ["export", "w.safetensors", "--out", "b", "--tolerance", "1e-12"];
    let line = refusal(&looptrans(folder.path(), &strict), folder.path());
    for part in ["nothing was exported", "4 pictures", "at most 1e-12 of the range, found", "--allow-drift"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    succeed(folder.path(), &[&strict[..], &["--allow-drift"]].concat());
    let parity = parity(folder.path()).unwrap();
    assert!(!parity.holds() && parity.tolerance == 1e-12);
}

#[test]
fn without_onnx_runtime_an_export_refuses_or_says_that_nothing_was_compared() {
    let folder = seeded();
    let export = ["export", "w.safetensors", "--out", "b"];
    let line = refusal(&looptrans_with(folder.path(), &export, "/nowhere/libonnxruntime.so"), folder.path());
    assert!(line.contains("--parity 0") && line.contains("/nowhere/libonnxruntime.so"), "{line}");
    let blind = [&export[..], &["--parity", "0"]].concat();
    let output = looptrans_with(folder.path(), &blind, "/nowhere/libonnxruntime.so");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing was compared"));
    assert_eq!(parity(folder.path()), None);
    let yaml = std::fs::read_to_string(folder.path().join("b/model.yaml")).unwrap();
    assert!(yaml.contains("parity: null"), "{yaml}");
}

#[test]
fn a_wide_static_bundle_is_compared_on_the_user_s_pictures_and_looks_at_them() {
    let folder = seeded();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for (index, name) in ["a.png", "b.jpg", "c.png"].into_iter().enumerate() {
        let level = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 5) as u8, 60 * index as u8]);
        image::RgbImage::from_fn(90, 50, level).save(photos.join(name)).unwrap();
    }
    let size = ["--size", "40x72", "--static", "--pictures", "photos", "--parity", "2"];
    succeed(folder.path(), &[&["export", "w.safetensors", "--out", "b"], size.as_slice()].concat());
    let contract = Bundle::load(&folder.path().join("b")).unwrap().contract;
    assert_eq!(contract.input, Size { height: 40, width: 72 });
    assert_eq!(contract.heatmap, Size { height: 5, width: 9 });
    let parity = contract.provenance.parity.unwrap();
    assert_eq!((parity.pictures, parity.pictures_from), (2, PictureSource::Folder));
    succeed(folder.path(), &["predict", "--model", "b", "photos/a.png", "--out", "seen", "--raw"]);
    let overlay = image::open(folder.path().join("seen/a.overlay.png")).unwrap();
    assert_eq!((overlay.width(), overlay.height()), (90, 50));
    let maps: ndarray::Array3<f32> = ndarray_npy::read_npy(folder.path().join("seen/a.class_maps.npy")).unwrap();
    assert_eq!(maps.dim(), (3, 5, 9));
}

#[test]
fn each_rewrite_is_reported_by_itself_with_time_and_difference() {
    let folder = seeded();
    let explain =
        ["export", "w.safetensors", "--out", "b", "--affordances", "open", "--explain", "--runs", "3", "--json"];
    let report: serde_json::Value = serde_json::from_str(&succeed(folder.path(), &explain)).unwrap();
    let rows = report["rewrites"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["rewrite"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 10);
    assert!(names.contains(&"trim") && names.contains(&"fused-attention") && names.contains(&"all"), "{names:?}");
    for row in rows {
        assert!(row["ms_without"].as_f64().unwrap() > 0.0 && row["ms_with"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["heatmap"]["of_range"].as_f64().unwrap() < 1e-5, "{row}");
    }
    let folded = rows.iter().find(|row| row["rewrite"] == "fold-normalisation").unwrap();
    assert!(folded["heatmap"]["max_abs"].as_f64().unwrap() > 0.0, "{folded}");
    assert_eq!(report["contract"]["provenance"]["parity"]["pictures"], 4);
}

#[test]
fn the_plain_graph_can_be_exported_and_a_wrong_switch_is_answered_with_the_known_ones() {
    let folder = seeded();
    let export = ["export", "w.safetensors", "--out", "b"];
    succeed(folder.path(), &[&export[..], &["--without", "all"]].concat());
    if REFERENCE == ReferenceKind::PlainGraph {
        assert_eq!(parity(folder.path()).unwrap().heatmap.max_abs, 0.0, "the reference itself");
    }
    let output = looptrans(folder.path(), &[&export[..], &["--force", "--without", "trimm"]].concat());
    assert_eq!(output.status.code(), Some(2), "clap's code for a wrong call");
    assert!(String::from_utf8_lossy(&output.stderr).contains("fold-batch-norm"));
}
