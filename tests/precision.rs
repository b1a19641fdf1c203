//! Lower precision on real ONNX Runtime (CPU): what fp16 and int8 give, which layers stay in float, and what is refused.
//! Needs ORT_DYLIB_PATH. Which kernels compute it: tests/export_precision.rs, as one process has one environment.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

mod export_support;

use std::path::Path;

use export_support::ACTIONS;
use image::{Rgb, RgbImage};
use looptrans_ros::{
    contract::{Bundle, INPUT_IMAGE, OUTPUT_HEATMAP, OUTPUT_PRESENCE, Precision, PresenceSource, Quantisation, Size},
    export::{
        bundle,
        graph::{Attr, Graph, Port, Value},
        precision::{
            Change, Changed, Int8Settings, Judge, LayerDrift, Observation, Pictures, Plan, PrecisionError, Range,
            RangeRule, ReduceRange, change, cpu_saturates, find_layers, fp16, int8, observe, quantise,
        },
        seeded::{self, Architecture},
    },
    onnx::{FLOAT, FLOAT16, INT8, UINT8, proto::ModelProto},
    perceive::infer::{InferSettings, probe::Probe},
};
use ndarray::{ArrayD, IxDyn};
use prost::Message;

fn infer() -> InferSettings {
    InferSettings { intra_op_threads: 2, ..InferSettings::default() }
}

/// As many as this processor's products have room for.
fn weight_bits() -> u8 {
    ReduceRange::Auto.weight_bits()
}

fn wish(least_sim: f64) -> Int8Settings {
    Int8Settings { weight_bits: weight_bits(), least_sim, infer: infer() }
}

/// A bundle of seeded weights, in memory.
fn bundle_of(architecture: &str) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    seeded::write(&weights, Architecture::named(architecture).unwrap(), &ACTIONS).unwrap();
    let settings = bundle::Settings::new("model", PresenceSource::Pixel);
    bundle::write(&weights, &folder.path().join("bundle"), &settings).unwrap();
    Bundle::load(&folder.path().join("bundle")).unwrap()
}

fn parsed(bundle: &Bundle) -> ModelProto {
    ModelProto::decode(bundle.onnx.as_slice()).unwrap()
}

/// A scene by rule: a disc and a bar on a slope of colours.
fn scene(size: Size, seed: u32) -> RgbImage {
    let (h, w) = (size.height as f32, size.width as f32);
    let turn = seed as f32 * 1.7;
    RgbImage::from_fn(size.width, size.height, |x, y| {
        let (u, v) = (x as f32 / w, y as f32 / h);
        let (cx, cy) = (0.5 + 0.3 * turn.cos(), 0.5 + 0.3 * turn.sin());
        let disc = (u - cx).hypot(v - cy) < 0.2;
        let bar = ((u - 0.5) * turn.sin() + (v - 0.5) * turn.cos()).abs() < 0.05;
        let base = if disc { 220.0 } else { 40.0 } + if bar { 30.0 } else { 0.0 };
        Rgb([base + 4.0 * v, base * 0.6 + 60.0 * u, 200.0 * v * (1.0 - u)].map(|level| level as u8))
    })
}

fn scenes(size: Size, count: u32) -> Pictures {
    Pictures { pixels: (0..count).map(|seed| scene(size, seed).into_raw()).collect(), skipped: Vec::new() }
}

fn changed(bundle: Bundle, precision: Precision, pictures: &Pictures) -> Changed {
    change(bundle, &Change { precision, pictures, settings: &wish(0.95) }).unwrap()
}

/// The class maps of one picture.
fn class_maps(onnx: &[u8], picture: &[u8]) -> Vec<f32> {
    Probe::open(onnx, &[], &infer()).unwrap().run(picture).unwrap()[OUTPUT_HEATMAP].values.clone()
}

