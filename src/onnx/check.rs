//! Does an ONNX file keep its bundle's contract, and ask for nothing outside its own bytes?

use std::path::Path;

use super::{
    signature::Signature,
    wire::{Damage, Field, Span, Value},
};
use crate::contract::{BundleError, ModelContract};

/// Subgraphs inside subgraphs: real models stay below 5, protobuf readers give up at about 33.
const MAX_GRAPH_DEPTH: usize = 32;
const MAX_NAME_SHOWN: usize = 80;
/// The standard operators, under both of their names, and ONNX Runtime's own fused forms of them.
const DOMAINS: [&[u8]; 3] = [b"", b"ai.onnx", b"com.microsoft"];
/// Where a file has it at byte 4, ONNX Runtime takes it for a model in its own format unless it is told otherwise: the same
/// bytes could be one graph here and another there.
const ORT_FORMAT: &[u8] = b"ORTM";
/// com.microsoft.EPContext loads a compiled engine from a file it names.
const FILE_OPERATOR: &[u8] = b"EPContext";

/// Checks `bytes`, the whole file at `path` (used in messages only), against `contract`.
///
/// Accepted: one graph with the one input `image` u8 [B, H, W, 3] and the outputs `heatmap` f32 [B, A, h, w] and
/// `presence` f32 [B, A], where B may vary and all else is fixed as the contract says; standard or com.microsoft
/// operators; every tensor's data inside the file.
///
/// # Errors
/// [`BundleError::Mismatch`] with the place, what was expected and what was found. Whether the nodes make sense is
/// ONNX Runtime's to judge.
pub fn check(bytes: &[u8], contract: &ModelContract, path: &Path) -> Result<(), BundleError> {
    let signature = check_model(bytes).map_err(|refusal| refusal.at(path))?;
    signature.agree(contract).map_err(|refusal| refusal.at(path))
}

/// A broken promise, before the file's name is added.
pub(super) struct Refusal {
    what: String,
    expected: String,
    found: String,
}

impl Refusal {
    pub fn new(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), found: found.into() }
    }

    fn at(self, path: &Path) -> BundleError {
        BundleError::Mismatch { path: path.to_owned(), what: self.what, expected: self.expected, found: self.found }
    }
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Self::new(format!("not an ONNX file, or a damaged one: byte {}", damage.offset), damage.expected, damage.found)
    }
}

/// ModelProto: graph (7), opset_import (8), training_info (20), functions (25).
fn check_model(bytes: &[u8]) -> Result<Signature<'_>, Refusal> {
    if bytes.get(4..8) == Some(ORT_FORMAT) {
        return Err(Refusal::new("format", "ONNX", "the mark of ONNX Runtime's own format at byte 4"));
    }
    let mut signature = None;
    let (mut graphs, mut opsets) = (0_usize, 0_usize);
    for field in (Span { bytes, offset: 0 }).fields() {
        let field = field?;
        match field.number {
            7 => {
                graphs += 1;
                let graph = message(&field, "graph")?;
                if check_graph(graph, 0)? == 0 {
                    return Err(Refusal::new("graph", "at least one node", "none"));
                }
                signature = Some(Signature::read(graph)?);
            }
            8 => opsets += 1,
            20 => return Err(Refusal::new("training_info", "none: a bundle is for inference", "a training graph")),
            25 => check_function(message(&field, "function")?)?,
            _ => {}
        }
    }
    match signature {
        Some(signature) if graphs == 1 && opsets > 0 => Ok(signature),
        _ => Err(Refusal::new(
            "not an ONNX file, or not all of it",
            "one graph and the operator sets it uses",
            format!("graphs: {graphs}, operator sets: {opsets}"),
        )),
    }
}

