//! The classes and functions a checkpoint may name.

/// How one element of a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE half precision.
    F16,
    /// Brain float.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed 64-bit integer.
    I64,
    /// A type that no parameter of a network has; of so many bytes.
    Other(u8),
}

impl Element {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::Other(bytes) => bytes.into(),
        }
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::F16 => f.write_str("f16"),
            Self::BF16 => f.write_str("bf16"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::I64 => f.write_str("i64"),
            Self::Other(bytes) => write!(f, "another type of {bytes} bytes"),
        }
    }
}

/// What a named class or function stands for. None of them is ever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// A typed storage class.
    Storage(Element),
    /// `_rebuild_tensor[_v2](storage, offset, size, stride, ...)`.
    Tensor,
    /// `_rebuild_parameter(tensor, ...)`.
    Parameter,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`.
    FromType,
    /// A dictionary class.
    Dict,
    /// `torch.Size(tuple)`.
    Size,
    /// A class that a TorchScript archive brings itself: its objects hold parameters and further objects by name.
    Module,
    /// Data beside the tensors (command-line arguments, best scores, random states): kept as a blank.
    Opaque,
}

/// The module that TorchScript's own classes lie in, and what the names of modules within it begin with.
const SCRIPT: &str = "__torch__";
const SCRIPT_WITHIN: &str = "__torch__.";

impl Global {
    /// None: code.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch" | "torch.cuda", _) if name.ends_with("Storage") => Self::Storage(storage_element(name)?),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::Parameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::FromType,
            ("collections", "OrderedDict" | "defaultdict" | "Counter") => Self::Dict,
            ("torch", "Size") => Self::Size,
            _ if module == SCRIPT || module.starts_with(SCRIPT_WITHIN) => Self::Module,
            // Lists of plain numbers.
            ("torch.jit._pickle", _) => Self::Opaque,
            ("torch", "Tensor" | "device" | "float16" | "bfloat16" | "float32" | "float64" | "int64") => Self::Opaque,
            ("torch.nn.parameter", "Parameter") => Self::Opaque,
            ("argparse", "Namespace") => Self::Opaque,
            ("pathlib" | "pathlib._local", "PosixPath" | "PurePosixPath") => Self::Opaque,
            ("builtins" | "__builtin__", "set" | "dict" | "list" | "int" | "float") => Self::Opaque,
            ("_codecs", "encode") => Self::Opaque,
            ("numpy", "dtype" | "ndarray") => Self::Opaque,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") => Self::Opaque,
            _ => return None,
        })
    }
}

fn storage_element(class: &str) -> Option<Element> {
    Some(match class {
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::BF16,
        "FloatStorage" => Element::F32,
        "DoubleStorage" => Element::F64,
        "LongStorage" => Element::I64,
        "BoolStorage" | "ByteStorage" | "CharStorage" => Element::Other(1),
        "ShortStorage" => Element::Other(2),
        "IntStorage" => Element::Other(4),
        "ComplexFloatStorage" => Element::Other(8),
        "ComplexDoubleStorage" => Element::Other(16),
        _ => return None,
    })
}
