//! Covers: loading models into ONNX Runtime, running them, and refusing what can't be used.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
//! Not asserted: anything on a GPU; the order of providers and what falls back to what are unit tests.

#![allow(clippy::unwrap_used)]

mod models;

use std::fs;

use looptrans_ros::{
    contract::{Bundle, BundleError, INPUT_IMAGE},
    export::graph::{Attr, Graph, Port},
    onnx::{
        FLOAT, INT64, UINT8,
        proto::{Dimension, DimensionProto, ModelProto, NodeProto, TensorProto},
    },
    perceive::{
        RejectReason,
        infer::{
            BatchModel, Engines, FailureKind, InferError, InferSettings, Model, Prospects, ProviderChoice, probe::Probe,
        },
    },
};
use models::{COLOURS_INPUT, colours, colours_model, on_cpu, seeded};
use prost::Message;

fn picture(colour: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let at = |k: u32| colour(k % COLOURS_INPUT.width, k / COLOURS_INPUT.width);
    (0..COLOURS_INPUT.height * COLOURS_INPUT.width).flat_map(at).collect()
}

#[test]
fn a_model_answers_with_maps_by_action_and_cell() {
    let mut model = colours_model();
    // Red where the cell is in column 4 and row 1, dark green elsewhere.
    let pixels = picture(|x, y| if (x / 8, y / 8) == (4, 1) { [200, 0, 0] } else { [0, 50, 0] });
    let answer = model.run(&pixels).unwrap();
    let cell = |k: usize| (k % 6, k / 6) == (4, 1);
    for k in 0..24 {
        assert_eq!(answer.map(0)[k], if cell(k) { 1.0 } else { 0.0 }, "red, cell {k}");
        assert_eq!(answer.map(1)[k], if cell(k) { 0.0 } else { 0.25 }, "green, cell {k}");
    }
    assert!(answer.map(2).iter().all(|v| *v == 0.0) && answer.map(3).is_empty());
    let expected = [1.0 / 24.0, 0.25 * 23.0 / 24.0, 0.0];
    assert!(answer.presence.iter().zip(expected).all(|(p, e)| (p - e).abs() < 1e-6), "{:?}", answer.presence);
}

#[test]
fn an_exported_bundle_runs_and_its_presence_is_a_probability() {
    let bundle = seeded("toy");
    let mut model = Model::load(&bundle, &on_cpu()).unwrap();
    let side = bundle.contract.input;
    let pixels: Vec<u8> = (0..side.height * side.width * 3).map(|k| (k * 7 % 251) as u8).collect();
    let answer = model.run(&pixels).unwrap();
    assert_eq!((answer.presence.len(), answer.maps.len()), (36, 36 * 7 * 7));
    let range =
        |values: &[f32]| values.iter().fold(0.0_f32, |a, v| a.max(*v)) - values.iter().fold(0.0_f32, |a, v| a.min(*v));
    assert!(range(answer.maps) > 0.0, "all maps are flat: the picture does not reach them");
    assert_eq!(model.provider().used, ProviderChoice::Cpu);
    assert_eq!(model.contract(), &bundle.contract);
}

#[test]
fn a_picture_without_an_answer_is_rejected_and_the_next_one_runs() {
    let mut model = colours_model();
    let error = model.run(&picture(|_, _| [0, 0, 0])).unwrap_err();
    assert_eq!((error.reason(), error.to_string()), (RejectReason::Inference, "inference: heatmap holds NaN".into()));
    model.run(&picture(|_, _| [9, 9, 9])).unwrap();
    let error = model.run(&[0; 5]).unwrap_err();
    assert_eq!(error.to_string(), "inference: input: expected 4608 bytes, found 5");
}

#[test]
fn a_graph_that_breaks_its_contract_is_refused_with_expected_and_found() {
    let mut bundle = colours();
    bundle.contract.actions.push("fourth".to_owned());
    let error = Model::load(&bundle, &on_cpu()).unwrap_err();
    assert!(matches!(error, InferError::Bundle(BundleError::Mismatch { .. })), "{error}");
    let text = error.to_string();
    assert!(text.contains("expected") && text.contains("4") && text.contains("found"), "{text}");
}

