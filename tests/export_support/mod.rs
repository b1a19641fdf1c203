//! Shared by the export tests: weights files made by rule, and ONNX Runtime.
#![allow(dead_code)] // each test program uses its own part

pub mod reference;
#[cfg(feature = "onnx")]
pub mod runtime;

use std::{collections::HashMap, path::Path};

use looptrans_ros::export::{
    layout::{self, Entry, Sizes},
    seeded,
    weights::{DESCRIPTION, Description},
};
use ndarray::{ArrayD, IxDyn};
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

/// Seeded bytes, all values of u8.
pub fn bytes(name: &str, shape: &[usize]) -> ArrayD<u8> {
    let values = seeded::uniform(name, shape.iter().product()).map(|u| ((u + 1.0) * 127.99) as u8);
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).unwrap()
}

/// u(name, shape) of the published rule.
pub fn uniform(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let values = seeded::uniform(name, shape.iter().product());
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).unwrap()
}
