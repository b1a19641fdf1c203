//! The constants of a graph, by name, their sizes checked before anything is read.

use std::collections::HashMap;

use prost::bytes::Bytes;

use super::PrecisionError;
use crate::onnx::{
    FLOAT,
    proto::{GraphProto, ModelProto, TensorProto},
};

/// Names to constants.
pub(super) struct Constants<'a>(HashMap<&'a str, &'a TensorProto>);

impl<'a> Constants<'a> {
    pub fn of(graph: &'a GraphProto) -> Self {
        Self(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect())
    }

    pub fn get(&self, name: &str) -> Option<&'a TensorProto> {
        self.0.get(name).copied()
    }

    /// The sides of a constant of f32 without empty sides.
    pub fn float_sides(&self, name: &str) -> Option<Vec<usize>> {
        let tensor = self.get(name).filter(|tensor| tensor.data_type == FLOAT)?;
        let sides: Option<Vec<usize>> =
            tensor.dims.iter().map(|&side| usize::try_from(side).ok().filter(|&side| side > 0)).collect();
        sides
    }

    /// The elements of a constant of f32.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>, PrecisionError> {
        let graph = |found: String| PrecisionError::Graph {
            what: format!("constant {name:?}"),
            expected: "f32 elements, as many as its sides say".to_owned(),
            found,
        };
        let tensor = self.get(name).ok_or_else(|| graph("none".to_owned()))?;
        floats(tensor).ok_or_else(|| {
            graph(format!("{} bytes for sides {:?} of type {}", tensor.raw_data.len(), tensor.dims, tensor.data_type))
        })
    }
}

/// The elements of a tensor of f32 whose data is as long as its sides say.
pub(super) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let count = tensor.dims.iter().try_fold(1_usize, |count, &side| count.checked_mul(usize::try_from(side).ok()?))?;
    let (chunks, rest) = tensor.raw_data.as_chunks::<4>();
    let fits = tensor.data_type == FLOAT && rest.is_empty() && chunks.len() == count;
    fits.then(|| chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A constant.
pub(super) fn constant(name: &str, data_type: i32, sides: &[usize], bytes: Vec<u8>) -> TensorProto {
    let dims = sides.iter().map(|&side| side as i64).collect();
    TensorProto { dims, data_type, name: name.to_owned(), raw_data: Bytes::from(bytes) }
}

/// The one graph of a file.
pub(super) fn graph_of(model: &ModelProto) -> Result<&GraphProto, PrecisionError> {
    model.graph.as_ref().ok_or_else(|| PrecisionError::Graph {
        what: "ONNX file".to_owned(),
        expected: "a graph".to_owned(),
        found: "none".to_owned(),
    })
}

/// Refuses a graph that has lower precision in it.
pub(super) fn refuse_lower_precision(graph: &GraphProto) -> Result<(), PrecisionError> {
    const MARKS: [&str; 4] = ["Quantize", "QLinear", "Integer", "QGemm"];
    let node = graph.node.iter().find(|node| MARKS.iter().any(|mark| node.op_type.contains(mark)));
    if let Some(node) = node {
        let at = node.output.first().cloned().unwrap_or_default();
        return Err(PrecisionError::Already { at, operator: node.op_type.clone() });
    }
    let half = graph.initializer.iter().find(|tensor| tensor.data_type == crate::onnx::FLOAT16);
    match half {
        Some(tensor) => Err(PrecisionError::Already { at: tensor.name.clone(), operator: "f16".to_owned() }),
        None => Ok(()),
    }
}

/// Takes away constants that nothing uses any more.
pub(super) fn drop_unused_constants(graph: &mut GraphProto) {
    let used: std::collections::HashSet<&str> =
        graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let keep = |tensor: &TensorProto| used.contains(tensor.name.as_str()) || outputs.contains(&tensor.name.as_str());
    graph.initializer.retain(keep);
}
