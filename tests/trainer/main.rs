//! `looptrans train` on a small drawn dataset and a toy backbone: that it learns, that a resumed run is the same run, and
//! what stops it.
//!
//! Needs libtorch (`make test-train`). CPU only: a GPU's sums are not the same from run to run. Run with
//! `--test-threads=1`: libtorch has one generator of random numbers for a whole process, so a network made in one thread
//! would change the initial values that a run in another draws, and runs are compared bit for bit here.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod cluster;
mod events;
mod killed;
mod pretrain;
mod refused;
mod running;
mod runs;
mod store_builds;
mod store_support;
mod stores;
mod studies;
mod support;
mod wsma;
