//! What runs where: ONNX Runtime's profile of one run.
//!
//! The profile is a JSON list of events; each operator that ran is one of category "Node" whose arguments name its
//! operator, its provider and its shapes.

use std::{collections::BTreeMap, fs, path::Path};

use ort::value::TensorRef;
use serde::Deserialize;
use tempfile::TempDir;

use super::{FailureKind, GraphShare, InferError, ProviderChoice, failure, runtime, session::Opening};
use crate::{contract::INPUT_IMAGE, error::one_line};

/// The most bytes of a profile: one of a ViT-B is below a megabyte.
const MAX_BYTES: u64 = 64 << 20;
/// The most characters of an error of ONNX Runtime.
const MOST_SAID: usize = 300;

/// Counts the nodes of a session like the one that is to serve, in a run of its own. None, with a warning, where that can't be done:
/// the model serves without it. What is wrong with the session itself shows when it is opened to serve.
///
/// The session that serves is not profiled: after the end of its profile ONNX Runtime (1.32) goes on to note the blocks of each
/// parallel loop, some hundred bytes a run that are never freed. A session of one thread has no such loops.
///
/// # Errors
/// The session can't be opened or run, but on the CPU, where the one that serves says so itself: an engine that can't be built would be
/// built twice, and where CUDA's context is lost nothing more may be opened on it.
pub(super) fn count_nodes(opening: &Opening<'_>) -> Result<Option<GraphShare>, InferError> {
    if opening.choice == ProviderChoice::TensorRt && opening.engines.is_none() {
        tracing::warn!("graph nodes are not counted: without an engine cache TensorRT would build its engine twice");
        return Ok(None);
    }
    // A graph that is recorded wants bound buffers (microsoft/onnxruntime#10859), and would be counted each time it is played.
    let mut settings = opening.settings.clone();
    settings.gpu.cuda_graph = false;
    let mut broken = None;
    let is_on_cpu = opening.choice == ProviderChoice::Cpu;
    let mut counted = || -> Result<GraphShare, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let prefix = folder.path().join("first_run");
        let failed = |error: ort::Error| one_line(&error.to_string(), MOST_SAID);
        let opened = Opening { profile: Some(&prefix), settings: &settings, ..*opening }.open();
        let mut session = opened.map_err(|error| {
            broken = (!is_on_cpu).then(|| runtime::failed("load", &error));
            failed(error)
        })?;
        let input = opening.bundle.contract.input;
        let shape = [opening.pictures, input.height as usize, input.width as usize, 3];
        let picture = vec![0_u8; opening.pictures * opening.bundle.contract.input_bytes()];
        let image = TensorRef::from_array_view((shape, picture.as_slice())).map_err(failed)?;
        if let Err(error) = session.run(ort::inputs![INPUT_IMAGE => image]).map(drop) {
            let kind = failure::kind(&error);
            kind.free(session);
            let is_told = !is_on_cpu || kind == FailureKind::ContextLost;
            broken = is_told.then(|| runtime::failed("first run", &error));
            return Err(failed(error));
        }
        let file = session.end_profiling().map_err(failed)?;
        read(Path::new(&file))
    };
    let share = counted();
    match broken {
        Some(error) => Err(error),
        None => Ok(share.map_err(|error| tracing::warn!("graph nodes are not counted: {error}")).ok()),
    }
}

fn read(file: &Path) -> Result<GraphShare, String> {
    let refuse = |error: std::io::Error| format!("{}: {error}", file.display());
    let bytes = fs::metadata(file).map_err(refuse)?.len();
    if bytes > MAX_BYTES {
        return Err(format!("{}: expected at most {MAX_BYTES} bytes, found {bytes}", file.display()));
    }
    let text = fs::read(file).map_err(refuse)?;
    share(&text).map_err(|error| format!("{}: {error}", file.display()))
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    args: Arguments,
}

/// Only a node's are looked at; other events have others.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Arguments {
    op_name: String,
    provider: String,
    input_type_shape: Shapes,
    output_type_shape: Shapes,
}

/// One map of a single entry per tensor: element type to shape.
type Shapes = Vec<BTreeMap<String, Vec<u64>>>;

fn share(profile: &[u8]) -> Result<GraphShare, serde_json::Error> {
    let events: Vec<Event> = serde_json::from_slice(profile)?;
    let mut share = GraphShare { multiply_adds: Some(0), ..GraphShare::default() };
    for Event { args, .. } in events.into_iter().filter(|event| event.cat == "Node" && !event.args.provider.is_empty())
    {
        share.multiply_adds = share.multiply_adds.and_then(|sum| sum.checked_add(args.multiply_adds()?));
        *share.nodes.entry(args.provider).or_default() += 1;
    }
    Ok(share)
}