/// `image` u8 [B, 8, 8, 3] -> `inside`'s value [B, 3, 8, 8] -> 1x1 convolution -> heatmap and presence.
fn graph_around(inside: impl Fn(&mut Graph, &Value) -> Value) -> ModelProto {
    let mut g = Graph::new("test", "");
    let image = g.input(Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[8, 8, 3], doc: "" });
    let floats = g.node("floats", "Cast", &[&image], &[("to", Attr::Int(i64::from(FLOAT)))]);
    let floats = g.node("channels_first", "Transpose", &[&floats], &[("perm", Attr::Ints(&[0, 3, 1, 2]))]);
    let value = inside(&mut g, &floats);
    let identity = ArrayD::from_shape_fn(IxDyn(&[3, 3, 1, 1]), |at| if at[0] == at[1] { 1.0 } else { 0.25 });
    let kernel = g.floats("kernel", &identity);
    let maps = g.node("conv", "Conv", &[&value, &kernel], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
    let maps = g.node("relu", "Relu", &[&maps], &[]);
    let one = g.float("one", 1.0);
    let maps = g.node("maps", "Add", &[&maps, &one], &[]);
    let space = g.ints("space", &[2, 3]);
    let presence = g.node("presence_mean", "ReduceMean", &[&maps, &space], &[("keepdims", Attr::Int(0))]);
    g.output(&maps, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &[3, 8, 8], doc: "" });
    g.output(&presence, Port { name: OUTPUT_PRESENCE, data_type: FLOAT, sides: &[3], doc: "" });
    g.into_model()
}

const EIGHT: Size = Size { height: 8, width: 8 };

// --- The probe ----------------------------------------------------------------------------------------------------

#[test]
fn a_probe_gives_values_inside_the_graph_by_name_and_shape() {
    let model = graph_around(|_, floats| floats.clone()).encode_to_vec();
    let mut probe = Probe::open(&model, &["channels_first", "relu"], &infer()).unwrap();
    assert_eq!(probe.input(), EIGHT);
    let picture: Vec<u8> = (0..192).collect();
    let found = probe.run(&picture).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["channels_first", "heatmap", "presence", "relu"]);
    let inside = &found["channels_first"];
    assert_eq!(inside.shape, [1, 3, 8, 8]);
    // Green of the second pixel.
    assert_eq!(inside.values[64 + 1], 4.0);
    assert_eq!(found["relu"].values[0], 0.0 + 0.25 * 1.0 + 0.25 * 2.0);
    assert_eq!(found["heatmap"].values[0], found["relu"].values[0] + 1.0);
}

#[test]
fn a_probe_refuses_what_it_cannot_open_or_run() {
    let model = graph_around(|_, floats| floats.clone()).encode_to_vec();
    let refused = |onnx: &[u8], inside: &[&str]| Probe::open(onnx, inside, &infer()).unwrap_err().to_string();
    assert!(refused(&model, &["no_such_value"]).contains("no_such_value"));
    for broken in [&b""[..], b"not a graph", &model[..model.len() / 2]] {
        assert!(refused(broken, &[]).starts_with("ONNX Runtime: open for probing"), "{}", refused(broken, &[]));
    }
    let mut g = Graph::new("f32 in", "");
    let image = g.input(Port { name: INPUT_IMAGE, data_type: FLOAT, sides: &[3], doc: "" });
    let same = g.node("same", "Identity", &[&image], &[]);
    g.output(&same, Port { name: OUTPUT_HEATMAP, data_type: FLOAT, sides: &[3], doc: "" });
    let found = refused(&g.into_model().encode_to_vec(), &[]);
    assert!(found.contains("expected one input, image u8 [B, H, W, 3]"), "{found}");
    let error = Probe::open(&model, &[], &infer()).unwrap().run(&[0; 10]).unwrap_err().to_string();
    assert!(error.contains("expected 192 bytes, found 10"), "{error}");
}

// --- fp16 ---------------------------------------------------------------------------------------------------------

