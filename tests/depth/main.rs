//! Metric grasps of rendered scenes whose truth is known.
//!
//! Covers: widths within 5 % or 2 mm and positions within 1 % of the range for planes, cylinders and boxes near and far,
//! slanted, noisy, sparse, across depth edges, under lenses, with binning and regions of interest; which depth frame a
//! picture gets; what is refused; no panic on any input.
//! Needs: nothing.

#![allow(clippy::unwrap_used)]

mod camera;
mod grasp;
mod image;
mod scene;
mod stage;
mod sync;
mod width;

use looptrans_ros::perceive::depth::DepthSettings;

const SETTINGS: DepthSettings =
    DepthSettings { depth_min_m: 0.1, depth_max_m: 5.0, gripper_width_min_m: 0.005, gripper_width_max_m: 0.12 };
