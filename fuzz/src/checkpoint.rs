//! `checkpoint`: what `looptrans convert` is given.

use std::fs;

use looptrans_ros::convert::{self, Hints, Settings};
use safetensors::SafeTensors;

/// A checkpoint of any format. What is written can be read; where nothing is, nothing is left behind.
pub fn checkpoint(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, out) = (folder.path().join("in"), folder.path().join("out.safetensors"));
    fs::write(&checkpoint, bytes).unwrap();
    let hints = Hints { actions: None, heads: Some(2) };
    let settings = Settings { checkpoint, out: out.clone(), key: None, hints, force: false };
    match convert::convert(&settings) {
        Ok(report) => {
            let written = fs::read(&out).unwrap();
            assert_eq!(written.len() as u64, report.weights.bytes);
            assert_eq!(SafeTensors::deserialize(&written).unwrap().len(), report.tensors);
        }
        Err(error) => {
            super::assert_readable(&error);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "left something behind: {error}");
        }
    }
}
