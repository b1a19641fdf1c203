//! `looptrans eval` as a user calls it, on a model whose heat one can foresee and on one of seeded weights.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

mod models;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use image::{GrayImage, Luma, Rgb, RgbImage};
use looptrans_ros::{
    contract::{Bundle, CONTRACT_FILE, MODEL_FILE},
    metrics::Protocol,
};
use ndarray::Array2;
use serde_json::Value;

/// Pictures of the network's own size with a red left half and a blue right half, and truths on either half.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        models::on_cpu(); // says what to do without ONNX Runtime
        let folder = Self(tempfile::tempdir().unwrap());
        let bundle = models::colours();
        save(&bundle, &folder.0.path().join("colours"));
        folder
    }

    fn item(&self, named: (&str, &str, &str), truth: impl Fn(u32) -> u8) {
        self.item_of(24, named, truth);
    }

    /// A picture that is red up to this column, and blue from there on.
    fn item_of(&self, red: u32, (affordance, object, name): (&str, &str, &str), truth: impl Fn(u32) -> u8) {
        let at = |part: &str| self.0.path().join(format!("set/testset/{part}/{affordance}/{object}"));
        [at("egocentric"), at("GT")].iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let half = |x| Rgb(if x < red { [200, 0, 0] } else { [0, 0, 200] });
        let file = format!("{name}.png");
        RgbImage::from_fn(48, 32, |x, _| half(x)).save(at("egocentric").join(&file)).unwrap();
        GrayImage::from_fn(48, 32, |x, _| Luma([truth(x)])).save(at("GT").join(file)).unwrap();
    }

    fn eval(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        let fixed = ["--provider", "cpu"];
        command.current_dir(self.0.path()).arg("eval").args(arguments).args(fixed).output().unwrap()
    }

    fn report(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.eval(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn save(bundle: &Bundle, folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join(MODEL_FILE), &bundle.onnx).unwrap();
    fs::write(folder.join(CONTRACT_FILE), serde_yaml::to_string(&bundle.contract).unwrap()).unwrap();
}

fn left(x: u32) -> u8 {
    if x < 24 { 255 } else { 0 }
}

fn right(x: u32) -> u8 {
    255 - left(x)
}

#[test]
fn scores_are_those_of_the_protocol_and_means_are_over_pictures() {
    let folder = Folder::new();
    folder.item(("red", "ball", "a"), left);
    folder.item(("red", "ball", "b"), left);
    folder.item(("blue", "cube", "a"), left);
    let report = folder.report(&["colours", "set"], 0);
    // The class maps by hand: a cell of 8 pixels is red or blue as a whole, 3 cells of 6 either way.
    let red = Array2::from_shape_fn((4, 6), |(_, x)| if x < 3 { 1.0_f32 } else { 0.0 });
    let truth = Array2::from_shape_fn((32, 48), |(_, x)| if x < 24 { 1.0_f64 } else { 0.0 });
    let good = Protocol::default().score(red.view(), truth.view()).unwrap();
    let bad = Protocol::default().score(red.mapv(|v| 1.0 - v).view(), truth.view()).unwrap();
    let close = |found: &Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found}, expected {expected}");
    };
    let (red, blue) = (&report["affordances"]["red"], &report["affordances"]["blue"]);
    assert_eq!((&red["items"], &blue["items"], &report["overall"]["items"]), (&2.into(), &1.into(), &3.into()));
    for (group, scores) in [(red, good), (&report["objects"]["ball"], good), (blue, bad)] {
        close(&group["kld"], scores.kld);
        close(&group["sim"], scores.sim);
        close(&group["nss"], scores.nss.unwrap());
    }
    close(&report["overall"]["kld"], (2.0 * good.kld + bad.kld) / 3.0);
    close(&report["overall"]["nss"], (2.0 * good.nss.unwrap() + bad.nss.unwrap()) / 3.0);
    assert!(good.kld < 0.5 && bad.kld > 2.0, "{} {}", good.kld, bad.kld);
}

