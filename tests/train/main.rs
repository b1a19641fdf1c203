//! The models on libtorch: against the published code's numbers, against a second implementation in plain PyTorch layer
//! by layer; losses and part finders by their definitions; and what is refused.
//!
//! Needs libtorch and, as `python3`, the Python that brought it (`make test-train` provides both). CPU only: on a GPU,
//! where sums run in another order and in TF32, the tolerances would have to be wider.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod concepts;
mod features;
mod golden;
mod loading;
mod locate;
mod losses;
mod parity;
mod report;
mod support;
mod wsma;
