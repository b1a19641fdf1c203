//! Covers: memory over many runs. Alone in its file, and one test, because it reads the whole process's heap.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).

#![cfg(all(feature = "onnx", target_env = "gnu"))]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use looptrans_ros::{
    contract::Bundle,
    perceive::infer::{InferSettings, Model},
};

const RUNS: usize = 1000;

#[expect(unsafe_code, reason = "a function of the C library that takes nothing")]
/// Bytes of malloc's blocks that are in use, ONNX Runtime's among them.
fn in_use() -> usize {
    // SAFETY: mallinfo2(3) reads the allocator's own counts.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[test]
fn a_thousand_runs_keep_nothing() {
    let bundle = Bundle::load(Path::new("models/default")).unwrap();
    // With one thread ONNX Runtime has no parallel loops to take notes of.
    let settings = InferSettings { intra_op_threads: 2, ..InferSettings::default() };
    let mut model = Model::load(&bundle, &settings).unwrap();
    let picture = vec![100; bundle.contract.input_bytes()];
    model.run(&picture).unwrap();
    let before = in_use();
    for _ in 0..RUNS {
        model.run(&picture).unwrap();
    }
    let grown = in_use().saturating_sub(before);
    assert!(grown < 64 * RUNS, "{grown} bytes in {RUNS} runs");
}
