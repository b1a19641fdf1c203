//! Writes chosen layers in int8: QuantizeLinear and DequantizeLinear around the float operators, which ONNX Runtime fuses
//! into its integer kernels (QGemm, QLinearConv) and any other runtime can compute as they stand.

use std::collections::{HashMap, HashSet};

use super::{
    Kind, Layer, Observation, Observations, PrecisionError, RangeRule,
    constants::{Constants, constant, drop_unused_constants, graph_of},
};
use crate::onnx::{
    FLOAT, INT8, INT32, INT64, UINT8,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto},
};

/// A bias is rounded to steps of input scale x weight scale: the weights' scale is made large enough for it to fit i32
/// with room to spare.
const LARGEST_BIAS: f64 = (1_u32 << 30) as f64;
/// Weights below this are zeros: their scale's inverse would be infinite.
const SMALLEST_SCALE: f64 = 1e-30;

/// What becomes int8, and how.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The layers, from [`super::find_layers`] of the same graph.
    pub layers: &'a [&'a Layer],
    /// What calibration saw of their inputs, and of the outputs of convolutions.
    pub observations: &'a Observations,
    /// Which range of it counts.
    pub rule: RangeRule,
    /// 7 or 8 bits of a weight.
    pub weight_bits: u8,
}

/// The graph with the plan's layers in int8.
///
/// Linear layers become a Gemm on [rows, in] with their bias, because ONNX Runtime adds the bias inside that kernel alone:
/// 0.43 of the time of f32 where MatMul and Add take 0.49 (ViT-S/16 at 224, two threads, AVX-512 with VNNI).
///
/// # Errors
/// A value was not observed, weights are not finite or not of their sides, or a layer is of another graph.
pub fn quantise(model: &ModelProto, plan: &Plan<'_>) -> Result<ModelProto, PrecisionError> {
    let graph = graph_of(model)?;
    let constants = Constants::of(graph);
    let mut writer = Writer { plan, constants: &constants, nodes: Vec::new(), new: Vec::new(), codes: HashSet::new() };
    let by_node: HashMap<usize, &Layer> = plan.layers.iter().map(|layer| (layer.node, *layer)).collect();
    let by_last: HashMap<usize, &Layer> = plan.layers.iter().map(|layer| (layer.last, *layer)).collect();
    for (index, node) in graph.node.iter().enumerate() {
        match (by_node.get(&index), by_last.get(&index)) {
            (Some(layer), _) if layer.kind == Kind::Conv => writer.conv(layer, node)?,
            (Some(layer), _) => writer.linear(layer)?,
            (None, Some(layer)) if layer.kind == Kind::Conv => writer.activated(layer, node)?,
            // Its bias, which is in the Gemm now.
            (None, Some(_)) => {}
            (None, None) => writer.nodes.push(node.clone()),
        }
    }
    let Writer { nodes, new, .. } = writer;
    let mut graph = GraphProto { node: nodes, ..graph.clone() };
    graph.initializer.extend(new);
    drop_unused_constants(&mut graph);
    Ok(ModelProto { graph: Some(graph), ..model.clone() })
}

struct Writer<'a> {
    plan: &'a Plan<'a>,
    constants: &'a Constants<'a>,
    nodes: Vec<NodeProto>,
    new: Vec<TensorProto>,
    /// Values that are written already.
    codes: HashSet<String>,
}

/// An activation in u8: its value and the constants that go with it.
struct Codes {
    value: String,
    scale: f32,
    scale_name: String,
    zero_name: String,
}

