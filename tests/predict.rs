//! `looptrans predict` as a user calls it, on a model whose answer one can foresee and on one of seeded weights.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

mod models;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use image::RgbImage;
use looptrans_ros::{
    contract::{Bundle, CONTRACT_FILE, MODEL_FILE},
    telemetry,
};
use ndarray::Array3;
use serde_json::Value;

/// A folder with bundle `colours` and pictures: red.png has a red square on dark green at x 180..240, y 60..120.
fn folder() -> tempfile::TempDir {
    models::on_cpu(); // says what to do without ONNX Runtime
    let folder = tempfile::tempdir().unwrap();
    save(&models::colours(), &folder.path().join("colours"));
    let red = |x, y| (180..240).contains(&x) && (60..120).contains(&y);
    let picture = RgbImage::from_fn(320, 240, |x, y| image::Rgb(if red(x, y) { [220, 0, 0] } else { [0, 60, 0] }));
    picture.save(folder.path().join("red.png")).unwrap();
    std::fs::write(folder.path().join("text.jpg"), "no picture").unwrap();
    folder
}

fn save(bundle: &Bundle, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join(MODEL_FILE), &bundle.onnx).unwrap();
    std::fs::write(folder.join(CONTRACT_FILE), serde_yaml::to_string(&bundle.contract).unwrap()).unwrap();
}

fn predict(folder: &Path, arguments: &[&str]) -> Output {
    let fixed = ["predict", "--model", "colours", "--provider", "cpu", "--min-score", "0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.current_dir(folder).args(fixed).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = predict(folder, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr of a call that fails before any picture.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = predict(folder, arguments);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let text = stderr(&output);
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    text
}

fn regions(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("regions.json")).unwrap()).unwrap()
}