/// A name from the file, safe to print on one line.
pub(super) fn show(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain = text.chars().take(MAX_NAME_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > MAX_NAME_SHOWN { format!("{plain}...") } else { plain }
}

/// GraphProto: node (1), initializer (5), sparse_initializer (15). Gives the number of nodes.
fn check_graph(graph: Span<'_>, depth: usize) -> Result<usize, Refusal> {
    if depth > MAX_GRAPH_DEPTH {
        return Err(Refusal::new("graph", format!("at most {MAX_GRAPH_DEPTH} nested subgraphs"), "more"));
    }
    let mut nodes = 0;
    for field in graph.fields() {
        let field = field?;
        match field.number {
            1 => {
                nodes += 1;
                check_node(message(&field, "node")?, depth)?;
            }
            5 => check_tensor(message(&field, "initializer")?)?,
            15 => check_sparse(message(&field, "sparse_initializer")?)?,
            _ => {}
        }
    }
    Ok(nodes)
}

/// FunctionProto: node (7), attribute_proto (11).
fn check_function(function: Span<'_>) -> Result<(), Refusal> {
    for field in function.fields() {
        let field = field?;
        match field.number {
            7 => check_node(message(&field, "node")?, 0)?,
            11 => check_attribute(message(&field, "attribute_proto")?, 0)?,
            _ => {}
        }
    }
    Ok(())
}

/// NodeProto: name (3), op_type (4), attribute (5), domain (7).
fn check_node(node: Span<'_>, depth: usize) -> Result<(), Refusal> {
    let (mut name, mut op_type): (&[u8], &[u8]) = (b"", b"");
    let mut domains_ok = true;
    let mut domain: &[u8] = b"";
    for field in node.fields() {
        let field = field?;
        match field.number {
            3 => name = message(&field, "name")?.bytes,
            4 => op_type = message(&field, "op_type")?.bytes,
            5 => check_attribute(message(&field, "attribute")?, depth)?,
            7 => {
                domain = message(&field, "domain")?.bytes;
                domains_ok &= DOMAINS.contains(&domain);
            }
            _ => {}
        }
    }
    if domains_ok && op_type != FILE_OPERATOR {
        return Ok(());
    }
    Err(Refusal::new(
        format!("operator of node {:?}", show(name)),
        "a standard or com.microsoft operator that needs no other file",
        format!("{} of domain {:?}", show(op_type), show(domain)),
    ))
}

/// AttributeProto: t (5), g (6), tensors (10), graphs (11), sparse_tensor (22), sparse_tensors (23).
fn check_attribute(attribute: Span<'_>, depth: usize) -> Result<(), Refusal> {
    for field in attribute.fields() {
        let field = field?;
        match field.number {
            5 | 10 => check_tensor(message(&field, "tensor")?)?,
            6 | 11 => check_graph(message(&field, "subgraph")?, depth + 1).map(|_| ())?,
            22 | 23 => check_sparse(message(&field, "sparse tensor")?)?,
            _ => {}
        }
    }
    Ok(())
}

/// SparseTensorProto: values (1), indices (2).
fn check_sparse(tensor: Span<'_>) -> Result<(), Refusal> {
    for field in tensor.fields() {
        let field = field?;
        if matches!(field.number, 1 | 2) {
            check_tensor(message(&field, "sparse tensor's part")?)?;
        }
    }
    Ok(())
}

/// TensorProto: name (8), external_data (13), data_location (14, 1 is EXTERNAL). Any trace of a second file is refused.
fn check_tensor(tensor: Span<'_>) -> Result<(), Refusal> {
    let mut name: &[u8] = b"";
    let mut external: Option<&[u8]> = None;
    for field in tensor.fields() {
        let field = field?;
        match (field.number, field.value) {
            (8, Value::Span(text)) => name = text.bytes,
            (13, _) => {
                let entry = external_location(message(&field, "external_data")?)?;
                external = entry.or(external).or(Some(b"?"));
            }
            (14, value) if !matches!(value, Value::Varint(0)) => external = external.or(Some(b"?")),
            _ => {}
        }
    }
    match external {
        None => Ok(()),
        Some(location) => Err(Refusal::new(
            format!("data of tensor {:?}", show(name)),
            "inside the ONNX file",
            format!("external data in {:?}", show(location)),
        )),
    }
}

/// StringStringEntryProto: key (1), value (2); the file's name has the key "location".
fn external_location(entry: Span<'_>) -> Result<Option<&[u8]>, Refusal> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    for field in entry.fields() {
        match field? {
            Field { number: 1, value: Value::Span(text), .. } => key = text.bytes,
            Field { number: 2, value: Value::Span(text), .. } => value = text.bytes,
            _ => {}
        }
    }
    Ok((key == b"location").then_some(value))
}

/// The contents of a field that the schema says is a message or text.
pub(super) fn message<'a>(field: &Field<'a>, what: &str) -> Result<Span<'a>, Refusal> {
    match field.value {
        Value::Span(span) => Ok(span),
        Value::Varint(_) | Value::Fixed => Err(Refusal::new(
            format!("not an ONNX file, or a damaged one: byte {}", field.offset),
            format!("{what}, a length and its bytes"),
            "a number",
        )),
    }
}
