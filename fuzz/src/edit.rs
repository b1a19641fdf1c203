//! Edits of a sound ONNX model, drawn from the fuzzer's bytes: what comes out is well-formed protobuf, so that it gets
//! past the checks, and mostly nonsense.

use arbitrary::{Result, Unstructured};
use looptrans_ros::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use prost::Message;

/// So that an input stays small.
const MOST_EDITS: usize = 8;
/// Numbers at which sizes, axes and products change their meaning.
const NUMBERS: [i64; 24] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    -2,
    7,
    8,
    9,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
];
/// Operators with sizes, axes or indices of their own, and some plain ones.
const OPERATORS: [&str; 72] = [
    "Add",
    "And",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "BitShift",
    "Cast",
    "Ceil",
    "Clip",
    "Compress",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Einsum",
    "Expand",
    "EyeLike",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalMaxPool",
    "GridSample",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LpPool",
    "MatMul",
    "MatMulInteger",
    "MaxPool",
    "MaxRoiPool",
    "MaxUnpool",
    "Mean",
    "Mod",
    "NonMaxSuppression",
    "NonZero",
    "OneHot",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "Range",
    "ReduceMean",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "RoiAlign",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Size",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];
/// Attributes of these operators.
const ATTRIBUTES: [&str; 24] = [
    "allowzero",
    "auto_pad",
    "axis",
    "axes",
    "batch_dims",
    "blocksize",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "direction",
    "epsilon",
    "group",
    "hidden_size",
    "kernel_shape",
    "keepdims",
    "num_outputs",
    "output_padding",
    "output_shape",
    "pads",
    "perm",
    "storage_order",
    "strides",
    "to",
    "transA",
];

/// `sound`, a model, with the edits that `bytes` draw.
pub fn edited(sound: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(sound).unwrap();
    let mut input = Unstructured::new(bytes);
    for _ in 0..MOST_EDITS {
        // Bytes that are used up end it; what was changed by then counts.
        if input.is_empty() || edit(&mut model, &mut input).is_err() {
            break;
        }
    }
    model.encode_to_vec()
}

fn edit(model: &mut ModelProto, input: &mut Unstructured<'_>) -> Result<()> {
    let kind = input.arbitrary::<u8>()? % 16;
    if kind == 0 {
        if let Some(opset) = model.opset_import.first_mut() {
            opset.version = input.int_in_range(1..=25)?;
        }
        return Ok(());
    }
    let Some(graph) = &mut model.graph else { return Ok(()) };
    match kind {
        1..=8 => edit_nodes(graph, kind, input),
        _ => edit_constants(graph, kind, input),
    }
}

fn edit_nodes(graph: &mut GraphProto, kind: u8, input: &mut Unstructured<'_>) -> Result<()> {
    let names = value_names(graph);
    let Some(at) = index(graph.node.len(), input)? else { return Ok(()) };
    let node = &mut graph.node[at];
    match kind {
        1 => node.op_type = (*input.choose(&OPERATORS)?).to_owned(),
        2 => drop(graph.node.remove(at)),
        3 => insert(graph, at, input)?,
        4 => {
            if let Some(k) = index(node.input.len(), input)? {
                node.input[k].clone_from(input.choose(&names)?);
            }
        }
        5 => node.input.push(input.choose(&names)?.clone()),
        6 => drop(node.input.pop()),
        7 => node.attribute.push(attribute(input)?),
        _ => {
            if let Some(k) = index(node.attribute.len(), input)? {
                change(&mut node.attribute[k], input)?;
            }
        }
    }
    Ok(())
}

fn edit_constants(graph: &mut GraphProto, kind: u8, input: &mut Unstructured<'_>) -> Result<()> {
    let Some(at) = index(graph.initializer.len(), input)? else { return Ok(()) };
    let tensor: &mut TensorProto = &mut graph.initializer[at];
    match kind {
        9 => {
            if let Some(k) = index(tensor.dims.len(), input)? {
                tensor.dims[k] = number(input)?;
            }
        }
        10 => tensor.dims.push(number(input)?),
        11 => drop(tensor.dims.pop()),
        12 => tensor.data_type = input.int_in_range(0..=25)?,
        13 => tensor.raw_data = tensor.raw_data.slice(..tensor.raw_data.len() / 2),
        // Sizes, axes and indices that operators take from a constant.
        _ => {
            let mut bytes = tensor.raw_data.to_vec();
            let (words, _) = bytes.as_chunks_mut::<8>();
            if let Some(k) = index(words.len(), input)? {
                words[k] = number(input)?.to_le_bytes();
                tensor.raw_data = bytes.into();
            }
        }
    }
    Ok(())
}

/// A node between another and what it takes.
fn insert(graph: &mut GraphProto, at: usize, input: &mut Unstructured<'_>) -> Result<()> {
    let Some(k) = index(graph.node[at].input.len(), input)? else { return Ok(()) };
    let name = format!("inserted_{}", graph.node.len());
    let taken = std::mem::replace(&mut graph.node[at].input[k], name.clone());
    let mut node = NodeProto {
        input: vec![taken],
        output: vec![name.clone()],
        name,
        op_type: (*input.choose(&OPERATORS)?).to_owned(),
        ..NodeProto::default()
    };
    let names = value_names(graph);
    for _ in 0..input.int_in_range(0..=3)? {
        node.input.push(input.choose(&names)?.clone());
    }
    for _ in 0..input.int_in_range(0..=2)? {
        node.attribute.push(attribute(input)?);
    }
    graph.node.insert(at, node);
    Ok(())
}

fn attribute(input: &mut Unstructured<'_>) -> Result<AttributeProto> {
    let mut attribute = AttributeProto { name: (*input.choose(&ATTRIBUTES)?).to_owned(), ..AttributeProto::default() };
    match input.int_in_range(0..=5)? {
        0 => (attribute.r#type, attribute.f) = (1, Some(number(input)? as f32)),
        1 | 2 => (attribute.r#type, attribute.i) = (2, Some(number(input)?)),
        count => {
            attribute.r#type = 7;
            for _ in 1..count {
                attribute.ints.push(number(input)?);
            }
        }
    }
    Ok(attribute)
}

fn change(attribute: &mut AttributeProto, input: &mut Unstructured<'_>) -> Result<()> {
    let value = number(input)?;
    if let Some(k) = index(attribute.ints.len(), input)? {
        attribute.ints[k] = value;
    } else if attribute.f.is_some() {
        attribute.f = Some(value as f32);
    } else {
        attribute.i = Some(value);
    }
    Ok(())
}

fn number(input: &mut Unstructured<'_>) -> Result<i64> {
    input.choose(&NUMBERS).copied()
}

/// A place in a list; None where there is none.
fn index(length: usize, input: &mut Unstructured<'_>) -> Result<Option<usize>> {
    if length == 0 { Ok(None) } else { input.choose_index(length).map(Some) }
}

/// All that a node can take, and nothing ("", an input that is left out).
fn value_names(graph: &GraphProto) -> Vec<String> {
    let inputs = graph.input.iter().map(|input| input.name.clone());
    let constants = graph.initializer.iter().map(|constant| constant.name.clone());
    let outputs = graph.node.iter().flat_map(|node| node.output.clone());
    inputs.chain(constants).chain(outputs).chain([String::new()]).collect()
}