fn files(out: &Path) -> Vec<String> {
    let names = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// ONNX Runtime's official builds would; set aside what keeps it from that elsewhere.
#[test]
fn onnx_runtime_keeps_no_database_of_what_it_ran() {
    let (folder, home) = (folder(), tempfile::tempdir().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    for name in ["CI", "ORT_RUNNING_UNIT_TESTS", telemetry::VARIABLE, "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command.current_dir(&folder).env("HOME", home.path());
    command.args(["predict", "--model", "colours", "--provider", "cpu", "--out", "out", "red.png"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_red_square_is_found_and_drawn_where_it_is() {
    let folder = folder();
    let out = folder.path().join("out");
    let table = succeed(folder.path(), &["--affordance", "red", "red.png", "--out", "out"]);
    assert!(table.contains("1 done, 0 failed") && table.contains("cpu"), "{table}");
    assert_eq!(files(&out), ["red.overlay.png", "red.red.heatmap.png", "regions.json"]);

    let report = regions(&out);
    assert_eq!(report["actions"], serde_json::json!(["red", "green", "blue"]));
    assert_eq!(report["execution_provider"], "cpu");
    let image = &report["images"][0];
    assert_eq!((&image["width"], &image["height"], &image["image"]), (&320.into(), &240.into(), &"red.png".into()));
    let best = &image["regions"][0];
    assert_eq!((&best["affordance"], &best["class_id"]), (&"red".into(), &0.into()));
    let point = [0, 1].map(|axis| best["point"][axis].as_f64().unwrap());
    assert!((180.0..240.0).contains(&point[0]) && (60.0..120.0).contains(&point[1]), "{point:?}");

    let heat = image::open(out.join("red.red.heatmap.png")).unwrap().into_luma8();
    assert_eq!(heat.dimensions(), (320, 240));
    assert!(heat.get_pixel(187, 90)[0] > 240 && heat.get_pixel(20, 200)[0] == 0);
    let overlay = image::open(out.join("red.overlay.png")).unwrap().into_rgb8();
    assert_eq!(overlay.dimensions(), (320, 240));
    assert_eq!(overlay.get_pixel(20, 220).0, [0, 60, 0], "cold parts show the picture");
}

#[test]
fn raw_class_maps_are_the_models_own_numbers() {
    let folder = folder();
    succeed(folder.path(), &["--affordance", "green", "red.png", "--out", "out", "--raw"]);
    let maps: Array3<f32> = ndarray_npy::read_npy(folder.path().join("out/red.class_maps.npy")).unwrap();
    // All three of the model's, though one was asked for.
    let cells = models::COLOURS_CELLS;
    assert_eq!(maps.dim(), (3, cells.height as usize, cells.width as usize));
    // The corner is dark green, 60. All is divided by the brightest mean: of a cell that the red square, 220, fills to 62 %.
    let corner = [0, 1, 2].map(|channel| maps[[channel, 0, 0]]);
    assert!(corner[0] == 0.0 && (0.4..0.5).contains(&corner[1]) && corner[2] == 0.0, "{corner:?}");
    assert_eq!(maps.iter().copied().fold(0.0, f32::max), 1.0);
    assert_eq!(regions(&folder.path().join("out"))["images"][0]["class_maps"], "red.class_maps.npy");
}

#[test]
fn pictures_that_fail_are_named_and_counted_and_the_others_done() {
    let folder = folder();
    // The model gives NaN for a black picture.
    RgbImage::new(64, 48).save(folder.path().join("black.png")).unwrap();
    let output = predict(folder.path(), &["text.jpg", "red.png", "absent.png", "black.png", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for part in ["text.jpg: neither JPEG nor PNG", "absent.png", "black.png", "error: 3 of 4 pictures failed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 done, 3 failed"));
    let report = regions(&folder.path().join("out"));
    assert_eq!(report["images"].as_array().unwrap().len(), 1);
    let failed: Vec<&str> = report["failed"].as_array().unwrap().iter().map(|f| f["image"].as_str().unwrap()).collect();
    assert_eq!(failed, ["text.jpg", "absent.png", "black.png"]);
}

#[test]
fn results_are_replaced_only_by_force() {
    let folder = folder();
    let call = ["--affordance", "red", "red.png", "--out", "out"];
    succeed(folder.path(), &call);
    let overlay = folder.path().join("out/red.overlay.png");
    std::fs::write(&overlay, "mine").unwrap();
    let text = refused(folder.path(), &call);
    assert!(text.contains("exists; give --force to replace it"), "{text}");
    assert_eq!(std::fs::read(&overlay).unwrap(), b"mine");
    succeed(folder.path(), &[&call[..], &["--force"]].concat());
    assert!(image::open(&overlay).is_ok());
    // A link is replaced; what it leads to is not written to.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    std::fs::remove_file(&overlay).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &overlay).unwrap();
    succeed(folder.path(), &[&call[..], &["--force"]].concat());
    assert!(overlay.symlink_metadata().unwrap().is_file() && image::open(&overlay).is_ok());
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"mine");
}

#[test]
fn an_unknown_affordance_is_answered_with_a_hint_and_the_list() {
    let folder = folder();
    let text = refused(folder.path(), &["--affordance", "gren", "red.png", "--out", "out"]);
    assert!(text.contains("\"gren\"; did you mean green?") && text.contains("red, green, blue"), "{text}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn values_out_of_range_and_missing_bundles_are_refused() {
    let folder = folder();
    let text = refused(folder.path(), &["--heat-threshold", "1.5", "red.png", "--out", "out"]);
    assert!(text.contains("heat_threshold: expected 0 to 1, found 1.5"), "{text}");
    let output = Command::new(env!("CARGO_BIN_EXE_looptrans"))
        .current_dir(folder.path())
        .args(["predict", "--model", "gone", "red.png", "--out", "out"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gone"), "{}", stderr(&output));
}

#[test]
fn a_photo_is_taken_upright_and_a_seeded_bundle_runs_on_it() {
    let folder = folder();
    save(&models::seeded("toy"), &folder.path().join("seeded"));
    let photo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures/turned.jpg");
    let photo = photo.to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_looptrans"))
        .current_dir(folder.path())
        .args(["predict", "--model", "seeded", "--affordance", "hold", photo, photo, "--out", "out", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["pictures"], 2);
    let report = regions(&folder.path().join("out"));
    // The file holds 33x21 pixels to be turned by a quarter.
    assert_eq!((&report["images"][0]["width"], &report["images"][0]["height"]), (&21.into(), &33.into()));
    assert_eq!(report["images"][1]["overlay"], "turned_2.overlay.png");
    assert!(report["images"][0]["affordances"][0]["presence"].as_f64().unwrap() <= 1.0);
}
