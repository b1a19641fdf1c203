//! What can be computed in int8: products with constant weights.

use std::collections::HashMap;

use super::{
    PrecisionError,
    constants::{Constants, graph_of, refuse_lower_precision},
};
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto};

/// The operator of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A linear layer on the last axis, weights [in, out]; the bias is a node of its own.
    MatMul,
    /// A linear layer on [rows, in]; weights [in, out], or [out, in] where `transposed`.
    Gemm {
        /// transB.
        transposed: bool,
    },
    /// A convolution, weights [out, in / groups, ...].
    Conv,
}

/// A layer with constant weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The value that the operator gives: its name in reports.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its input value.
    pub input: String,
    /// The value that the next layer takes: with the bias, and after a ReLU that follows a convolution.
    pub output: String,
    /// The constant weights.
    pub weight: String,
    /// The constant bias [out].
    pub bias: Option<String>,
    /// Sides of the weights.
    pub sides: Vec<usize>,
    /// The operator's place among the graph's nodes.
    pub(super) node: usize,
    /// The place of the node that gives `output`: bias or ReLU, or the operator itself.
    pub(super) last: usize,
}

impl Layer {
    /// The axis of the weights that counts output channels.
    pub(super) fn channel_axis(&self) -> usize {
        match self.kind {
            Kind::MatMul | Kind::Gemm { transposed: false } => 1,
            Kind::Gemm { transposed: true } | Kind::Conv => 0,
        }
    }
}

/// All layers of a graph that can be quantised, in its order.
///
/// A layer whose result is an output of the graph is none: it would have to be rounded to 8 bits (a convolution), and
/// outputs keep their type.
///
/// # Errors
/// There is no graph, or it is in lower precision already.
pub fn find(model: &ModelProto) -> Result<Vec<Layer>, PrecisionError> {
    let graph = graph_of(model)?;
    refuse_lower_precision(graph)?;
    let finder = Finder::new(graph);
    Ok(graph.node.iter().enumerate().filter_map(|(index, node)| finder.layer(index, node)).collect())
}

struct Finder<'a> {
    graph: &'a GraphProto,
    constants: Constants<'a>,
    /// Value to the places of the nodes that take it.
    consumers: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                consumers.entry(input).or_default().push(index);
            }
        }
        Self { graph, constants: Constants::of(graph), consumers }
    }

    fn layer(&self, index: usize, node: &NodeProto) -> Option<Layer> {
        let ([input, weight, rest @ ..], [output]) = (&node.input[..], &node.output[..]) else { return None };
        let sides = self.constants.float_sides(weight)?;
        if !node.domain.is_empty() || self.constants.get(input).is_some() {
            return None;
        }
        let bias = rest.first().filter(|bias| !bias.is_empty());
        let layer = Layer {
            name: output.clone(),
            kind: Kind::MatMul,
            input: input.clone(),
            output: output.clone(),
            weight: weight.clone(),
            bias: bias.cloned(),
            sides,
            node: index,
            last: index,
        };
        let layer = match node.op_type.as_str() {
            "MatMul" => self.mat_mul(layer),
            "Gemm" => Self::gemm(layer, node),
            "Conv" => self.conv(layer),
            _ => None,
        }?;
        let channels = layer.sides.get(layer.channel_axis()).copied();
        let bias_fits = |bias: &String| self.constants.float_sides(bias).as_deref() == channels.as_slice().get(..1);
        let is_output = self.graph.output.iter().any(|known| known.name == layer.output);
        (layer.bias.as_ref().is_none_or(bias_fits) && !is_output).then_some(layer)
    }

    /// With the bias that is added to the product, if that is all that becomes of it.
    fn mat_mul(&self, layer: Layer) -> Option<Layer> {
        if layer.sides.len() != 2 {
            return None;
        }
        let Some((place, add)) = self.only_consumer(&layer.name, "Add") else { return Some(layer) };
        let bias = add.input.iter().find(|&input| *input != layer.name && self.constants.get(input).is_some());
        let bias = bias.filter(|bias| self.constants.float_sides(bias).as_deref() == layer.sides.get(1..));
        match (bias, add.output.first()) {
            (Some(bias), Some(output)) => {
                Some(Layer { bias: Some(bias.clone()), output: output.clone(), last: place, ..layer })
            }
            _ => Some(layer),
        }
    }

    fn gemm(layer: Layer, node: &NodeProto) -> Option<Layer> {
        let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let is_one = |name| attribute(name).is_none_or(|attribute| attribute.f == Some(1.0));
        let flag = |name| attribute(name).is_some_and(|attribute| attribute.i.unwrap_or(0) != 0);
        let plain = layer.sides.len() == 2 && is_one("alpha") && is_one("beta") && !flag("transA");
        plain.then(|| Layer { kind: Kind::Gemm { transposed: flag("transB") }, ..layer })
    }

    fn conv(&self, layer: Layer) -> Option<Layer> {
        if layer.sides.len() < 3 {
            return None;
        }
        let layer = Layer { kind: Kind::Conv, ..layer };
        match self.only_consumer(&layer.name, "Relu") {
            Some((place, NodeProto { output, .. })) if output.len() == 1 => {
                Some(Layer { output: output.concat(), last: place, ..layer })
            }
            _ => Some(layer),
        }
    }

    /// The node that alone takes `value`, if it is of this operator and `value` is no output of the graph.
    fn only_consumer(&self, value: &str, operator: &str) -> Option<(usize, &'a NodeProto)> {
        let [place] = self.consumers.get(value)?[..] else { return None };
        let node = self.graph.node.get(place)?;
        let is_output = self.graph.output.iter().any(|output| output.name == value);
        (node.op_type == operator && node.domain.is_empty() && !is_output).then_some((place, node))
    }
}