/// [`colours`] with larger cells than its file and its contract say: only who works out the shapes can tell.
fn with_larger_cells() -> Bundle {
    let mut bundle = colours();
    let mut model = ModelProto::decode(bundle.onnx.as_slice()).unwrap();
    let pool = model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "AveragePool").unwrap();
    for attribute in &mut pool.attribute {
        attribute.ints = vec![16, 16];
    }
    bundle.onnx = model.encode_to_vec();
    bundle
}

/// [`colours`], which divides by the greatest of 2^47 zeros: 512 TiB, more than a process can address.
fn with_absurd_memory() -> Bundle {
    let mut bundle = colours();
    let mut model = ModelProto::decode(bundle.onnx.as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let sides: Vec<u8> = [1_i64 << 24, 1 << 23].iter().flat_map(|side| side.to_le_bytes()).collect();
    let (name, raw_data) = ("absurd_sides".to_owned(), sides.into());
    graph.initializer.push(TensorProto { dims: vec![2], data_type: INT64, name, raw_data });
    let node = |op_type: &str, input: &str, output: &str| NodeProto {
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        op_type: op_type.to_owned(),
        ..NodeProto::default()
    };
    let at = graph.node.iter().position(|node| node.op_type == "Div").unwrap();
    graph.node[at].input[1] = "greatest".to_owned();
    graph.node.insert(at, node("ReduceMax", "zeros", "greatest"));
    graph.node.insert(at, node("ConstantOfShape", "absurd_sides", "zeros"));
    bundle.onnx = model.encode_to_vec();
    bundle
}

#[test]
fn a_graph_that_asks_for_absurd_memory_is_an_error() {
    let error = Model::load(&with_absurd_memory(), &on_cpu()).unwrap_err();
    assert!(matches!(error, InferError::Runtime { .. }), "{error}");
}

#[test]
fn a_session_is_held_against_its_contract() {
    let error = Model::load(&with_larger_cells(), &on_cpu()).unwrap_err();
    assert!(matches!(error, InferError::Bundle(BundleError::Mismatch { .. })), "{error}");
    let text = error.to_string();
    assert!(text.contains("outputs, as ONNX Runtime reads them"), "{text}");
    let (expected, found) = (text.find("3, 4, 6)").unwrap(), text.find("3, dyn, dyn)").unwrap());
    assert!(expected < found, "{text}");
}

#[test]
fn a_graph_of_one_picture_a_run_refuses_batches() {
    let mut bundle = colours();
    let mut model = ModelProto::decode(bundle.onnx.as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        tensor.shape.as_mut().unwrap().dim[0] = DimensionProto { value: Some(Dimension::Value(1)) };
    }
    bundle.onnx = model.encode_to_vec();
    assert!(Model::load(&bundle, &on_cpu()).is_ok());
    let error = Model::load(&bundle, &InferSettings { max_batch: 2, ..on_cpu() }).unwrap_err().to_string();
    assert!(error.contains("max_batch") && error.contains("a fixed batch of 1") && error.contains('2'), "{error}");
}

#[test]
fn every_setting_of_the_cpu_gives_the_same_answer() {
    let bundle = seeded("toy");
    let bytes = 3 * bundle.contract.input.height * bundle.contract.input.width;
    let pixels: Vec<Vec<u8>> = [3, 7].map(|step| (0..bytes).map(|k| (k * step % 251) as u8).collect()).to_vec();
    let answers = |settings: &InferSettings| {
        let mut model = Model::load(&bundle, settings).unwrap();
        // One after the other, so that a buffer which is not filled anew shows.
        pixels.iter().map(|pixels| model.run(pixels).unwrap().maps.to_vec()).collect::<Vec<_>>()
    };
    let plain = answers(&on_cpu());
    assert_ne!(plain[0], plain[1]);
    let changes: [fn(&mut InferSettings); 4] = [
        |s| s.device_buffers = true,
        |s| s.thread_spinning = true,
        |s| s.cpu_memory_arena = false,
        |s| (s.device_buffers, s.cpu_memory_arena) = (true, false),
    ];
    for change in changes {
        let mut settings = on_cpu();
        change(&mut settings);
        assert_eq!(answers(&settings), plain, "{settings:?}");
    }
}

#[test]
fn several_pictures_at_once_are_answered_as_one_by_one() {
    let (red, green) = (picture(|_, _| [200, 0, 0]), picture(|x, _| [0, if x < 8 { 100 } else { 50 }, 0]));
    let mut single = colours_model();
    let mut expected = (Vec::new(), Vec::new());
    for pixels in [&red, &green] {
        let answer = single.run(pixels).unwrap();
        expected.0.extend_from_slice(answer.maps);
        expected.1.extend_from_slice(answer.presence);
    }
    // Its own number of pictures and the most that a model takes have nothing to do with each other.
    let mut both = BatchModel::load(&colours(), &InferSettings { max_batch: 3, ..on_cpu() }, 2).unwrap();
    // The colours are divided by the brightest of its own picture, so neither depends on the other.
    let answer = both.run(&[red.as_slice(), &green].concat()).unwrap();
    assert_eq!((answer.0, answer.1), (expected.0.as_slice(), expected.1.as_slice()));
    let error = both.run(&red).unwrap_err().to_string();
    assert_eq!(error, "inference: input: expected 9216 bytes, found 4608");
}

#[test]
fn which_provider_ran_which_nodes_is_counted() {
    let model = Model::load(&seeded("toy"), &on_cpu()).unwrap();
    let graph = model.provider().graph.clone().unwrap();
    assert_eq!(graph.nodes.keys().collect::<Vec<_>>(), ["CPUExecutionProvider"]);
    assert!(graph.total_nodes() > 20, "{graph}");
    // Most of it is two convolutions of each branch: 2 x 2 x 49 cells x 48 x 48 x 9.
    assert!(graph.multiply_adds.is_some_and(|count| (4_064_256..8_000_000).contains(&count)), "{graph:?}");
}

#[test]
fn damaged_models_are_errors_not_crashes() {
    let whole = seeded("toy");
    for onnx in [Vec::new(), b"not a model".to_vec(), whole.onnx[..whole.onnx.len() / 2].to_vec()] {
        let bundle = Bundle { folder: whole.folder.clone(), contract: whole.contract.clone(), onnx };
        assert!(Model::load(&bundle, &on_cpu()).is_err());
    }
}

#[test]
fn nodes_that_onnx_runtime_does_not_know_are_its_own_error_in_one_line() {
    let mut bundle = colours();
    let at = bundle.onnx.windows(11).position(|w| w == b"AveragePool").unwrap();
    bundle.onnx[at..at + 11].copy_from_slice(b"UnheardPool");
    let error = Model::load(&bundle, &on_cpu()).unwrap_err().to_string();
    assert!(error.starts_with("ONNX Runtime: load: ") && error.contains("UnheardPool"), "{error}");
}

#[test]
fn names_of_a_graph_reach_no_terminal_as_they_are() {
    let mut bundle = colours();
    let mut model = ModelProto::decode(bundle.onnx.as_slice()).unwrap();
    let pool = model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "AveragePool").unwrap();
    pool.op_type = format!("\u{1b}[2J\u{202e}{}", "Pool".repeat(5000));
    bundle.onnx = model.encode_to_vec();
    let error = Model::load(&bundle, &on_cpu()).unwrap_err().to_string();
    assert!(error.starts_with("ONNX Runtime: load: ") && error.contains(r"\u{1b}[2J\u{202e}Pool"), "{error}");
    assert!(!error.contains(['\u{1b}', '\u{202e}']) && error.len() < 1000, "{error:?}");
}

