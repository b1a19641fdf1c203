//! ONNX files: the messages [`crate::export`] writes, and the check every file passes before ONNX Runtime sees it.
//!
//! ```text
//! export::graph -> proto::ModelProto -> model.onnx -> wire (fields, borrowed) -> check (against the contract)
//! ```
//!
//! Reading and writing are apart on purpose. A file from outside is walked field by field in the bytes it came in:
//! nothing is copied or built, so a hostile file cannot make the check use memory, and an 87 MB one costs nothing.

mod check;
pub mod proto;
mod signature;
mod wire;

pub use check::check;

/// The operator set the exported graphs are written in: the first with `Gelu`.
pub const OPSET: i64 = 20;
/// The file format version that came with [`OPSET`].
pub const IR_VERSION: i64 = 9;
/// TensorProto.DataType.FLOAT.
pub const FLOAT: i32 = 1;
/// TensorProto.DataType.UINT8.
pub const UINT8: i32 = 2;
/// TensorProto.DataType.INT8.
pub const INT8: i32 = 3;
/// TensorProto.DataType.INT32.
pub const INT32: i32 = 6;
/// TensorProto.DataType.INT64.
pub const INT64: i32 = 7;
/// TensorProto.DataType.FLOAT16.
pub const FLOAT16: i32 = 10;