#[test]
fn fp16_keeps_inputs_outputs_and_heatmaps_and_halves_the_rest() {
    let bundle = bundle_of("toy");
    let (size, old) = (bundle.contract.input, bundle.onnx.clone());
    let pictures = scenes(size, 3);
    let Changed { bundle, drift, .. } = changed(bundle, Precision::Fp16, &pictures);
    let drift = drift.unwrap();
    assert!(drift.sim > 0.995 && drift.kld < 1e-4 && drift.presence < 5e-3, "{drift:?}");
    assert_eq!(bundle.contract.provenance.precision, Precision::Fp16);
    let graph = parsed(&bundle).graph.unwrap();
    assert!(graph.initializer.iter().all(|tensor| tensor.data_type != FLOAT));
    assert!(graph.initializer.iter().any(|tensor| tensor.data_type == FLOAT16));
    assert!(bundle.onnx.len() < old.len() * 6 / 10, "{} of {}", bundle.onnx.len(), old.len());
    // Rounding must show, or nothing was halved.
    let [before, after] = [&old, &bundle.onnx].map(|onnx| class_maps(onnx, &pictures.pixels[0]));
    assert_ne!(before, after);
}

#[test]
fn fp16_refuses_constants_beyond_its_range_and_graphs_that_are_halved_already() {
    let large = graph_around(|g, floats| {
        let factor = g.float("factor", 70_000.0);
        g.node("scaled", "Mul", &[floats, &factor], &[])
    });
    assert_eq!(fp16(&large).unwrap_err().to_string(), "precision: constant \"factor\" holds 70000: fp16 ends at 65504");
    let half = fp16(&graph_around(|_, floats| floats.clone())).unwrap();
    assert!(matches!(fp16(&half), Err(PrecisionError::Already { .. })));
    assert!(matches!(int8(&half, &scenes(EIGHT, 1).pixels, &wish(0.9)), Err(PrecisionError::Already { .. })));
    assert!(matches!(fp16(&ModelProto::default()), Err(PrecisionError::Graph { .. })));
}

// --- int8 ---------------------------------------------------------------------------------------------------------

#[test]
fn int8_keeps_the_heatmaps_and_writes_down_how() {
    let pictures = scenes(Size { height: 56, width: 56 }, 4);
    let Changed { bundle, drift, int8 } = changed(bundle_of("toy"), Precision::Int8, &pictures);
    let (drift, int8) = (drift.unwrap(), int8.unwrap());
    assert!(drift.sim >= 0.95 && drift.sim < 1.0, "{drift:?}");
    assert!(int8.layers.is_empty() && int8.drift_of_all == drift, "the wish was met at once");
    let record = bundle.contract.provenance.quantisation.as_ref().unwrap();
    assert_eq!((record.calibration_pictures, record.weight_bits, record.sim), (4, weight_bits(), drift.sim));
    assert!(record.int8_share > 0.95 && record.float_for_drift.is_empty(), "{record:?}");
    // The classifier gives an output, and presence costs nothing.
    assert_eq!(record.float_for_size, ["presence/scores"]);
}

#[test]
fn a_stricter_wish_leaves_the_layers_that_drift_most_in_float() {
    let bundle = bundle_of("toy");
    let model = parsed(&bundle);
    let pictures = scenes(bundle.contract.input, 3).pixels;
    let loose = int8(&model, &pictures, &wish(0.0)).unwrap();
    let least_sim = 1.0 - 0.5 * (1.0 - loose.drift.sim);
    let strict = int8(&model, &pictures, &wish(least_sim)).unwrap();
    assert!(loose.drift.sim < least_sim && strict.drift.sim >= least_sim, "{:?} {:?}", loose.drift, strict.drift);
    assert_eq!(strict.drift_of_all.sim, loose.drift.sim);
    let in_float: Vec<_> = strict.layers.iter().filter(|layer| layer.in_float).collect();
    assert!(!in_float.is_empty() && in_float.len() < strict.layers.len(), "{:?}", strict.layers);
    // Those that gain most for what they cost, and the report tells the truth about the graph.
    let gain = |layer: &LayerDrift| layer.own_drift / layer.share;
    let least_kept = in_float.iter().map(|&layer| gain(layer)).fold(f64::INFINITY, f64::min);
    assert!(strict.layers.iter().filter(|layer| !layer.in_float).all(|layer| gain(layer) <= least_kept));
    let graph = strict.model.graph.unwrap();
    let is_int8 = |name: &str| graph.initializer.iter().any(|t| t.name == format!("{name}/int8/weight/codes"));
    for layer in &strict.layers {
        assert_eq!(is_int8(&layer.layer), !layer.in_float, "{}", layer.layer);
    }
    assert!(graph.initializer.iter().any(|tensor| tensor.data_type == INT8));
    assert!(strict.share < loose.share && strict.share > 0.0);
}

