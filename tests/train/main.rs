//! The models on libtorch: against the published code's numbers, against a second implementation in plain PyTorch layer
//! by layer; losses and part finders by their definitions; and what is refused.
//!
//! Exported graphs are compared with them in ONNX Runtime.
//!
//! Needs ONNX Runtime (`ORT_DYLIB_PATH`), libtorch and, as `python3`, the Python that brought it (`make test-train` provides
//! them). CPU only: on a GPU, where sums run in another order and in TF32, the tolerances would have to be wider.
#![cfg(all(feature = "train", feature = "onnx"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod concepts;
mod eager;
mod export;
#[path = "../export_support/mod.rs"]
mod export_support;
mod features;
mod golden;
mod loading;
mod locate;
mod losses;
mod parity;
mod report;
mod support;
mod wsma;
