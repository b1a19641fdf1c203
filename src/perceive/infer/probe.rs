//! Looks inside a graph: runs it on the CPU and gives any of its values, for calibration and comparison offline.

use std::collections::BTreeMap;

use ort::{
    logging::LogLevel,
    session::{Session, builder::GraphOptimizationLevel},
    value::{TensorElementType, TensorRef, ValueType},
};
use prost::Message;

use super::{FailureKind, InferError, InferSettings, failure, options, runtime};
use crate::{
    contract::{INPUT_IMAGE, Size},
    onnx::{
        FLOAT,
        proto::{GraphProto, ModelProto, TensorTypeProto, TypeProto, ValueInfoProto},
    },
    perceive::FrameError,
};

const OPEN: &str = "open for probing";

/// A graph opened for looking inside.
#[derive(Debug)]
pub struct Probe {
    session: Session,
    input: Size,
    outputs: Vec<String>,
}

/// A value of the graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Its sides.
    pub shape: Vec<usize>,
    /// Its elements, row-major. Not checked: they may be NaN or infinite.
    pub values: Vec<f32>,
}

impl Probe {
    /// Opens a graph (the bytes of an ONNX file) with the input `image` u8 [B, H, W, 3] and f32 outputs. `inside` names
    /// f32 values of the graph that become outputs too; ones that are outputs already must not be among them.
    ///
    /// Of `settings`, the library and the number of threads count: a probe always computes on the CPU.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used; it refuses the graph or a name of `inside`; or the graph has other inputs
    /// or outputs.
    pub fn open(onnx: &[u8], inside: &[&str], settings: &InferSettings) -> Result<Self, InferError> {
        let environment = runtime::environment(settings.library.as_deref())?;
        let open = || -> ort::Result<Session> {
            Session::builder(&environment)?
                .with_log_level(LogLevel::Error)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(settings.intra_op_threads)?
                .with_intra_op_spinning(false)?
                .with_config_entry(options::FORMAT.0, options::FORMAT.1)?
                .commit_from_memory(&with_outputs(onnx, inside))
        };
        let session = open().map_err(|error| runtime::failed(OPEN, &error))?;
        let input = input_size(&session)?;
        let outputs = session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
        if let Some(other) =
            session.outputs().iter().find(|outlet| !is_tensor(outlet.dtype(), TensorElementType::Float32))
        {
            return Err(other_signature("f32 tensors as outputs", format!("{} {}", other.name(), other.dtype())));
        }
        Ok(Self { session, input, outputs })
    }

    /// Size of the picture that the graph takes.
    pub fn input(&self) -> Size {
        self.input
    }

    /// Runs one picture, u8 [H, W, 3] RGB with tight rows. Gives every output by name.
    ///
    /// # Errors
    /// The picture has another size, or ONNX Runtime fails.
    pub fn run(&mut self, pixels: &[u8]) -> Result<BTreeMap<String, Tensor>, FrameError> {
        let failed = |error: ort::Error| failure::of_run(&error);
        let (height, width) = (self.input.height as usize, self.input.width as usize);
        if pixels.len() != 3 * height * width {
            let (expected, found) = (3 * height * width, pixels.len());
            return Err(FrameError::Inference(format!("input: expected {expected} bytes, found {found}")));
        }
        let image = TensorRef::from_array_view(([1, height, width, 3], pixels)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![INPUT_IMAGE => image]).map_err(failed)?;
        let mut tensors = BTreeMap::new();
        for name in &self.outputs {
            let value = outputs.get(name).ok_or_else(|| FrameError::Inference(format!("no output {name}")))?;
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let shape = shape.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
            tensors.insert(name.clone(), Tensor { shape, values: values.to_vec() });
        }
        Ok(tensors)
    }
}

/// The file with more outputs: protobuf messages merge when they are written one after the other, so nothing has to be
/// read or built anew.
fn with_outputs(onnx: &[u8], names: &[&str]) -> Vec<u8> {
    let output = names.iter().map(|&name| {
        let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: None };
        let r#type = Some(TypeProto { tensor_type: Some(tensor_type) });
        ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
    });
    let graph = GraphProto { output: output.collect(), ..GraphProto::default() };
    let more = ModelProto { graph: Some(graph), ..ModelProto::default() };
    [onnx, &more.encode_to_vec()].concat()
}

fn input_size(session: &Session) -> Result<Size, InferError> {
    let expected = format!("one input, {INPUT_IMAGE} u8 [B, H, W, 3] with fixed H and W");
    if let [image] = session.inputs()
        && image.name() == INPUT_IMAGE
        && is_tensor(image.dtype(), TensorElementType::Uint8)
        && let ValueType::Tensor { shape, .. } = image.dtype()
        && let [-1 | 1, height @ (1..), width @ (1..), 3] = shape[..]
        && let (Ok(height), Ok(width)) = (u32::try_from(height), u32::try_from(width))
    {
        return Ok(Size { height, width });
    }
    let found = session.inputs().iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype()));
    Err(other_signature(&expected, found.collect::<Vec<_>>().join(", ")))
}

fn is_tensor(dtype: &ValueType, element: TensorElementType) -> bool {
    matches!(dtype, ValueType::Tensor { ty, .. } if *ty == element)
}

fn other_signature(expected: &str, found: String) -> InferError {
    InferError::Runtime { step: OPEN, kind: FailureKind::Other, cause: format!("expected {expected}, found {found}") }
}
