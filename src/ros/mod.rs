//! The ROS 2 border: messages, topics, the node. The only folder that names r2r.
//!
//! The message formats need no ROS and are built, tested and fuzzed without one.

pub mod bulk;
pub mod cdr;
pub mod image_message;
pub mod text;

#[cfg(feature = "ros")]
mod camera;
#[cfg(feature = "ros")]
pub mod camera_info;
#[cfg(feature = "ros")]
mod clock;
#[cfg(feature = "ros")]
mod depth;
#[cfg(feature = "ros")]
mod error;
#[cfg(feature = "ros")]
mod inlet;
#[cfg(feature = "ros")]
mod input;
#[cfg(feature = "ros")]
mod lifecycle;
#[cfg(feature = "ros")]
mod load;
#[cfg(feature = "ros")]
mod log;
#[cfg(feature = "ros")]
mod managed;
#[cfg(feature = "ros")]
mod node;
#[cfg(feature = "ros")]
mod parameters;
#[cfg(feature = "ros")]
mod publish;
#[cfg(feature = "ros")]
mod qos;
#[cfg(feature = "ros")]
pub mod regions;
#[cfg(feature = "ros")]
mod signals;
#[cfg(feature = "ros")]
mod spin;
#[cfg(feature = "ros")]
mod status;

#[cfg(feature = "ros")]
pub use self::{error::NodeError, node::run};

/// The node's name unless `-r __node:=` gives another.
pub const NODE_NAME: &str = "affordance_node";
