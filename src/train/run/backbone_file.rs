//! The weights file that training starts from: a backbone, alone or within a whole model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use tch::{Device, Tensor, nn::VarStore};

use super::tensor_file;
use crate::{
    export::{
        layout::{self, Sizes},
        weights::{DESCRIPTION, Description, Problems},
    },
    train::{TrainError, backbone::Backbone, weights},
};

/// What a backbone's names have before them in a whole model.
pub(in crate::train) const PREFIX: &str = "vit_model.";
/// Channels per attention head where a file does not say how many heads there are: of all DINO models.
const HEAD_CHANNELS: i64 = 64;
/// Hidden units of the adapter, times the width (published code).
const ADAPTER_FACTOR: usize = 4;

/// A backbone's values.
#[derive(Debug)]
pub(in crate::train) struct BackboneFile {
    path: PathBuf,
    /// Without [`PREFIX`].
    tensors: BTreeMap<String, Tensor>,
    /// Where the file says that its numbers come from.
    pub source: String,
    sizes: Sizes,
}

impl BackboneFile {
    /// Reads a DINO file, or the backbone of a whole model, as `looptrans convert` writes both.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let file = tensor_file::read(path)?;
        let whole = file.tensors.keys().any(|key| key.starts_with(PREFIX));
        let key_of = |key: String| {
            if whole { key.strip_prefix(PREFIX).map(str::to_owned) } else { (!layout::is_cluster(&key)).then_some(key) }
        };
        let tensors: BTreeMap<String, Tensor> =
            file.tensors.into_iter().filter_map(|(key, tensor)| Some((key_of(key)?, tensor))).collect();
        let description: Option<Description> =
            file.metadata.get(DESCRIPTION).and_then(|json| serde_json::from_str(json).ok());
        let heads = description.as_ref().and_then(|description| description.heads);
        let sizes = sizes(path, &tensors, heads)?;
        let source = description.map_or_else(|| "a file without description".to_owned(), |found| found.source);
        Ok(Self { path: path.to_owned(), tensors, source, sizes })
    }

    /// Of a model on this backbone with so many class maps.
    pub fn sizes(&self, channels: usize) -> Sizes {
        Sizes { channels, ..self.sizes }
    }

    /// For inputs of another side in pixels: the position table is resized (bicubic), all else stays. A side that is no
    /// multiple of the patch becomes the next smaller one.
    pub fn with_side(mut self, side: usize) -> Result<Self, TrainError> {
        let (old, grid) = (self.sizes.grid as i64, side / self.sizes.patch.max(1));
        let Some(table) = self.tensors.get("pos_embed").filter(|_| grid > 0) else {
            let (expected, found) = (format!("at least one patch of {}", self.sizes.patch), side.to_string());
            return Err(TrainError::Values { what: "side", expected, found });
        };
        let (dim, new) = (self.sizes.dim as i64, grid as i64);
        // [1, 1+N, D] -> [1, D, h, w]
        let places = table.narrow(1, 1, old * old).transpose(1, 2).reshape([1, dim, old, old]);
        let resized = places.upsample_bicubic2d([new, new], false, None, None).flatten(2, 3).transpose(1, 2);
        let table = Tensor::cat(&[table.narrow(1, 0, 1), resized], 1);
        self.tensors.insert("pos_embed".to_owned(), table);
        self.sizes.grid = grid;
        Ok(self)
    }

    /// Copies it into a model.
    pub fn load_into(&self, parameters: &VarStore) -> Result<(), TrainError> {
        weights::assign(parameters, &self.tensors, &self.path, PREFIX)
    }
}

/// A backbone alone, under the names that it has in a whole model, frozen.
pub(in crate::train) fn backbone_of(path: &Path, device: Device) -> Result<(VarStore, Backbone, Sizes), TrainError> {
    let file = BackboneFile::read(path)?;
    let mut parameters = VarStore::new(device);
    let backbone = Backbone::new(&(parameters.root() / PREFIX.trim_end_matches('.')), &file.sizes);
    file.load_into(&parameters)?;
    parameters.freeze();
    Ok((parameters, backbone, file.sizes))
}

/// Sizes of the backbone within a whole model.
pub(in crate::train) fn sizes_of_whole(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    heads: usize,
) -> Result<Sizes, TrainError> {
    let own =
        tensors.iter().filter_map(|(key, tensor)| Some((key.strip_prefix(PREFIX)?.to_owned(), tensor.shallow_clone())));
    sizes(path, &own.collect(), Some(heads))
}

fn sizes(path: &Path, tensors: &BTreeMap<String, Tensor>, heads: Option<usize>) -> Result<Sizes, TrainError> {
    let mut problems = Problems::default();
    let mut shape = |key: &str, rank: usize| match tensors.get(key).map(Tensor::size) {
        Some(shape) if shape.len() == rank && !shape.contains(&0) => shape,
        Some(shape) => {
            problems.mis_shaped.push(format!("{key} (expected {rank} sides, found {shape:?})"));
            vec![1; rank]
        }
        None => {
            problems.missing.push(key.to_owned());
            vec![1; rank]
        }
    };
    let dim = shape("cls_token", 3)[2];
    let tokens = shape("pos_embed", 3)[1];
    let patch = shape("patch_embed.proj.weight", 4)[3];
    let hidden = shape("blocks.0.mlp.fc1.weight", 2)[0];
    let block_of = |key: &'_ String| key.strip_prefix("blocks.")?.split('.').next().map(str::to_owned);
    // Counted, not the highest number: a key may name any.
    let depth = tensors.keys().filter_map(block_of).collect::<BTreeSet<_>>().len();
    refuse(path, &mut problems)?;
    // Before anything is allocated by these sizes: what there is most of.
    let mut wanted = vec![
        ("pos_embed".to_owned(), vec![1, tokens, dim]),
        ("patch_embed.proj.weight".to_owned(), vec![dim, 3, patch, patch]),
    ];
    for block in 0..depth {
        wanted.push((format!("blocks.{block}.attn.qkv.weight"), vec![3 * dim, dim]));
        wanted.push((format!("blocks.{block}.mlp.fc1.weight"), vec![hidden, dim]));
    }
    for (key, wanted) in wanted {
        let found = tensors.get(&key).map(Tensor::size);
        problems.compare_shape(key, &wanted, found.as_deref());
    }
    let grid = (tokens - 1).max(0).isqrt();
    if grid == 0 || grid * grid != tokens - 1 {
        problems.mis_shaped.push(format!("pos_embed (expected 1 + a square number of positions, found {tokens})"));
    }
    let heads = heads.map_or(dim / HEAD_CHANNELS, |heads| heads as i64);
    if heads < 1 || dim % heads != 0 {
        problems.mis_shaped.push(format!("blocks.N.attn ({heads} heads for {dim} channels)"));
    }
    refuse(path, &mut problems)?;
    let (dim, hidden) = (dim as usize, hidden as usize);
    Ok(Sizes {
        dim,
        depth,
        heads: heads as usize,
        patch: patch as usize,
        grid: grid as usize,
        block_hidden: hidden,
        adapter_hidden: ADAPTER_FACTOR * dim,
        channels: 0,
    })
}

fn refuse(path: &Path, problems: &mut Problems) -> Result<(), TrainError> {
    if *problems == Problems::default() {
        return Ok(());
    }
    Err(TrainError::Weights { path: path.to_owned(), problems: Box::new(std::mem::take(problems)) })
}
