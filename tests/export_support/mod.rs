//! Shared by the export tests: weights files made by rule, and ONNX Runtime.
#![allow(dead_code)] // each test program uses its own part

pub mod reference;
#[cfg(feature = "onnx")]
pub mod runtime;

use std::{collections::HashMap, path::Path};

use looptrans_ros::export::{
    layout::{self, Entry, Sizes},
    seeded::{self, Architecture},
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

/// f32 keeps 24 bits (6e-8); a value here is some 15 operations deep, each a sum of up to 432 products whose rounding
/// errors add up like a random walk: 6e-8 * sqrt(432) = 1.2e-6 of a peak value per operation at worst. Measured: at most
/// 1.4e-6.
pub const TOLERANCE: f64 = 5e-6;

/// Toy weights that show every constant: small variances, so that each normalisation's epsilon matters.
pub fn revealing_toy() -> (Architecture, Tensors) {
    let toy = Architecture::named("toy").unwrap();
    let mut tensors = seeded_tensors(&toy.sizes(ACTIONS.len()));
    for (entry, values) in &mut tensors {
        let key = entry.key.as_str();
        let draws: Vec<f32> = uniform(&format!("test.{key}"), &[values.len()]).into_raw_vec_and_offset().0;
        for (value, draw) in values.iter_mut().zip(draws) {
            *value = match key {
                _ if key.ends_with("running_mean") => 0.05 * draw,
                _ if key.ends_with("running_var") => 0.004 + 0.003 * draw,
                "vit_model.patch_embed.proj.weight" => 0.01 * *value,
                "vit_model.blocks.1.attn.qkv.weight" => 0.02 * *value,
                "aff_fc.weight" => 0.01 * *value,
                "aff_fc.bias" => 20.0 * *value,
                _ => *value,
            };
        }
    }
    (toy, tensors)
}

/// Largest difference, relative to the largest value.
pub fn difference(found: impl IntoIterator<Item = f32>, expected: impl IntoIterator<Item = f64>) -> f64 {
    let pairs: Vec<(f64, f64)> = found.into_iter().map(f64::from).zip(expected).collect();
    let peak = pairs.iter().map(|(_, expected)| expected.abs()).fold(0.0, f64::max);
    pairs.iter().map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max) / peak
}
