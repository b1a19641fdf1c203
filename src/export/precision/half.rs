//! f16: every constant and value of f32 inside the graph; the borders stay as they were.

use ::half::f16;

use super::{
    PrecisionError,
    constants::{constant, floats, graph_of, refuse_lower_precision},
};
use crate::onnx::{
    FLOAT, FLOAT16,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto},
};

/// The graph in f16. Inputs and outputs keep their types: f32 ones are cast on the way in and out.
///
/// LayerNorm, softmax and GELU are halved too: kept in f32 they lower the drift only from 1 - SIM = 3e-4 to 2e-4 (ViT-S/16
/// of seeded weights), and GPU kernels sum them up in f32 anyway. ONNX Runtime's CPU has few f16 kernels: it casts back
/// to f32 and gains nothing.
///
/// # Errors
/// The graph is in lower precision already, or a constant lies beyond f16's range.
pub fn fp16(model: &ModelProto) -> Result<ModelProto, PrecisionError> {
    let graph = graph_of(model)?;
    refuse_lower_precision(graph)?;
    let initializer = graph.initializer.iter().map(halved).collect::<Result<_, _>>()?;
    let is_float = |info: &&ValueInfoProto| {
        info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref()).is_some_and(|t| t.elem_type == FLOAT)
    };
    let names = |infos: &[ValueInfoProto]| -> Vec<String> {
        infos.iter().filter(is_float).map(|info| info.name.clone()).collect()
    };
    let (inputs, outputs) = (names(&graph.input), names(&graph.output));

    let mut node: Vec<NodeProto> = inputs.iter().map(|name| cast(name.clone(), inside(name), FLOAT16)).collect();
    for old in &graph.node {
        let mut new = old.clone();
        let borders = new.input.iter_mut().chain(&mut new.output);
        for name in borders.filter(|name| inputs.contains(name) || outputs.contains(name)) {
            *name = inside(name);
        }
        if new.op_type == "Cast" {
            halve_cast(&mut new);
        }
        node.push(new);
    }
    node.extend(outputs.iter().map(|name| cast(inside(name), name.clone(), FLOAT)));
    let graph = GraphProto { node, initializer, ..graph.clone() };
    Ok(ModelProto { graph: Some(graph), ..model.clone() })
}

/// The f16 value behind or before the border value `name`.
fn inside(name: &str) -> String {
    format!("{name}/fp16")
}

fn cast(from: String, to: String, data_type: i32) -> NodeProto {
    NodeProto {
        name: to.clone(),
        input: vec![from],
        output: vec![to],
        op_type: "Cast".to_owned(),
        attribute: vec![AttributeProto {
            name: "to".to_owned(),
            i: Some(i64::from(data_type)),
            r#type: 2,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

/// A cast to f32 becomes one to f16.
fn halve_cast(node: &mut NodeProto) {
    for attribute in node.attribute.iter_mut().filter(|attribute| attribute.name == "to") {
        if attribute.i == Some(i64::from(FLOAT)) {
            attribute.i = Some(i64::from(FLOAT16));
        }
    }
}

fn halved(tensor: &TensorProto) -> Result<TensorProto, PrecisionError> {
    if tensor.data_type != FLOAT {
        return Ok(tensor.clone());
    }
    let values = floats(tensor).ok_or_else(|| PrecisionError::Graph {
        what: format!("constant {:?}", tensor.name),
        expected: format!("four bytes for each element of {:?}", tensor.dims),
        found: format!("{} bytes", tensor.raw_data.len()),
    })?;
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let half = f16::from_f32(value);
        if !half.is_finite() {
            return Err(PrecisionError::Overflow { name: tensor.name.clone(), value });
        }
        bytes.extend(half.to_le_bytes());
    }
    let mut new = constant(&tensor.name, FLOAT16, &[], bytes);
    new.dims.clone_from(&tensor.dims);
    Ok(new)
}
