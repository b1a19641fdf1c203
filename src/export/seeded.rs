//! Weights by rule instead of by training: the same numbers everywhere, for tests, demos and timing. A model made of
//! them computes the whole function, but its heat means nothing.
//!
//! Numbers: the element `i` of tensor `name` is the i-th draw of SplitMix64 (Steele, Lea & Flood 2014) seeded with the
//! FNV-1a-64 hash of the name, mapped to [-1, 1).

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, tensor::TensorView};

use super::{
    ExportError,
    bundle::write_file,
    layout::{self, Entry, Sizes},
    weights::{DESCRIPTION, Description},
};

/// Noise heads of a published LoopTrans model.
const NOISE_HEADS: usize = 15;

/// The shape of a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// Its name on the command line.
    pub name: &'static str,
    /// Embedding dimension.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Patches along a side of the input.
    pub grid: usize,
}

impl Architecture {
    /// DINO's published sizes at 224x224, and a toy of 56x56 for tests: large enough to have every part, small enough
    /// to run in a millisecond.
    pub const ALL: [Self; 7] = [
        Self { name: "toy", dim: 48, depth: 2, heads: 3, patch: 8, grid: 7 },
        Self { name: "vit_tiny_16", dim: 192, depth: 12, heads: 3, patch: 16, grid: 14 },
        Self { name: "vit_tiny_8", dim: 192, depth: 12, heads: 3, patch: 8, grid: 28 },
        Self { name: "vit_small_16", dim: 384, depth: 12, heads: 6, patch: 16, grid: 14 },
        Self { name: "vit_small_8", dim: 384, depth: 12, heads: 6, patch: 8, grid: 28 },
        Self { name: "vit_base_16", dim: 768, depth: 12, heads: 12, patch: 16, grid: 14 },
        Self { name: "vit_base_8", dim: 768, depth: 12, heads: 12, patch: 8, grid: 28 },
    ];

    /// The architecture of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name == name)
    }

    /// All sizes of a LoopTrans model on this backbone.
    pub fn sizes(&self, actions: usize) -> Sizes {
        let Self { dim, depth, heads, patch, grid, .. } = *self;
        let hidden = 4 * dim;
        let channels = actions + NOISE_HEADS;
        Sizes { dim, depth, heads, patch, grid, block_hidden: hidden, adapter_hidden: hidden, channels }
    }
}

/// Writes a seeded weights file where no file lies yet. Gives its description.
///
/// # Errors
/// Something lies there (it might be trained weights), or the file cannot be written.
pub fn write(path: &Path, architecture: Architecture, actions: &[&str]) -> Result<Description, ExportError> {
    if path.symlink_metadata().is_ok() {
        let found = "a file or folder".to_owned();
        return Err(ExportError::Exists { path: path.to_owned(), found, remedy: "choose another place or remove it" });
    }
    let description = Description {
        actions: actions.iter().map(|&action| action.to_owned()).collect(),
        trained: false,
        source: format!("seeded numbers ({}), not trained: the heat means nothing", architecture.name),
        heads: Some(architecture.heads),
        checkpoint: None,
    };
    let bytes = file(&architecture.sizes(actions.len()), &description)
        .map_err(|source| ExportError::NotSafetensors { path: path.to_owned(), source })?;
    write_file(path, &bytes)?;
    Ok(description)
}

fn file(sizes: &Sizes, description: &Description) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let entries = layout::entries(sizes);
    let data: Vec<(Dtype, Vec<u8>)> = entries.iter().map(data_of).collect();
    let mut views = Vec::with_capacity(entries.len());
    for (entry, (dtype, bytes)) in entries.iter().zip(&data) {
        views.push((entry.key.as_str(), TensorView::new(*dtype, entry.shape.clone(), bytes)?));
    }
    let json = serde_json::to_string(description)?;
    safetensors::serialize(views, Some(HashMap::from([(DESCRIPTION.to_owned(), json)])))
}

fn data_of(entry: &Entry) -> (Dtype, Vec<u8>) {
    if layout::is_counter(&entry.key) {
        return (Dtype::I64, vec![0; 8]);
    }
    (Dtype::F32, tensor(entry).iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The values of a parameter, row-major, scaled so that activations keep their size through the layers.
pub fn tensor(entry: &Entry) -> Vec<f32> {
    let Entry { key, shape, .. } = entry;
    let count = shape.iter().product();
    let scaled = |offset: f32, factor: f32| uniform(key, count).map(|value| offset + factor * value).collect();
    if key.ends_with(".running_mean") {
        vec![0.0; count]
    } else if key.ends_with(".running_var") {
        vec![1.0; count]
    } else if key.ends_with("pos_embed") || key.ends_with("cls_token") || key.ends_with("bias") {
        scaled(0.0, 0.02)
    } else if let [outputs, _, ..] = shape[..] {
        // Uniform with variance 1 / fan-in.
        scaled(0.0, (3.0 * outputs as f64 / count as f64).sqrt() as f32)
    } else {
        scaled(1.0, 0.1)
    }
}

/// `count` values in [-1, 1) that belong to `name`.
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f32> + use<> {
    let mut state = fnv_1a(name.as_bytes());
    (0..count).map(move |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let unit = (split_mix(state) >> 11) as f64 / (1_u64 << 53) as f64;
        (unit * 2.0 - 1.0) as f32
    })
}

/// FNV-1a, 64 bit.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// SplitMix64's output function.
fn split_mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_values_published_with_the_rule() {
        assert_eq!(fnv_1a(b"abc"), 0xe71f_a219_0541_574b);
        let found: Vec<f32> = uniform("abc", 4).collect();
        let expected = [-0.672_754_76, -0.426_031_86, -0.981_927_4, 0.259_565_11];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }

    #[test]
    fn the_same_weights_are_the_same_file() {
        let architecture = Architecture::named("toy").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        write(&a, architecture, &["cut", "hold"]).unwrap();
        write(&b, architecture, &["cut", "hold"]).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }
}
