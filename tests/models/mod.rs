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
        graph::{Attr, Graph, Port, Value},
        seeded::{self, Architecture},
    },
    onnx::{FLOAT, INT64, UINT8},
    perceive::{
        heatmap::{HeatmapEncoding, HeatmapSize},
        infer::{InferSettings, LIBRARY_VARIABLE, Model, ProviderChoice},
        pipeline::PipelineSettings,
    },
};
use ndarray::{Array2, arr1};
use prost::Message;

/// Input of [`colours`]: neither square nor of the camera's shape, so that swapped axes show.
pub const COLOURS_INPUT: Size = Size { height: 32, width: 48 };
/// One cell per 8x8 pixels.
pub const COLOURS_CELLS: Size = Size { height: 4, width: 6 };

/// Compared each with each in [`endless_when_bright`]: some 10^12 times.
const ENDLESS_BOXES: i64 = 1_500_000;
/// The same for about a second.
const SLOW_BOXES: i64 = 20_000;

/// 48 MiB together.
const HEAVY_WEIGHTS: usize = 64;
/// Of 3 rows; f32.
const HEAVY_WEIGHT_COLUMNS: usize = 65_536;

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
    colours_with(|_, _, presence| presence)
}

/// [`colours`], but a run on an all but white picture takes hours: it sorts through [`ENDLESS_BOXES`] boxes.
pub fn endless_when_bright() -> Bundle {
    colours_with(|g, means, presence| {
        let is_bright = is_brighter(g, means, 250.0);
        let work = sort_boxes(g, &is_bright, ENDLESS_BOXES);
        with_nothing_of(g, "boxes", &presence, &work)
    })
}

/// [`colours`], but a run on an all but grey picture, as the first runs of a model are, takes about a second, so that loading
/// it takes some; and a run on an all but white picture asks for 512 TiB, more than a process can address.
pub fn slow_to_load_and_hungry_when_bright() -> Bundle {
    colours_with(|g, means, presence| {
        let [is_light, is_bright] = [100.0, 250.0].map(|limit| is_brighter(g, means, limit));
        let is_grey = g.node("is_grey", "Sub", &[&is_light, &is_bright], &[]);
        let work = sort_boxes(g, &is_grey, SLOW_BOXES);
        let presence = with_nothing_of(g, "boxes", &presence, &work);
        let (one, terabytes) = (g.ints("one_row", &[1]), g.ints("many_rows", &[1 << 47]));
        let count = g.node("rows_times", "Mul", &[&is_bright, &terabytes], &[]);
        let count = g.node("rows", "Add", &[&count, &one], &[]);
        let zeros = g.node("rows_of_zeros", "ConstantOfShape", &[&count], &[]);
        let sum = g.node("rows_sum", "ReduceSum", &[&zeros], &[("keepdims", Attr::Int(0))]);
        with_nothing_of(g, "rows", &presence, &sum)
    })
}

/// What [`without_context_above`] fails with: CUDA's own words.
pub const CONTEXT_LOST: &str = "CUDA failure 700: an illegal memory access was encountered";

/// [`colours`], but a run on a picture that is brighter than `grey` everywhere fails in a node that is named
/// [`CONTEXT_LOST`], and ONNX Runtime's error quotes the name: the words of a GPU that is lost to the process, without a GPU.
pub fn without_context_above(grey: f32) -> Bundle {
    colours_with(|g, means, presence| {
        let index = is_brighter(g, means, grey);
        let only = g.floats("only", &arr1(&[0.0]).into_dyn());
        // Of one value there is no second.
        let value = g.node(CONTEXT_LOST, "Gather", &[&only, &index], &[("axis", Attr::Int(0))]);
        with_nothing_of(g, "lost", &presence, &value)
    })
}

/// [`colours`] with [`HEAVY_WEIGHTS`] weights of [`HEAVY_WEIGHT_COLUMNS`] columns that change no answer.
pub fn heavy() -> Bundle {
    colours_with(|g, _, presence| {
        (0..HEAVY_WEIGHTS).fold(presence, |presence, n| {
            let named = |what: &str| format!("heavy_{n}_{what}");
            let values = Array2::from_elem((3, HEAVY_WEIGHT_COLUMNS), n as f32).into_dyn();
            let weights = g.floats(&named("weights"), &values);
            let product = g.node(&named("product"), "MatMul", &[&presence, &weights], &[]);
            let sum = g.node(&named("sum"), "ReduceSum", &[&product], &[("keepdims", Attr::Int(0))]);
            with_nothing_of(g, &named("sum"), &presence, &sum)
        })
    })
}

/// i64 [1]: 1 where every cell's mean of every channel is above the limit, else 0.
fn is_brighter(g: &mut Graph, means: &Value, limit: f32) -> Value {
    let named = |name: &str| format!("{name}_{limit}");
    let all = g.ints(&named("every_axis"), &[0, 1, 2, 3]);
    let darkest = g.node(&named("darkest"), "ReduceMin", &[means, &all], &[("keepdims", Attr::Int(0))]);
    let limit = g.float(&named("limit"), limit);
    let is_brighter = g.node(&named("is_brighter"), "Greater", &[&darkest, &limit], &[]);
    let count = g.node(&named("as_count"), "Cast", &[&is_brighter], &[("to", Attr::Int(i64::from(INT64)))]);
    let one = g.ints(&named("one_value"), &[1]);
    g.node(&named("one_count"), "Reshape", &[&count, &one], &[])
}

/// Compares `times` times `boxes` boxes each with each; gives one value.
fn sort_boxes(g: &mut Graph, times: &Value, boxes: i64) -> Value {
    let (many, one) = (g.ints("many", &[boxes]), g.ints("one", &[1]));
    let count = g.node("times", "Mul", &[times, &many], &[]);
    let count = g.node("count", "Add", &[&count, &one], &[]);
    let four = g.ints("four", &[4]);
    let axis = [("axis", Attr::Int(0))];
    let boxes_shape = g.node("boxes_shape", "Concat", &[&one, &count, &four], &axis);
    let scores_shape = g.node("scores_shape", "Concat", &[&one, &one, &count], &axis);
    let (a_box, a_score) = (g.floats("a_box", &arr1(&[0.0, 0.0, 1.0, 1.0]).into_dyn()), g.float("a_score", 0.5));
    let boxes = g.node("boxes", "Expand", &[&a_box, &boxes_shape], &[]);
    let scores = g.node("scores", "Expand", &[&a_score, &scores_shape], &[]);
    // Boxes that all lie upon each other suppress none at a threshold of 1: each is compared with all before it.
    let threshold = g.float("threshold", 1.0);
    let kept = g.node("kept", "NonMaxSuppression", &[&boxes, &scores, &count, &threshold], &[]);
    let kept = g.node("kept_float", "Cast", &[&kept], &[("to", Attr::Int(i64::from(FLOAT)))]);
    g.node("kept_sum", "ReduceSum", &[&kept], &[("keepdims", Attr::Int(0))])
}

/// The value unchanged, but not before the work is done.
fn with_nothing_of(g: &mut Graph, path: &str, value: &Value, work: &Value) -> Value {
    let name = |what: &str| format!("{path}_{what}");
    let zero = g.float(&name("zero"), 0.0);
    let nothing = g.node(&name("nothing"), "Mul", &[work, &zero], &[]);
    g.node(&name("and_nothing"), "Add", &[value, &nothing], &[])
}

/// `last`: the presence that is put out, from the cells' means and [`colours`]' own.
fn colours_with(last: impl FnOnce(&mut Graph, &Value, Value) -> Value) -> Bundle {
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
    let presence = last(&mut g, &means, presence);
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