#[test]
fn a_wish_that_nothing_in_int8_can_keep_leaves_all_in_float() {
    let bundle = bundle_of("toy");
    let model = parsed(&bundle);
    let pictures = scenes(bundle.contract.input, 1).pixels;
    let none = int8(&model, &pictures, &wish(1.0)).unwrap();
    assert!(none.layers.iter().filter(|layer| layer.in_float).count() > none.layers.len() / 2);
    assert!(none.drift.sim > 0.999_999, "{:?}", none.drift);
}

#[test]
fn seven_bit_weights_use_seven_bits() {
    let bundle = bundle_of("toy");
    let pictures = scenes(bundle.contract.input, 1).pixels;
    let largest_code = |weight_bits: u8| {
        let settings = Int8Settings { weight_bits, ..wish(0.0) };
        let graph = int8(&parsed(&bundle), &pictures, &settings).unwrap().model.graph.unwrap();
        let codes = graph.initializer.iter().filter(|tensor| tensor.data_type == INT8);
        codes.flat_map(|tensor| tensor.raw_data.to_vec()).map(|byte| byte.cast_signed().unsigned_abs()).max().unwrap()
    };
    assert_eq!((largest_code(8), largest_code(7)), (127, 63));
    assert_eq!((ReduceRange::On.weight_bits(), ReduceRange::Off.weight_bits()), (7, 8));
    assert_eq!(ReduceRange::Auto.weight_bits(), if cpu_saturates() { 7 } else { 8 });
}

#[test]
fn vit_small_at_its_real_size_goes_to_fp16() {
    let bundle = bundle_of("vit_small_16");
    let pictures = scenes(bundle.contract.input, 2);
    let Changed { drift, .. } = changed(bundle, Precision::Fp16, &pictures);
    assert!(drift.unwrap().sim > 0.998, "{drift:?}");
}

// --- Ranges -------------------------------------------------------------------------------------------------------

#[test]
fn ranges_hold_zero_exactly_and_flat_ones_are_no_division_by_zero() {
    for (low, high) in [(-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (0.0, f32::MAX), (-1e38, 1e38)] {
        let (scale, zero) = Range { low, high }.scale_and_zero();
        let ends = [0.0, 255.0].map(|code| (code - f32::from(zero)) * scale);
        assert!(scale.is_finite() && scale > 0.0);
        assert!((ends[0] - low).abs() <= scale && (ends[1] - high).abs() <= scale, "{low} {high}: {ends:?}");
    }
    for (low, high) in [(0.0, 0.0), (-f32::MIN_POSITIVE, f32::MIN_POSITIVE)] {
        assert_eq!(Range { low, high }.scale_and_zero(), (1.0, 0));
    }
}

#[test]
fn percentile_ranges_cut_single_outliers_off() {
    let mut seen = Observation::default();
    let values: Vec<f32> = (0..50_000).map(|i| if i == 7 { 1000.0 } else { (i % 100) as f32 / 100.0 }).collect();
    seen.add("x", &[50_000], values).unwrap();
    assert_eq!(seen.range(RangeRule::MinMax), Range { low: 0.0, high: 1000.0 });
    assert_eq!(seen.range(RangeRule::Percentile), Range { low: 0.0, high: 0.99 });
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(matches!(seen.add("x", &[1], vec![bad]), Err(PrecisionError::NotFinite { .. })));
    }
}

