//! What each fuzz target does with bytes from anywhere: reads them as the programs do and checks what must hold of every
//! answer. `tests/fuzz_corpus.rs` runs the same functions over the kept corpus.
//!
//! A function panics where a promise is broken; an error of the library is a good answer.
#![allow(clippy::unwrap_used)]

mod bundle;
mod checkpoint;
mod edit;
mod image;
mod message;
#[path = "../../tests/models/mod.rs"]
mod models;
mod text;

pub use bundle::{bundle_load, onnx};
pub use checkpoint::checkpoint;
pub use image::image_decode;
pub use message::cdr;
pub use text::{contract, params_yaml};

/// A target: it panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also its corpus's.
pub const TARGETS: [(&str, Target); 7] = [
    ("bundle_load", bundle_load),
    ("cdr", cdr),
    ("checkpoint", checkpoint),
    ("contract", contract),
    ("image_decode", image_decode),
    ("onnx", onnx),
    ("params_yaml", params_yaml),
];

/// An error must be one line that a log can show, however long what caused it.
fn assert_readable(error: &impl std::fmt::Display) {
    let line = error.to_string();
    assert!(!line.chars().any(char::is_control), "not one line: {line:?}");
    assert!(line.len() < 4096, "{} bytes", line.len());
}
