//! The demo's and the bench's Python, tested by its own unit tests in tests/demo.
//!
//! Needs: `source scripts/env.sh` (rclpy, our message types, numpy, Pillow), as all of the `ros` feature does.
//! Not covered: the demo as a whole, which `make demo` runs.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{env, path::Path, process::Command};

#[test]
fn the_python_unit_tests_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = env::var_os("LOOPTRANS_PYTHON").expect("LOOPTRANS_PYTHON is not set: source scripts/env.sh");
    let modules = env::join_paths(
        ["scripts", "benches"]
            .map(|folder| root.join(folder))
            .into_iter()
            .chain(env::split_paths(&env::var_os("PYTHONPATH").unwrap_or_default())),
    )
    .unwrap();
    let output = Command::new(python)
        .args(["-B", "-m", "unittest", "discover", "--start-directory", "tests/demo"])
        .current_dir(root)
        .env("PYTHONPATH", modules)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
    // An empty folder would pass too.
    assert!(text.contains("Ran ") && !text.contains("Ran 0 tests"), "{text}");
}