// --- What is refused ----------------------------------------------------------------------------------------------

#[test]
fn values_that_are_not_finite_are_refused_by_name() {
    // The logarithm of a black pixel is minus infinity.
    let model = graph_around(|g, floats| g.node("logarithm", "Log", &[floats], &[]));
    let error = int8(&model, &[vec![0; 192]], &wish(0.9)).unwrap_err();
    assert!(matches!(&error, PrecisionError::NotFinite { name, .. } if name == "logarithm"), "{error}");
}

#[test]
fn activations_that_never_change_are_quantised_exactly() {
    for constant in [0.0_f32, 5.0, -3.0] {
        let model = graph_around(|g, floats| {
            let zero = g.float("zero", 0.0);
            let constant = g.float("constant", constant);
            let flat = g.node("zeros", "Mul", &[floats, &zero], &[]);
            g.node("flat", "Add", &[&flat, &constant], &[])
        });
        let layers = find_layers(&model).unwrap();
        let picture = scene(EIGHT, 0).into_raw();
        let onnx = model.encode_to_vec();
        let observations = observe(&onnx, &layers, std::slice::from_ref(&picture), &infer()).unwrap();
        let layers: Vec<_> = layers.iter().collect();
        let plan =
            Plan { layers: &layers, observations: &observations, rule: RangeRule::MinMax, weight_bits: weight_bits() };
        let new = quantise(&model, &plan).unwrap().encode_to_vec();
        let [before, after] = [&onnx, &new].map(|onnx| class_maps(onnx, &picture));
        let apart = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 0.02 * constant.abs(), "{constant}: {apart}");
        // There is no heat in it, and that is said.
        let error = int8(&model, &[picture], &wish(0.9)).unwrap_err();
        assert!(matches!(error, PrecisionError::NoHeat { pictures: 1 }), "{error}");
    }
}

#[test]
fn a_graph_that_is_quantised_already_or_has_nothing_to_quantise_is_refused() {
    let bundle = bundle_of("toy");
    let pictures = scenes(bundle.contract.input, 1).pixels;
    let once = int8(&parsed(&bundle), &pictures, &wish(0.0)).unwrap().model;
    let twice = int8(&once, &pictures, &wish(0.0)).unwrap_err();
    assert!(twice.to_string().contains("it is in lower precision already"), "{twice}");
    let plain = graph_around(|_, floats| floats.clone());
    let mut bare = plain.clone();
    bare.graph.as_mut().unwrap().node.iter_mut().filter(|n| n.op_type == "Conv").for_each(|conv| {
        conv.op_type = "Identity".to_owned();
        conv.input.truncate(1);
        conv.attribute.clear();
    });
    let none = int8(&bare, &scenes(EIGHT, 1).pixels, &wish(0.0)).unwrap_err();
    assert!(matches!(none, PrecisionError::NothingToQuantise), "{none}");
}

#[test]
fn weights_whose_bytes_and_sides_disagree_are_an_error() {
    let mut model = graph_around(|_, floats| floats.clone());
    let layers = find_layers(&model).unwrap();
    let picture = scene(EIGHT, 0).into_raw();
    let observations = observe(&model.encode_to_vec(), &layers, &[picture], &infer()).unwrap();
    let layers: Vec<_> = layers.iter().collect();
    let plan = Plan { layers: &layers, observations: &observations, rule: RangeRule::MinMax, weight_bits: 8 };
    let none = Default::default();
    let unobserved = quantise(&model, &Plan { observations: &none, ..plan }).unwrap_err();
    assert!(unobserved.to_string().contains("expected ranges from calibration"), "{unobserved}");
    for dims in [vec![3, 3, 1, 2], vec![i64::MAX, i64::MAX, 1, 1], vec![-3, -3, 1, 1]] {
        let kernel = model.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == "kernel").unwrap();
        kernel.dims.clone_from(&dims);
        assert!(matches!(quantise(&model, &plan), Err(PrecisionError::Graph { .. })), "{dims:?}");
        assert!(matches!(fp16(&model), Err(PrecisionError::Graph { .. })), "{dims:?}");
    }
}

