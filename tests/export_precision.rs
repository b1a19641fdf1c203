//! `looptrans export --precision` as a user calls it, and the kernels that ONNX Runtime then computes with. Needs
//! ORT_DYLIB_PATH. Time is not asserted: that int8 is fast rests on its running in integer kernels.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

mod export_support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use export_support::{ACTIONS, bytes, runtime};
use image::{Rgb, RgbImage};
use looptrans_ros::{
    contract::{Bundle, OUTPUT_HEATMAP, Precision, Quantisation},
    export::seeded::{self, Architecture},
    onnx::proto::ModelProto,
};
use ndarray::{Axis, s};
use prost::Message;
use tempfile::TempDir;

/// Seeded weights and a folder for photos beside them.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(architecture: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        seeded::write(&bench.at("w.safetensors"), Architecture::named(architecture).unwrap(), &ACTIONS).unwrap();
        std::fs::create_dir(bench.at("photos")).unwrap();
        bench
    }

    fn with_photos(architecture: &str, count: u32) -> Self {
        let bench = Self::new(architecture);
        for seed in 0..count {
            let photo = RgbImage::from_fn(80, 60, |x, y| {
                let spot = (x as i32 - 20 - 15 * seed as i32).pow(2) + (y as i32 - 30).pow(2) < 200;
                if spot { Rgb([230, 60, 40]) } else { Rgb([(3 * x) as u8, (4 * y) as u8, (x + y) as u8]) }
            });
            photo.save(bench.at("photos").join(format!("{seed}.png"))).unwrap();
        }
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, arguments: &[&str]) -> Output {
        let fixed = ["export", "w.safetensors", "--out", "b", "--presence", "pixel", "--parity", "1"];
        let program = Path::new(env!("CARGO_BIN_EXE_looptrans"));
        Command::new(program).current_dir(self.folder.path()).args(fixed).args(arguments).output().unwrap()
    }

    fn exported(&self, arguments: &[&str]) -> (Bundle, serde_json::Value) {
        let output = self.export(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (Bundle::load(&self.at("b")).unwrap(), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The one line of a refusal, after which nothing may lie there.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.export(arguments);
        assert!(!output.status.success());
        assert!(!self.at("b").exists(), "a failed export leaves nothing behind");
        String::from_utf8(output.stderr).unwrap()
    }
}

const INT8: [&str; 4] = ["--precision", "int8", "--calibration", "photos"];

/// How many nodes of an operator ONNX Runtime really runs, after its own rewriting.
fn operators_run(onnx: &[u8]) -> impl Fn(&str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimised.onnx");
    let builder = ort::session::Session::builder(runtime::environment()).unwrap();
    builder.with_optimized_model_path(&path).unwrap().commit_from_memory(onnx).unwrap();
    let nodes = ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap().graph.unwrap().node;
    move |operator| nodes.iter().filter(|node| node.op_type == operator).count()
}

fn record(bundle: &Bundle) -> &Quantisation {
    bundle.contract.provenance.quantisation.as_ref().unwrap()
}

#[test]
fn int8_computes_every_large_product_in_integers() {
    let (bundle, report) = Bench::with_photos("toy", 3).exported(&INT8);
    let count = operators_run(&bundle.onnx);
    // One block with its projections and perceptron, the keys, the adapter; the patches and both convolutions.
    assert!(count("QGemm") >= 5, "{}", count("QGemm"));
    assert_eq!((count("QLinearConv"), count("Conv")), (3, 1));
    // Attention's own two have no constant weights; no float product is left in between.
    assert_eq!((count("MatMul"), count("Gemm")), (2, 1));
    assert_eq!(report["precision"]["precision"], "int8");
    assert!(report["precision"]["drift"]["sim"].as_f64().unwrap() >= 0.95, "{report}");
    assert_eq!((record(&bundle).calibration_pictures, bundle.contract.provenance.precision), (3, Precision::Int8));

    // The shapes that int8 writes into the graph leave the batch open.
    let three = bytes("pictures", &[3, 56, 56, 3]);
    let mut session = runtime::session(&bundle.onnx);
    let together = runtime::run(&mut session, three.view(), &[OUTPUT_HEATMAP]).remove(0);
    for index in 0..3 {
        let one = three.slice(s![index..=index, .., .., ..]).into_dyn();
        let alone = runtime::run(&mut session, one, &[OUTPUT_HEATMAP]).remove(0);
        let apart = &together.index_axis(Axis(0), index) - &alone.index_axis(Axis(0), 0);
        assert!(apart.iter().all(|difference| difference.abs() < 1e-4), "{apart}");
    }
}

#[test]
fn int8_of_vit_small_computes_every_large_product_in_integers() {
    let (bundle, _) = Bench::with_photos("vit_small_16", 2).exported(&INT8);
    let count = operators_run(&bundle.onnx);
    assert_eq!((count("MatMul"), count("QLinearConv"), count("Conv")), (22, 3, 1));
    assert!(count("QGemm") >= 11 * 4 + 3, "{}", count("QGemm"));
    assert!(bundle.onnx.len() < 30_000_000, "{} bytes, 96 MB in f32", bundle.onnx.len());
    assert!(record(&bundle).sim >= 0.95 && record(&bundle).int8_share > 0.95, "{:?}", record(&bundle));
}

#[test]
fn a_strict_wish_keeps_layers_in_float_and_names_them() {
    let bench = Bench::with_photos("toy", 2);
    let (_, loose) = bench.exported(&INT8);
    let sim = loose["precision"]["drift"]["sim"].as_f64().unwrap();
    let least = (1.0 - 0.5 * (1.0 - sim)).to_string();
    let (bundle, report) = bench.exported(&[&INT8[..], &["--force", "--int8-sim", &least]].concat());
    let named = &record(&bundle).float_for_drift;
    let layers = report["precision"]["int8"]["layers"].as_array().unwrap();
    let in_float =
        layers.iter().filter(|layer| layer["in_float"] == true).map(|layer| layer["layer"].as_str().unwrap());
    assert_eq!(in_float.collect::<Vec<_>>(), *named);
    assert!(!named.is_empty() && record(&bundle).sim > sim, "{:?}", record(&bundle));
}

#[test]
fn the_range_of_weights_is_reduced_where_it_is_asked() {
    let bench = Bench::with_photos("toy", 1);
    for (choice, bits) in [("on", 7), ("off", 8)] {
        let (bundle, _) = bench.exported(&[&INT8[..], &["--force", "--reduce-range", choice]].concat());
        assert_eq!(record(&bundle).weight_bits, bits);
    }
}

#[test]
fn fp16_is_written_with_and_without_pictures() {
    let bench = Bench::with_photos("toy", 2);
    let (bundle, report) = bench.exported(&["--precision", "fp16"]);
    assert_eq!(bundle.contract.provenance.precision, Precision::Fp16);
    assert!(report["precision"]["drift"].is_null());
    // What is written tells of the bundle as it is, not of the f32 graph before.
    let parity = bundle.contract.provenance.parity.as_ref().unwrap();
    assert!(parity.heatmap.of_range > 1e-5 && parity.heat.unwrap().mean_sim > 0.99, "{parity:?}");
    let table = String::from_utf8(bench.export(&["--precision", "fp16", "--force"]).stdout).unwrap();
    assert!(table.contains("tolerance of the graph in f32 1e-4"), "{table}");
    let (_, report) = bench.exported(&["--force", "--precision", "fp16", "--calibration", "photos"]);
    assert!(report["precision"]["drift"]["sim"].as_f64().unwrap() > 0.995, "{report}");
}

#[test]
fn orders_that_cannot_be_met_are_refused_in_one_line() {
    let bench = Bench::new("toy");
    let refused = |arguments: &[&str], expected: &str| {
        let error = bench.refused(arguments);
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
    };
    refused(&INT8[..2], "expected --calibration FOLDER");
    refused(&INT8, "expected JPEG or PNG pictures, found none");
    refused(&["--precision", "int8", "--calibration", "absent"], "calibration folder absent");
    refused(&[&INT8[..], &["--int8-sim", "nan"]].concat(), "--int8-sim: expected 0 to 1, found NaN");
    refused(&["--calibration", "photos"], "--calibration: expected --precision fp16 or int8");
    // Before the weights are read.
    std::fs::write(bench.at("w.safetensors"), "no weights").unwrap();
    for tolerance in ["nan", "-1", "inf"] {
        let expected = "--tolerance: expected a number of 0 or more, found";
        refused(&[&format!("--tolerance={tolerance}")], expected);
    }
    for threshold in ["5", "nan", "-0.1"] {
        refused(&[&format!("--heat-threshold={threshold}")], "--heat-threshold: expected 0 to 1, found");
    }
}
