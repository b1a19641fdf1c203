//! The robot node.
fn main() {}
