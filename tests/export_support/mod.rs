//! Shared by the export tests: weights files made by rule, and ONNX Runtime.
#![allow(dead_code)] // each test program uses its own part

pub mod reference;

use std::{collections::HashMap, path::Path, sync::OnceLock};

use looptrans_ros::export::{
    layout::{self, Entry, Sizes},
    seeded,
    weights::{DESCRIPTION, Description},
};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ort::{
    environment::Environment,
    session::Session,
    value::{PrimitiveTensorElementType, TensorRef},
};
use safetensors::{Dtype, tensor::TensorView};

/// Named tensors in key order.
pub type Tensors = Vec<(Entry, Vec<f32>)>;

/// Three actions for toy models.
pub const ACTIONS: [&str; 3] = ["cut", "hold", "open"];

/// Every tensor a model of these sizes has, with seeded values.
pub fn seeded_tensors(sizes: &Sizes) -> Tensors {
    let float = |entry: &Entry| !layout::is_counter(&entry.key);
    let entries = layout::entries(sizes).into_iter().filter(float);
    entries.map(|entry| (entry.clone(), seeded::tensor(&entry))).collect()
}

pub fn description(actions: &[&str], heads: usize) -> Description {
    let actions = actions.iter().map(|&action| action.to_owned()).collect();
    Description { actions, trained: false, source: "a test".to_owned(), heads: Some(heads), checkpoint: None }
}

/// Writes tensors as a weights file.
pub fn write_weights(path: &Path, tensors: &Tensors, description: &Description) {
    let json = serde_json::to_string(description).unwrap();
    write_raw_weights(path, tensors, Some(HashMap::from([(DESCRIPTION.to_owned(), json)])));
}

pub fn write_raw_weights(path: &Path, tensors: &Tensors, metadata: Option<HashMap<String, String>>) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((entry, _), bytes)| {
        (entry.key.as_str(), TensorView::new(Dtype::F32, entry.shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
}

/// A session on real ONNX Runtime, CPU.
pub fn session(onnx: &[u8]) -> Session {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        assert!(
            std::env::var_os("ORT_DYLIB_PATH").is_some(),
            "this test needs ONNX Runtime: set ORT_DYLIB_PATH to its library (source scripts/env.sh does)"
        );
        ort::init().build().unwrap()
    });
    Session::builder(environment).unwrap().with_intra_threads(2).unwrap().commit_from_memory(onnx).unwrap()
}

/// Runs `session` on the input `image`; gives the named f32 outputs.
pub fn run<T>(session: &mut Session, image: ArrayViewD<'_, T>, outputs: &[&str]) -> Vec<ArrayD<f32>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let image = TensorRef::from_array_view(image).unwrap();
    let results = session.run(ort::inputs!["image" => image]).unwrap();
    outputs.iter().map(|&name| results[name].try_extract_array::<f32>().unwrap().to_owned()).collect()
}

/// `count` seeded bytes.
pub fn bytes(name: &str, shape: &[usize]) -> ArrayD<u8> {
    let values = seeded::uniform(name, shape.iter().product()).map(|u| ((u + 1.0) * 127.99) as u8);
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).unwrap()
}

/// u(name, shape) of the published rule.
pub fn uniform(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let values = seeded::uniform(name, shape.iter().product());
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).unwrap()
}