#[test]
fn a_provider_the_library_lacks_is_refused_or_replaced_as_allowed() {
    // The library of the Python wheel "onnxruntime" has no CUDA; with one that has, this machine has no GPU or the
    // model runs there: then there is nothing to refuse.
    let settings = |allow_fallback| InferSettings { provider: ProviderChoice::Cuda, allow_fallback, ..on_cpu() };
    match Model::load(&colours(), &settings(false)) {
        Ok(model) => assert_eq!(model.provider().used, ProviderChoice::Cuda),
        Err(InferError::Provider { requested, failed }) => {
            assert_eq!((requested, failed.len()), ("cuda", 1));
            assert!(failed[0].starts_with("cuda: ONNX Runtime: load: "), "{failed:?}");
            let model = Model::load(&colours(), &settings(true)).unwrap();
            assert_eq!(model.provider().used, ProviderChoice::Cpu);
            assert!(model.provider().is_degraded());
            assert_eq!(model.provider().failed, failed);
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn memory_that_cannot_be_had_is_told_with_the_bytes_asked_for() {
    // The mean of a picture, 2^46 times: more bytes than an address has bits for.
    let mut g = Graph::new("huge", "");
    let image = g.input(Port { name: INPUT_IMAGE, data_type: UINT8, sides: &[8, 8, 3], doc: "" });
    let image = g.node("cast", "Cast", &[&image], &[("to", Attr::Int(i64::from(FLOAT)))]);
    let mean = g.node("mean", "ReduceMean", &[&image], &[]);
    let sides = g.ints("sides", &[1, 1, 1 << 23, 1 << 23]);
    let huge = g.node("expand", "Expand", &[&mean, &sides], &[]);
    g.output(&huge, Port { name: "huge", data_type: FLOAT, sides: &[1, 1 << 23, 1 << 23], doc: "" });
    let mut probe = Probe::open(&g.into_model().encode_to_vec(), &[], &on_cpu()).unwrap();
    let error = probe.run(&[9; 8 * 8 * 3]).unwrap_err();
    let expected = FailureKind::OutOfMemory { asked_bytes: Some(1 << 48), available_bytes: None };
    assert_eq!((error.kind(), error.reason()), (expected, RejectReason::Inference), "{error}");
    assert!(error.to_string().starts_with("inference: out of memory (281474976710656 bytes asked for): "), "{error}");
}

#[test]
fn a_model_that_was_released_runs_no_more_and_still_tells_what_it_was() {
    let mut model = Model::load_on(&colours(), &on_cpu(), ProviderChoice::Cpu, Engines::Kept).unwrap();
    model.run(&picture(|_, _| [9, 9, 9])).unwrap();
    drop(model.release());
    let error = model.run(&picture(|_, _| [9, 9, 9])).unwrap_err();
    assert_eq!(error.to_string(), "inference: the model was released, to be loaded anew");
    assert_eq!((model.provider().used, error.kind()), (ProviderChoice::Cpu, FailureKind::Other));
}

#[test]
fn one_provider_alone_is_loaded_or_its_own_error_told() {
    let settings = InferSettings { provider: ProviderChoice::Cuda, ..on_cpu() };
    match Model::load_on(&colours(), &settings, ProviderChoice::Cuda, Engines::Kept) {
        Ok(model) => assert_eq!(model.provider().used, ProviderChoice::Cuda),
        Err(error) => assert!(error.to_string().starts_with("ONNX Runtime: load: "), "no stand-in: {error}"),
    }
    let prospects = Prospects::of(&colours(), &InferSettings { provider: ProviderChoice::Cpu, ..settings }).unwrap();
    assert_eq!((prospects.candidates, prospects.has_engines), (vec![ProviderChoice::Cpu], false));
}

#[test]
fn auto_finds_something_that_works() {
    for allow_fallback in [true, false] {
        let settings = InferSettings { provider: ProviderChoice::Auto, allow_fallback, ..on_cpu() };
        // A library with a GPU provider, on a machine without: only with fallback.
        match Model::load(&colours(), &settings) {
            Ok(model) => {
                assert_ne!(model.provider().used, ProviderChoice::Auto);
                assert!(
                    allow_fallback || !model.provider().is_degraded() || model.provider().used != ProviderChoice::Cpu
                );
            }
            Err(error) => assert!(matches!(error, InferError::Provider { .. }) && !allow_fallback, "{error}"),
        }
    }
}

#[test]
fn tensorrt_that_fails_leaves_no_engines_behind() {
    let cache = tempfile::tempdir().unwrap();
    let mut settings = InferSettings { provider: ProviderChoice::TensorRt, allow_fallback: false, ..on_cpu() };
    settings.gpu.cache_dir = Some(cache.path().to_owned());
    match Model::load(&colours(), &settings) {
        Ok(model) => assert_eq!(model.provider().used, ProviderChoice::TensorRt),
        Err(InferError::Provider { requested, failed }) => {
            assert_eq!((requested, failed.len()), ("tensorrt", 1));
            let left = fs::read_dir(cache.path().join("tensorrt")).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(left.into_iter().all(|name| name.to_string_lossy().ends_with(".lock")));
        }
        Err(other) => panic!("{other}"),
    }
    // Where nothing may be kept, the provider is refused by name of the setting.
    settings.gpu.cache_dir = Some(cache.path().join("bundle"));
    let bundle = Bundle { folder: cache.path().join("bundle"), ..colours() };
    let error = Model::load(&bundle, &settings).unwrap_err().to_string();
    assert!(error.contains("cache_dir: expected a folder outside the bundle"), "{error}");
}
