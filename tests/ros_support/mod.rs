//! The real node, the real middleware and an rclpy peer, for the tests named `ros_*`.
//!
//! Needs `source scripts/env.sh`. Each test gets a ROS domain of its own that does not leave this machine.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod bridge;
pub mod camera;
pub mod domain;
pub mod node;
pub mod rig;

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use looptrans_ros::contract::{Bundle, CONTRACT_FILE, MODEL_FILE};

/// How long anything may take on a busy machine before a test fails. Nothing waits this long when all is well.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The folder of the "colours" bundle: three actions, "red", "green" and "blue", whose heat is that colour's share.
/// Written once per test program.
pub fn model() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| written(&crate::models::colours())).path().to_owned()
}

/// A bundle as files.
pub fn written(bundle: &Bundle) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(MODEL_FILE), &bundle.onnx).unwrap();
    std::fs::write(folder.path().join(CONTRACT_FILE), serde_yaml::to_string(&bundle.contract).unwrap()).unwrap();
    folder
}

/// The Python that has rclpy and our messages.
pub fn python() -> PathBuf {
    std::env::var_os("LOOPTRANS_PYTHON")
        .expect("this test talks to rclpy: run `make setup`, then `source scripts/env.sh`")
        .into()
}

/// A file among the tests.
pub fn test_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}
