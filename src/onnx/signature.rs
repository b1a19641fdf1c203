//! What an ONNX graph declares as its inputs and outputs, and whether that is what the contract promises.

use std::fmt;

use super::{
    FLOAT, UINT8,
    check::{Refusal, message, show},
    wire::{Field, Span, Value},
};
use crate::contract::{INPUT_IMAGE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE};

/// No promised tensor has more sides; what lies beyond only has to be told from them.
const MAX_RANK_KEPT: usize = 8;
/// No bundle has more inputs or outputs; what lies beyond is counted.
const MAX_TENSORS_KEPT: usize = 4;

/// A graph's declared inputs and outputs.
#[derive(Default)]
pub(super) struct Signature<'a> {
    inputs: Tensors<'a>,
    outputs: Tensors<'a>,
}

/// Bounded: a hostile file may declare as many tensors as it has bytes.
#[derive(Default)]
struct Tensors<'a> {
    kept: Vec<Tensor<'a>>,
    more: usize,
}

/// Name, element type and shape of an input or output.
#[derive(Default, PartialEq)]
struct Tensor<'a> {
    name: &'a [u8],
    /// TensorProto.DataType; None: not a tensor.
    data_type: Option<u64>,
    /// None: no shape is declared.
    dims: Option<Vec<Dim<'a>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Dim<'a> {
    Fixed(u64),
    /// With its name, possibly empty.
    Varies(&'a [u8]),
}

impl<'a> Signature<'a> {
    /// GraphProto: input (11), output (12).
    pub fn read(graph: Span<'a>) -> Result<Self, Refusal> {
        let mut signature = Self::default();
        for field in graph.fields() {
            let field = field?;
            match field.number {
                11 => signature.inputs.push(read_value_info(message(&field, "input")?)?),
                12 => signature.outputs.push(read_value_info(message(&field, "output")?)?),
                _ => {}
            }
        }
        Ok(signature)
    }

    /// Refuses inputs and outputs other than the contract's.
    pub fn agree(&self, contract: &ModelContract) -> Result<(), Refusal> {
        let ModelContract { input, heatmap, .. } = contract;
        let actions = contract.actions.len() as u64;
        let image = promise(INPUT_IMAGE, UINT8, &[u64::from(input.height), u64::from(input.width), 3]);
        let maps = promise(OUTPUT_HEATMAP, FLOAT, &[actions, u64::from(heatmap.height), u64::from(heatmap.width)]);
        let presence = promise(OUTPUT_PRESENCE, FLOAT, &[actions]);
        self.inputs.agree("inputs", vec![image])?;
        self.outputs.agree("outputs", vec![maps, presence])
    }
}

impl<'a> Tensors<'a> {
    fn push(&mut self, tensor: Tensor<'a>) {
        if self.kept.len() < MAX_TENSORS_KEPT { self.kept.push(tensor) } else { self.more += 1 }
    }

    fn agree(&self, what: &str, promised: Vec<Tensor<'_>>) -> Result<(), Refusal> {
        let keeps = |tensor: &Tensor<'_>| self.kept.iter().any(|candidate| candidate.keeps(tensor));
        if self.kept.len() == promised.len() && promised.iter().all(keeps) {
            return Ok(());
        }
        Err(Refusal::new(what, Tensors { kept: promised, more: 0 }.to_string(), self.to_string()))
    }
}

impl fmt::Display for Tensors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kept.is_empty() {
            return write!(f, "none");
        }
        write!(f, "{}", self.kept.iter().map(Tensor::to_string).collect::<Vec<_>>().join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// A tensor whose first side is the batch and whose others are `sides`.
fn promise(name: &'static str, data_type: i32, sides: &[u64]) -> Tensor<'static> {
    let dims = [Dim::Varies(b"batch")].into_iter().chain(sides.iter().map(|&side| Dim::Fixed(side))).collect();
    Tensor { name: name.as_bytes(), data_type: u64::try_from(data_type).ok(), dims: Some(dims) }
}

impl Tensor<'_> {
    /// The same tensor; a batch fixed at 1 will do, since the node runs one image at a time.
    fn keeps(&self, promised: &Self) -> bool {
        let (Some(dims), Some(promised_dims)) = (&self.dims, &promised.dims) else { return false };
        self.name == promised.name
            && self.data_type == promised.data_type
            && dims.len() == promised_dims.len()
            && matches!(dims.first(), Some(Dim::Varies(_) | Dim::Fixed(1)))
            && dims.iter().skip(1).eq(promised_dims.iter().skip(1))
    }
}

impl fmt::Display for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data_type = match self.data_type {
            None => "not a tensor".to_owned(),
            Some(1) => "f32".to_owned(),
            Some(2) => "u8".to_owned(),
            Some(7) => "i64".to_owned(),
            Some(10) => "f16".to_owned(),
            Some(11) => "f64".to_owned(),
            Some(other) => format!("data type {other}"),
        };
        write!(f, "{} {data_type} ", show(self.name))?;
        let Some(dims) = &self.dims else { return write!(f, "of no declared shape") };
        let side = |dim: &Dim<'_>| match dim {
            Dim::Fixed(side) => side.to_string(),
            Dim::Varies(b"") => "?".to_owned(),
            Dim::Varies(name) => show(name),
        };
        write!(f, "[{}]", dims.iter().map(side).collect::<Vec<_>>().join(", "))
    }
}

/// ValueInfoProto: name (1), type (2).
fn read_value_info(info: Span<'_>) -> Result<Tensor<'_>, Refusal> {
    let mut tensor = Tensor::default();
    for field in info.fields() {
        let field = field?;
        match field.number {
            1 => tensor.name = message(&field, "name")?.bytes,
            // TypeProto: tensor_type (1); every other kind stays "not a tensor".
            2 => {
                for kind in message(&field, "type")?.fields() {
                    let kind = kind?;
                    if kind.number == 1 {
                        read_tensor_type(message(&kind, "tensor_type")?, &mut tensor)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(tensor)
}

/// TypeProto.Tensor: elem_type (1), shape (2).
fn read_tensor_type<'a>(tensor_type: Span<'a>, tensor: &mut Tensor<'a>) -> Result<(), Refusal> {
    for field in tensor_type.fields() {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Varint(data_type)) => tensor.data_type = Some(data_type),
            (2, _) => {
                let dims = tensor.dims.get_or_insert_default();
                for dim in message(&field, "shape")?.fields() {
                    let dim = dim?;
                    if dim.number == 1 && dims.len() < MAX_RANK_KEPT {
                        dims.push(read_dimension(message(&dim, "dim")?)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// TensorShapeProto.Dimension: dim_value (1) or dim_param (2), the last one counts.
fn read_dimension(dimension: Span<'_>) -> Result<Dim<'_>, Refusal> {
    let mut dim = Dim::Varies(b"");
    for field in dimension.fields() {
        match field? {
            Field { number: 1, value: Value::Varint(value), .. } => dim = Dim::Fixed(value),
            Field { number: 2, value: Value::Span(name), .. } => dim = Dim::Varies(name.bytes),
            _ => {}
        }
    }
    Ok(dim)
}