impl Arguments {
    /// Of a convolution, a matrix product, or attention; 0 for anything else, None where they are not known. Constants that
    /// a kernel has packed for itself are missing from the inputs, so a product's inner side is read from its first factor.
    fn multiply_adds(&self) -> Option<u64> {
        let shape = |shapes: &Shapes, at: usize| shapes.get(at)?.values().next().cloned();
        let product = |sides: &[u64]| sides.iter().try_fold(1_u64, |product, side| product.checked_mul(*side));
        let inner: u64 = match self.op_name.as_str() {
            // [out, in / groups, kernel...]
            "Conv" | "FusedConv" => product(shape(&self.input_type_shape, 1)?.get(1..)?)?,
            "MatMul" | "FusedMatMul" | "Gemm" | "FusedGemm" | "QGemm" | "QLinearMatMul" | "MatMulInteger" => {
                *shape(&self.input_type_shape, 0)?.last()?
            }
            // Queries and keys [B, N, D]: every query meets every key in each of D channels, and every value too.
            "MultiHeadAttention" => shape(&self.input_type_shape, 1)?.get(1)?.checked_mul(2)?,
            "QLinearConv" | "ConvInteger" => return None,
            _ => return Some(0),
        };
        product(&shape(&self.output_type_shape, 0)?)?.checked_mul(inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, provider: &str, shapes: &str) -> String {
        format!(
            r#"{{"cat": "Node", "dur": 1, "name": "n", "args": {{"op_name": "{operator}", "provider": "{provider}", {shapes}}}}}"#
        )
    }

    fn count(nodes: &[String]) -> GraphShare {
        let session = r#"{"cat": "Session", "name": "model_run", "args": {}}"#;
        share(format!("[{session}, {}]", nodes.join(", ")).as_bytes()).unwrap()
    }

    #[test]
    fn nodes_are_counted_by_provider() {
        let add = |provider| node("Add", provider, r#""output_type_shape": [{"float": [1, 4]}]"#);
        let share = count(&[add("CUDAExecutionProvider"), add("CPUExecutionProvider"), add("CUDAExecutionProvider")]);
        assert_eq!(share.to_string(), "CPUExecutionProvider 1, CUDAExecutionProvider 2 of 3 graph nodes");
        assert_eq!((share.total_nodes(), share.multiply_adds), (3, Some(0)));
    }

    #[test]
    fn multiply_adds_are_those_of_products_convolutions_and_attention() {
        let cases = [
            // The weight [384, 1536] is packed and not listed.
            ("MatMul", r#"[{"float": [1, 197, 384]}]"#, "[1, 197, 1536]", 197 * 384 * 1536),
            (
                "MatMul",
                r#"[{"float": [1, 6, 197, 64]}, {"float": [1, 6, 64, 197]}]"#,
                "[1, 6, 197, 197]",
                6 * 197 * 197 * 64,
            ),
            ("Gemm", r#"[{"float": [1, 384]}, {"float": [51]}]"#, "[1, 51]", 384 * 51),
            (
                "Conv",
                r#"[{"float": [1, 384, 14, 14]}, {"float": [384, 384, 3, 3]}]"#,
                "[1, 384, 14, 14]",
                196 * 384 * 384 * 9,
            ),
            (
                "MultiHeadAttention",
                r#"[{"float": [1, 197, 384]}, {"float": [1, 197, 384]}]"#,
                "[1, 197, 384]",
                2 * 197 * 197 * 384,
            ),
            ("QGemm", r#"[{"uint8": [197, 384]}, {"float": []}]"#, "[197, 1536]", 197 * 384 * 1536),
            ("Softmax", r#"[{"float": [1, 6, 197, 197]}]"#, "[1, 6, 197, 197]", 0),
        ];
        for (operator, inputs, output, expected) in cases {
            let shapes = format!(r#""input_type_shape": {inputs}, "output_type_shape": [{{"float": {output}}}]"#);
            let found = count(&[node(operator, "CPUExecutionProvider", &shapes)]).multiply_adds;
            assert_eq!(found, Some(expected), "{operator}");
        }
        let convolution = node("QLinearConv", "p", r#""output_type_shape": [{"uint8": [1, 14, 14, 384]}]"#);
        assert_eq!(count(&[convolution]).multiply_adds, None, "its weights are packed");
    }

    #[test]
    fn a_profile_that_is_none_is_an_error_and_absurd_shapes_do_not_overflow() {
        assert!(share(b"[{").is_err() && share(b"").is_err());
        let huge =
            format!(r#""input_type_shape": [{{"float": [{0}]}}], "output_type_shape": [{{"float": [{0}]}}]"#, u64::MAX);
        assert_eq!(count(&[node("MatMul", "p", &huge)]).multiply_adds, None);
    }
}
