//! Builds an ONNX graph node by node. Every value has the name of the node or constant it comes from.

use std::collections::HashSet;

use ndarray::ArrayD;
use prost::bytes::Bytes;

use crate::{
    contract::BATCH,
    onnx::{
        FLOAT, INT64, IR_VERSION, OPSET,
        proto::{
            AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
            TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
        },
    },
};

/// ONNX Runtime's own operators, and the version of their set.
const CONTRIB: (&str, i64) = ("com.microsoft", 1);

/// A value in a [`Graph`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// An operator's setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attr<'a> {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(&'a [i64]),
}

/// How many images a graph takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batch {
    /// Any number.
    #[default]
    Varies,
    /// One: every shape in the graph is then fixed, as TensorRT and CUDA graphs like it.
    One,
}

/// Name, type and shape of an input or output; `sides` leaves out the batch, which comes first.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// Its name.
    pub name: &'a str,
    /// TensorProto.DataType.
    pub data_type: i32,
    /// The fixed sides.
    pub sides: &'a [usize],
    /// Layout and unit, for people.
    pub doc: &'a str,
}

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    batch: Batch,
}

impl Graph {
    /// An empty graph for batches of any size.
    pub fn new(name: &str, doc: &str) -> Self {
        Self::with_batch(name, doc, Batch::Varies)
    }

    /// An empty graph.
    pub fn with_batch(name: &str, doc: &str, batch: Batch) -> Self {
        let proto = GraphProto { name: name.to_owned(), doc_string: doc.to_owned(), ..GraphProto::default() };
        Self { proto, batch }
    }

    /// Declares an input.
    pub fn input(&mut self, port: Port<'_>) -> Value {
        self.proto.input.push(value_info(&port, self.batch));
        Value(port.name.to_owned())
    }

    /// Makes the result of a node an output, under the port's name.
    pub fn output(&mut self, value: &Value, port: Port<'_>) {
        self.proto.output.push(value_info(&port, self.batch));
        let names = self.proto.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        for name in names.filter(|name| **name == value.0) {
            port.name.clone_into(name);
        }
    }

    /// A constant f32 tensor.
    pub fn floats(&mut self, path: &str, tensor: &ArrayD<f32>) -> Value {
        let raw: Vec<u8> = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(path, FLOAT, (tensor.shape(), raw))
    }

    /// A constant f32 without sides.
    pub fn float(&mut self, path: &str, value: f32) -> Value {
        self.constant(path, FLOAT, (&[], value.to_le_bytes().to_vec()))
    }

    /// A constant integer without sides: an index that takes its axis away.
    pub fn int(&mut self, path: &str, value: i64) -> Value {
        self.constant(path, INT64, (&[], value.to_le_bytes().to_vec()))
    }

    /// A constant list of integers: a shape, axes, indices.
    pub fn ints(&mut self, path: &str, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(path, INT64, (&[values.len()], raw))
    }

    fn constant(&mut self, path: &str, data_type: i32, (shape, raw): (&[usize], Vec<u8>)) -> Value {
        let dims = shape.iter().map(|&side| side as i64).collect();
        let raw_data = Bytes::from(raw);
        self.proto.initializer.push(TensorProto { dims, data_type, name: path.to_owned(), raw_data });
        Value(path.to_owned())
    }

    /// Adds the node `path` of a standard operator and gives its one result.
    pub fn node(&mut self, path: &str, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr<'_>)]) -> Value {
        let node = Self::node_of(path, operator, inputs, attributes);
        self.proto.node.push(node);
        Value(path.to_owned())
    }

    /// As [`Self::node`], of one of ONNX Runtime's own operators (domain com.microsoft): no other runtime has them.
    pub fn contrib_node(
        &mut self,
        path: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attr<'_>)],
    ) -> Value {
        let node = Self::node_of(path, operator, inputs, attributes);
        self.proto.node.push(NodeProto { domain: CONTRIB.0.to_owned(), ..node });
        Value(path.to_owned())
    }

    fn node_of(path: &str, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr<'_>)]) -> NodeProto {
        NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![path.to_owned()],
            name: path.to_owned(),
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: String::new(),
        }
    }

    /// The finished file. Constants that no node takes are left out.
    pub fn into_model(mut self) -> ModelProto {
        let used: HashSet<&str> = self.proto.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        self.proto.initializer.retain(|constant| used.contains(constant.name.as_str()));
        let set = |(domain, version): (&str, i64)| OperatorSetIdProto { domain: domain.to_owned(), version };
        let mut opset_import = vec![set(("", OPSET))];
        if self.proto.node.iter().any(|node| node.domain == CONTRIB.0) {
            opset_import.push(set(CONTRIB));
        }
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.proto),
            opset_import,
        }
    }
}

fn attribute(name: &str, value: &Attr<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match *value {
        Attr::Float(f) => (proto.f, proto.r#type) = (Some(f), 1),
        Attr::Int(i) => (proto.i, proto.r#type) = (Some(i), 2),
        Attr::Ints(ints) => (proto.ints, proto.r#type) = (ints.to_vec(), 7),
    }
    proto
}

fn value_info(port: &Port<'_>, batch: Batch) -> ValueInfoProto {
    let batch = match batch {
        Batch::Varies => Dimension::Param(BATCH.to_owned()),
        Batch::One => Dimension::Value(1),
    };
    let sides = port.sides.iter().map(|&side| Dimension::Value(side as i64));
    let dims = [batch].into_iter().chain(sides);
    let dim = dims.map(|value| DimensionProto { value: Some(value) }).collect();
    let tensor_type = TensorTypeProto { elem_type: port.data_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: port.name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        doc_string: port.doc.to_owned(),
    }
}
