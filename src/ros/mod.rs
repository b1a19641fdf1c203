//! The ROS 2 border: messages, topics, the node. The only folder that names r2r.
//!
//! The message formats and the rules of names need no ROS and are built, tested and fuzzed without one.

pub mod cdr;
pub mod image_message;
pub mod names;
pub mod text;
