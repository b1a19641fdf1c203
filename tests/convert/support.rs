//! Networks of 4 channels and one block, and what a converted file of them must hold.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use looptrans_ros::{
    convert::{self, ActionList, ConvertError, Hints, Report, Settings},
    export::{
        layout::{self, Sizes},
        seeded::uniform,
        weights::{DESCRIPTION, Description},
    },
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tempfile::TempDir;

pub const COUNTER: i64 = 7;

/// The sizes make_checkpoints.py has.
pub fn sizes(channels: usize) -> Sizes {
    Sizes { dim: 4, depth: 1, heads: 2, patch: 4, grid: 2, block_hidden: 8, adapter_hidden: 8, channels }
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

/// A folder of its own for what a conversion writes.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out.safetensors")
    }

    /// Puts a file beside the output.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn settings(&self, checkpoint: &Path) -> Settings {
        let hints = Hints { actions: None, heads: Some(2) };
        Settings { checkpoint: checkpoint.to_owned(), out: self.out(), key: None, hints, force: false }
    }

    pub fn convert(&self, checkpoint: &Path) -> Result<Report, ConvertError> {
        convert::convert(&self.settings(checkpoint))
    }

    /// The error's text, after making sure that the conversion left the folder as it was.
    pub fn refusal(&self, settings: &Settings) -> String {
        let before = self.names();
        let error = convert::convert(settings).expect_err("refused").to_string();
        assert_eq!(self.names(), before, "left something behind: {error}");
        assert!(!error.contains('\n') && error.len() < 4000, "not one short line: {error}");
        error
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A weights file, read back by safetensors itself.
pub struct Converted {
    pub description: Description,
    pub floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub counters: BTreeMap<String, i64>,
}

pub fn read(path: &Path) -> Converted {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let description = serde_json::from_str(&metadata.metadata().as_ref().unwrap()[DESCRIPTION]).unwrap();
    let (mut floats, mut counters) = (BTreeMap::new(), BTreeMap::new());
    for (key, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        if view.dtype() == Dtype::I64 {
            counters.insert(key, i64::from_le_bytes(view.data().try_into().unwrap()));
        } else {
            assert_eq!(view.dtype(), Dtype::F32, "{key}");
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            floats.insert(key, (view.shape().to_vec(), values.collect()));
        }
    }
    Converted { description, floats, counters }
}

pub fn seeded(key: &str, shape: &[usize]) -> Vec<f32> {
    uniform(key, shape.iter().product()).collect()
}

/// Every float must be `change` of the seeded number.
pub fn assert_seeded(converted: &Converted, change: impl Fn(f32) -> f32) {
    for (key, (shape, values)) in &converted.floats {
        let expected: Vec<f32> = seeded(key, shape).into_iter().map(&change).collect();
        assert_eq!(values, &expected, "{key}");
    }
}

/// Tensors of a checkpoint to be: key to shape and numbers.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub fn dino() -> Tensors {
    let keys = tensors(25).into_iter();
    keys.filter_map(|(key, tensor)| Some((key.strip_prefix("vit_model.")?.to_owned(), tensor))).collect()
}

/// A LoopTrans network with so many classifier channels.
pub fn tensors(channels: usize) -> Tensors {
    let entries = layout::entries(&sizes(channels)).into_iter().filter(|entry| !layout::is_counter(&entry.key));
    entries.map(|entry| (entry.key.clone(), (entry.shape.clone(), seeded(&entry.key, &entry.shape)))).collect()
}

pub fn locate(channels: usize) -> Tensors {
    let rename = |key: String| key.replace("pixel_dec.", "aff_ego_proj.").replace("scam.", "aff_exo_proj.");
    tensors(channels).into_iter().map(|(key, tensor)| (rename(key), tensor)).collect()
}

/// A checkpoint in safetensors format.
pub fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((key, (shape, _)), bytes)| (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

pub fn actions(given: &str) -> ActionList {
    ActionList::read(given).unwrap()
}