#[test]
fn a_calibration_folder_without_pictures_is_refused_and_one_with_some_names_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Pictures::read(path, EIGHT).unwrap_err().to_string();
    assert!(refused(folder.path()).ends_with("expected JPEG or PNG pictures, found none"));
    assert!(refused(&folder.path().join("absent")).contains("absent"));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no picture").unwrap();
    std::fs::create_dir(folder.path().join("deeper")).unwrap();
    let found = refused(folder.path());
    assert!(found.contains("found none in 1 files") && found.contains("notes.txt"), "{found}");
    assert!(refused(&text).contains("notes.txt"), "a file in place of a folder");
    scene(Size { height: 30, width: 50 }, 1).save(folder.path().join("b.png")).unwrap();
    scene(Size { height: 20, width: 20 }, 2).save(folder.path().join("a.jpg")).unwrap();
    let pictures = Pictures::read(folder.path(), EIGHT).unwrap();
    assert_eq!(pictures.pixels.iter().map(Vec::len).collect::<Vec<_>>(), [192, 192]);
    assert_eq!(pictures.skipped, [text]);
}

#[test]
fn of_many_pictures_those_that_int8_is_judged_on_are_spread_over_all_and_counted() {
    let bundle = bundle_of("toy");
    // What comes first differs from the rest.
    let pixels: Vec<Vec<u8>> = (0..40).map(|place| scene(bundle.contract.input, place / 30).into_raw()).collect();
    let spread: Vec<Vec<u8>> = (0..32).map(|place| pixels[place * 40 / 32].clone()).collect();
    let (onnx, settings) = (bundle.onnx.clone(), infer());
    let Changed { bundle, drift, .. } = changed(bundle, Precision::Int8, &Pictures { pixels, skipped: Vec::new() });
    let judge = Judge::new(&onnx, &spread, &settings).unwrap();
    assert_eq!(judge.judge(&bundle.onnx).unwrap(), drift.unwrap());
    let record = bundle.contract.provenance.quantisation.unwrap();
    assert_eq!((record.calibration_pictures, record.judged_pictures), (40, Some(32)));
    // A bundle of before says nothing, and loads.
    let yaml = serde_yaml::to_string(&record).unwrap().replace("judged_pictures: 32\n", "");
    assert_eq!(serde_yaml::from_str::<Quantisation>(&yaml).unwrap().judged_pictures, None);
}

#[test]
fn int8_without_pictures_is_refused() {
    let none = Pictures::default();
    let asked = Change { precision: Precision::Int8, pictures: &none, settings: &wish(0.9) };
    assert!(matches!(change(bundle_of("toy"), &asked), Err(PrecisionError::NoCalibration)));
}

#[test]
fn a_judge_sees_no_drift_between_equal_graphs_and_much_between_others() {
    let bundle = bundle_of("toy");
    let pictures = scenes(bundle.contract.input, 2).pixels;
    let settings = infer();
    let judge = Judge::new(&bundle.onnx, &pictures, &settings).unwrap();
    let same = judge.judge(&bundle.onnx).unwrap();
    assert!((same.sim - 1.0).abs() < 1e-9 && same.kld.abs() < 1e-6 && same.presence == 0.0, "{same:?}");
    let mut other = parsed(&bundle);
    let kernel = other.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == "aff_fc/weight").unwrap();
    kernel.raw_data = kernel.raw_data.chunks(4).rev().flatten().copied().collect::<Vec<u8>>().into();
    assert!(judge.judge(&other.encode_to_vec()).unwrap().sim < 0.95);
}