impl Writer<'_> {
    /// [..., in] -> u8 [rows, in] -> Gemm -> [rows, out] -> [..., out]
    fn linear(&mut self, layer: &Layer) -> Result<(), PrecisionError> {
        let codes = self.quantised(&layer.input)?;
        let shape = self.observed(&layer.input)?.shape.clone();
        let rows = if shape.len() == 2 { codes.value.clone() } else { self.rows(&codes.value, &shape) };
        let input = self.dequantised(&format!("{}/int8/input", layer.name), &rows, &codes);
        let (weight, bias) = self.parameters(layer, codes.scale)?;
        let transposed = i64::from(layer.kind == Kind::Gemm { transposed: true });
        let product = if shape.len() == 2 { layer.output.clone() } else { format!("{}/int8/rows", layer.name) };
        let inputs = [Some(input), Some(weight), bias].into_iter().flatten().collect();
        let gemm = node("Gemm", inputs, &product);
        self.nodes.push(NodeProto { attribute: vec![int("transB", transposed)], ..gemm });
        if shape.len() != 2 {
            let channels = layer.sides.get(layer.channel_axis()).copied().unwrap_or(0);
            let middle = shape.iter().skip(1).take(shape.len().saturating_sub(2));
            let sides: Vec<i64> = std::iter::once(-1)
                .chain(middle.map(|&side| side as i64))
                .chain(std::iter::once(channels as i64))
                .collect();
            let sides = self.ints(&format!("{}/int8/sides", layer.name), &sides);
            self.nodes.push(node("Reshape", vec![product, sides], &layer.output));
        }
        Ok(())
    }

    /// The operator itself; where a ReLU follows, [`Self::activated`] rounds the result.
    fn conv(&mut self, layer: &Layer, old: &NodeProto) -> Result<(), PrecisionError> {
        let codes = self.quantised(&layer.input)?;
        let input = self.dequantised(&format!("{}/int8/input", layer.name), &codes.value, &codes);
        let (weight, bias) = self.parameters(layer, codes.scale)?;
        let new = NodeProto { input: [Some(input), Some(weight), bias].into_iter().flatten().collect(), ..old.clone() };
        if layer.last == layer.node {
            return self.activated(layer, &new);
        }
        self.nodes.push(new);
        Ok(())
    }

    /// `node` gives the layer's output: writes it with the result rounded to u8, which is what the fused kernel gives.
    fn activated(&mut self, layer: &Layer, old: &NodeProto) -> Result<(), PrecisionError> {
        let exact = format!("{}/int8/exact", layer.name);
        self.nodes.push(NodeProto { name: exact.clone(), output: vec![exact.clone()], ..old.clone() });
        let codes = self.quantise(&exact, &layer.output)?;
        let value = node("DequantizeLinear", vec![codes.value, codes.scale_name, codes.zero_name], &layer.output);
        self.nodes.push(value);
        Ok(())
    }

    /// The activation `name` in u8, written once however many layers take it.
    fn quantised(&mut self, name: &str) -> Result<Codes, PrecisionError> {
        self.quantise(name, name)
    }

    /// The value `from`, in u8 by the range of `observed`.
    fn quantise(&mut self, from: &str, observed: &str) -> Result<Codes, PrecisionError> {
        let (scale, zero) = self.observed(observed)?.range(self.plan.rule).scale_and_zero();
        let named = |part: &str| format!("{observed}/int8/{part}");
        let codes = Codes { value: named("codes"), scale, scale_name: named("scale"), zero_name: named("zero") };
        if self.codes.insert(codes.value.clone()) {
            self.new.push(constant(&codes.scale_name, FLOAT, &[], scale.to_le_bytes().to_vec()));
            self.new.push(constant(&codes.zero_name, UINT8, &[], vec![zero]));
            let inputs = vec![from.to_owned(), codes.scale_name.clone(), codes.zero_name.clone()];
            self.nodes.push(node("QuantizeLinear", inputs, &codes.value));
        }
        Ok(codes)
    }

    /// u8 [..., in] -> u8 [rows, in]
    fn rows(&mut self, codes: &str, shape: &[usize]) -> String {
        let rows = format!("{codes}/rows");
        if self.codes.insert(rows.clone()) {
            let width = shape.last().map_or(0, |&width| width as i64);
            let sides = self.ints(&format!("{rows}/sides"), &[-1, width]);
            self.nodes.push(node("Reshape", vec![codes.to_owned(), sides], &rows));
        }
        rows
    }

    fn dequantised(&mut self, name: &str, value: &str, codes: &Codes) -> String {
        let inputs = vec![value.to_owned(), codes.scale_name.clone(), codes.zero_name.clone()];
        self.nodes.push(node("DequantizeLinear", inputs, name));
        name.to_owned()
    }

    /// Weights in i8 and bias in i32, each dequantised; gives their values.
    fn parameters(&mut self, layer: &Layer, input_scale: f32) -> Result<(String, Option<String>), PrecisionError> {
        let values = self.constants.floats(&layer.weight)?;
        let bias = layer.bias.as_ref().map(|bias| self.constants.floats(bias)).transpose()?;
        let parameters = values.iter().chain(bias.iter().flatten());
        if let Some(value) = parameters.copied().find(|value| !value.is_finite()) {
            return Err(PrecisionError::NotFinite { name: layer.weight.clone(), value });
        }
        let codes = WeightCodes::of(layer, &values, bias.as_deref(), (self.plan.weight_bits, input_scale));
        let WeightCodes { weights, scales, biases } = codes;
        let axis = layer.channel_axis();
        let named = |part: &str| format!("{}/int8/{part}", layer.name);
        let scale_bytes = |scales: &[f32]| scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let count = scales.len();
        self.new.push(constant(&named("weight/codes"), INT8, &layer.sides, weights));
        self.new.push(constant(&named("weight/scale"), FLOAT, &[count], scale_bytes(&scales)));
        self.new.push(constant(&named("weight/zero"), INT8, &[count], vec![0; count]));
        self.dequantised_constant(&named("weight"), axis);
        let Some(biases) = biases else { return Ok((named("weight"), None)) };
        let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * input_scale).collect();
        let bytes = biases.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        self.new.push(constant(&named("bias/codes"), INT32, &[count], bytes));
        self.new.push(constant(&named("bias/scale"), FLOAT, &[count], scale_bytes(&bias_scales)));
        self.new.push(constant(&named("bias/zero"), INT32, &[count], vec![0; 4 * count]));
        self.dequantised_constant(&named("bias"), 0);
        Ok((named("weight"), Some(named("bias"))))
    }

    fn dequantised_constant(&mut self, name: &str, axis: usize) {
        let inputs = ["codes", "scale", "zero"].map(|part| format!("{name}/{part}")).to_vec();
        let attribute = vec![int("axis", axis as i64)];
        self.nodes.push(NodeProto { attribute, ..node("DequantizeLinear", inputs, name) });
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.new.push(constant(name, INT64, &[values.len()], bytes));
        name.to_owned()
    }

    fn observed(&self, name: &str) -> Result<&Observation, PrecisionError> {
        self.plan.observations.get(name).ok_or_else(|| PrecisionError::Graph {
            what: format!("value {name:?}"),
            expected: "ranges from calibration".to_owned(),
            found: "none".to_owned(),
        })
    }
}

