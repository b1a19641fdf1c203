//! Affordance perception for robots: where can this be held, opened, cut with?
//!
//! Two programs share this library and never call each other:
//!
//! ```text
//! affordance_node   camera topic -> message::cdr -> robot::mailbox (newest wins)
//!                     -> perceive::{decode -> preprocess -> infer -> heatmap -> grasp} -> ros::publish -> topics
//! looptrans         weights -> export::{graph -> onnx} -> model bundle;   bundle + pictures -> perceive -> files
//! ```
//!
//! They meet in the model bundle: `model.onnx` beside `model.yaml`, the [`contract`] it must keep.

pub mod affordance;
#[cfg(feature = "onnx")]
pub mod cli;
pub mod config;
pub mod contract;
pub mod convert;
pub mod data;
pub mod error;
pub mod export;
pub mod memory;
pub mod message;
pub mod metrics;
pub mod onnx;
#[cfg(feature = "onnx")]
pub mod parity;
pub mod perceive;
pub mod robot;
#[cfg(feature = "ros")]
pub mod ros;
pub mod synth;
pub mod telemetry;
#[cfg(feature = "train")]
pub mod train;
