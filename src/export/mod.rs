//! Named weights to an ONNX graph and a model bundle, written from Rust.

/// Why weights cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {}