/// Weights as i8 (their bytes), symmetric with one scale per output channel, and the bias in steps of input scale x
/// weight scale.
struct WeightCodes {
    weights: Vec<u8>,
    scales: Vec<f32>,
    biases: Option<Vec<i32>>,
}

impl WeightCodes {
    fn of(layer: &Layer, values: &[f32], bias: Option<&[f32]>, (bits, input_scale): (u8, f32)) -> Self {
        let largest_code = if bits < 8 { 63.0 } else { 127.0 };
        let axis = layer.channel_axis();
        let channels = layer.sides.get(axis).copied().unwrap_or(0);
        // Elements from one channel to the next.
        let step: usize = layer.sides.iter().skip(axis + 1).product();
        let channel_of = |index: usize| index / step.max(1) % channels.max(1);
        let mut largest = vec![0.0_f64; channels];
        for (index, value) in values.iter().enumerate() {
            if let Some(largest) = largest.get_mut(channel_of(index)) {
                *largest = largest.max(f64::from(value.abs()));
            }
        }
        let bias_of =
            |channel: usize| bias.and_then(|bias| bias.get(channel)).map_or(0.0, |bias| f64::from(bias.abs()));
        let scale_of = |(channel, largest): (usize, &f64)| {
            let for_bias = bias_of(channel) / (f64::from(input_scale) * LARGEST_BIAS);
            let scale = (largest / largest_code).max(for_bias);
            if scale < SMALLEST_SCALE { 1.0 } else { scale as f32 }
        };
        let scales: Vec<f32> = largest.iter().enumerate().map(scale_of).collect();
        let code = |value: f32, scale: f32| (f64::from(value) / f64::from(scale)).round();
        let weight = |(index, value): (usize, &f32)| {
            let scale = scales.get(channel_of(index)).copied().unwrap_or(1.0);
            (code(*value, scale).clamp(-largest_code, largest_code) as i8).cast_unsigned()
        };
        let weights = values.iter().enumerate().map(weight).collect();
        let biases = bias.map(|bias| {
            let codes = bias.iter().zip(&scales).map(|(bias, scale)| code(*bias, scale * input_scale) as i32);
            codes.collect()
        });
        Self { weights, scales, biases }
    }
}

fn node(operator: &str, input: Vec<String>, output: &str) -> NodeProto {
    NodeProto {
        input,
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: operator.to_owned(),
        ..NodeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(value), r#type: 2, ..AttributeProto::default() }
}
