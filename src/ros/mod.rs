//! The ROS 2 border: topics, services, the node. The only folder that names r2r.

mod camera;
pub mod camera_info;
mod clock;
mod depth;
mod diagnostics;
mod door;
mod error;
mod heatmaps;
mod inlet;
mod input;
mod lifecycle;
mod load;
mod log;
pub mod log_file;
mod managed;
mod models;
mod namesake;
mod node;
mod parameters;
mod publish;
mod qos;
pub mod regions;
mod seat;
mod services;
mod signals;
mod spin;
mod status;
mod topic;
mod vigil;
mod workplace;

pub use self::{error::NodeError, node::run};

/// The node's name unless `-r __node:=` gives another.
pub const NODE_NAME: &str = "affordance_node";
