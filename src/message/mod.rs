//! ROS 2 messages as bytes: read where they lie, written into a reused buffer. Knows no ROS library, so that it is
//! built, tested and fuzzed without one.

pub mod bulk;
pub mod cdr;
pub mod image;
pub mod text;