#[test]
fn presence_of_a_bundle_is_judged_by_what_objects_are_filed_under() {
    let folder = Folder::new();
    // Presence by hand, the share of columns: red 5/6 and blue 1/6 of the ball, 1/2 each of the cube.
    folder.item_of(40, ("red", "ball", "a"), left);
    folder.item_of(24, ("blue", "cube", "a"), left);
    folder.item_of(24, ("blue", "cube", "broken"), left);
    fs::write(folder.0.path().join("set/testset/egocentric/blue/cube/broken.png"), b"no picture").unwrap();
    let presence = &folder.report(&["colours", "set"], 1)["presence"];
    // Right pairs: 5/6 and 1/2; wrong ones: 1/6 and 1/2. Three pairs of four in order, one a tie.
    for (name, expected) in [
        ("pictures", 2.0),
        ("positives", 2.0),
        ("negatives", 2.0),
        ("auroc", 0.875),
        ("ece", (1.0 / 6.0 + 1.0 / 6.0) / 4.0),
    ] {
        let found = presence[name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5, "{name}: {found}, expected {expected}");
    }
    let text = String::from_utf8(folder.eval(&["colours", "set"]).stdout).unwrap();
    assert!(text.contains("AUROC 0.875, expected calibration error 0.083 (2 pictures, 2 pairs"), "{text}");

    // A name that is counted anew under another action is another picture; a copy of one is not.
    folder.item_of(20, ("green", "ball", "a"), left);
    folder.item_of(40, ("green", "ball", "copy"), left);
    assert_eq!(folder.report(&["colours", "set"], 1)["presence"]["pictures"], 3);
    fs::remove_dir_all(folder.0.path().join("set/testset/egocentric/green")).unwrap();
    fs::remove_dir_all(folder.0.path().join("set/testset/GT/green")).unwrap();

    fs::remove_dir_all(folder.0.path().join("set/testset/egocentric/blue")).unwrap();
    fs::remove_dir_all(folder.0.path().join("set/testset/GT/blue")).unwrap();
    assert!(folder.report(&["colours", "set"], 0)["presence"].is_null());
    let text = String::from_utf8(folder.eval(&["colours", "set"]).stdout).unwrap();
    assert!(text.contains("presence") && text.contains("not measured: that takes pictures of several kinds"), "{text}");
}

#[test]
fn what_can_t_be_scored_is_named_with_its_reason_and_the_rest_is_scored() {
    let folder = Folder::new();
    folder.item(("red", "ball", "a"), left);
    folder.item(("red", "ball", "black_truth"), |_| 0);
    folder.item(("red", "ball", "broken"), left);
    folder.item(("stir", "spoon", "a"), right);
    fs::write(folder.0.path().join("set/testset/egocentric/red/ball/broken.png"), b"no picture").unwrap();
    let report = folder.report(&["colours", "set"], 1);
    let skipped: Vec<(String, String)> = report["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| {
            let text = |key: &str| skipped[key].as_str().unwrap().to_owned();
            (text("picture").rsplit_once("egocentric/").unwrap().1.to_owned(), text("reason"))
        })
        .collect();
    let [black, broken, unknown] = &skipped[..] else { panic!("{skipped:?}") };
    assert!(black.0 == "red/ball/black_truth.png" && black.1.contains("zero everywhere"), "{black:?}");
    assert!(broken.0 == "red/ball/broken.png" && broken.1.contains("broken.png"), "{broken:?}");
    assert!(unknown.0 == "stir/spoon/a.png" && unknown.1.contains("does not know the action stir"), "{unknown:?}");
    assert_eq!(report["overall"]["items"], 1);
}

#[test]
fn saved_heatmaps_show_where_the_heat_is_and_are_not_overwritten_unasked() {
    let folder = Folder::new();
    folder.item(("blue", "cube", "a"), right);
    folder.item(("blue", "cube", "a.1"), right);
    folder.report(&["colours", "set", "--save-maps", "maps"], 0);
    assert!(folder.0.path().join("maps/blue/cube/a.1.png").is_file());
    let map = image::open(folder.0.path().join("maps/blue/cube/a.png")).unwrap().into_luma8();
    assert_eq!(map.dimensions(), (224, 224));
    assert_eq!((map.get_pixel(10, 100)[0], map.get_pixel(210, 100)[0]), (0, 255));
    let output = folder.eval(&["colours", "set", "--save-maps", "maps"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("maps exists; give --force"));
    folder.report(&["colours", "set", "--save-maps", "maps", "--force"], 0);
}

#[test]
fn a_weights_file_scores_as_its_bundle_does() {
    let folder = Folder::new();
    folder.item(("hold", "cup", "a"), left);
    folder.item(("open", "box", "a"), right);
    let at = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        let status = command.current_dir(folder.0.path()).args(arguments).output().unwrap().status;
        assert!(status.success(), "{arguments:?}");
    };
    at(&["seed-weights", "--arch", "toy", "--actions", "cut,hold,open", "--out", "w.safetensors"]);
    at(&["export", "w.safetensors", "--out", "bundle", "--parity", "1"]);
    let (weights, bundle) = (folder.report(&["w.safetensors", "set"], 0), folder.report(&["bundle", "set"], 0));
    assert_eq!(weights["overall"], bundle["overall"]);
    assert_eq!(weights["overall"]["items"], 2);
}

#[test]
fn a_dataset_without_tests_is_refused() {
    let folder = Folder::new();
    fs::create_dir_all(folder.0.path().join("set/trainset/exocentric/red/ball")).unwrap();
    let output = folder.eval(&["colours", "set"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("no test pictures"), "{stderr}");
}
