//! Bundles for tests. `seeded` runs the whole Theta_pixel graph; `colours` has an answer one can foresee.
//!
//! Each test file uses what it needs of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use looptrans_ros::{
    affordance::AGD20K_SEEN,
    contract::{
        Bundle, FORMAT, INPUT_IMAGE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE, Precision, Presence,
        PresenceSource, Provenance, Size, sha256_hex,
    },
    export::{
        bundle,
        graph::{Attr, Graph, Port},
        seeded::{self, Architecture},
    },
    onnx::{FLOAT, UINT8},
    perceive::{
        heatmap::{HeatmapEncoding, HeatmapSize},
        infer::{InferSettings, LIBRARY_VARIABLE, Model, ProviderChoice},
        pipeline::PipelineSettings,
    },
};
use prost::Message;

/// Input of [`colours`]: neither square nor of the camera's shape, so that swapped axes show.
pub const COLOURS_INPUT: Size = Size { height: 32, width: 48 };
/// One cell per 8x8 pixels.
pub const COLOURS_CELLS: Size = Size { height: 4, width: 6 };

/// CPU, one thread.
pub fn on_cpu() -> InferSettings {
    assert!(
        std::env::var_os(LIBRARY_VARIABLE).is_some(),
        "this test runs ONNX Runtime: set {LIBRARY_VARIABLE} (`make setup`, then `source scripts/env.sh`)"
    );
    InferSettings { provider: ProviderChoice::Cpu, intra_op_threads: 1, ..InferSettings::default() }
}

/// A bundle of seeded weights with the 36 actions of AGD20K, read back from files.
pub fn seeded(architecture: &str) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    let (weights, model) = (folder.path().join("weights.safetensors"), folder.path().join("model"));
    seeded::write(&weights, Architecture::named(architecture).unwrap(), &AGD20K_SEEN).unwrap();
    bundle::write(&weights, &model, &bundle::Settings::new(architecture, PresenceSource::Scam)).unwrap();
    Bundle::load(&model).unwrap()
}

/// A model of three actions, "red", "green" and "blue": a class map is the mean of that channel in each cell, divided
/// by the brightest of all, and presence is the map's mean. A black picture gives NaN.
pub fn colours() -> Bundle {
    let mut g = Graph::new("colours", "");
    let sides = |size: Size| [size.height as usize, size.width as usize];
    let ([h, w], [cells_h, cells_w]) = (sides(COLOURS_INPUT), sides(COLOURS_CELLS));
    let image = g.input(Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[h, w, 3], doc: "" });
    let image = g.node("cast", "Cast", &[&image], &[("to", Attr::Int(i64::from(FLOAT)))]);
    // [B, H, W, 3] -> [B, 3, H, W]
    let image = g.node("transpose", "Transpose", &[&image], &[("perm", Attr::Ints(&[0, 3, 1, 2]))]);
    let patch = Attr::Ints(&[8, 8]);
    let means = g.node("pool", "AveragePool", &[&image], &[("kernel_shape", patch), ("strides", patch)]);
    let all = g.ints("all_axes", &[1, 2, 3]);
    let brightest = g.node("brightest", "ReduceMax", &[&means, &all], &[]);
    let maps = g.node("divide", "Div", &[&means, &brightest], &[]);
    let space = g.ints("space", &[2, 3]);
    let presence = g.node("mean", "ReduceMean", &[&maps, &space], &[("keepdims", Attr::Int(0))]);
    g.output(&maps, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &[3, cells_h, cells_w], doc: "" });
    g.output(&presence, Port { name: OUTPUT_PRESENCE, data_type: FLOAT, sides: &[3], doc: "" });
    let onnx = g.into_model().encode_to_vec();
    let contract = ModelContract {
        format: FORMAT,
        name: "colours".to_owned(),
        sha256: sha256_hex(&onnx),
        input: COLOURS_INPUT,
        heatmap: COLOURS_CELLS,
        actions: ["red", "green", "blue"].map(str::to_owned).to_vec(),
        presence: Presence { source: PresenceSource::Pixel },
        heat_threshold: 0.5,
        provenance: Provenance {
            trained: false,
            source: "test".to_owned(),
            weights_sha256: sha256_hex(b""),
            command: "test".to_owned(),
            precision: Precision::Fp32,
            quantisation: None,
            parity: None,
            presence: None,
        },
    };
    contract.validate().unwrap();
    Bundle { folder: Path::new("colours").to_owned(), contract, onnx }
}

/// [`colours`], loaded.
pub fn colours_model() -> Model {
    Model::load(&colours(), &on_cpu()).unwrap()
}

/// The defaults of the ROS parameters, but for the score: [`colours`] has low presences.
pub fn settings() -> PipelineSettings {
    PipelineSettings {
        affordances: Vec::new(),
        heat_threshold: None,
        min_region_score: 0.0,
        min_region_area: 0.0005,
        max_regions: 16,
        max_contour_points: 64,
        max_image_pixels: 33_177_600,
        heatmap_size: HeatmapSize::Source,
        heatmap_encoding: HeatmapEncoding::Mono8,
        overlay_alpha: 0.5,
    }
}
