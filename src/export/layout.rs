//! Which tensors a weights file holds, by key and shape. Keys are those of the published checkpoints.

use crate::contract::{PresenceSource, Size};

/// The sizes every shape follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Embedding dimension D.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Patches along each side of the square input it was trained at: the position table has their squared number.
    pub grid: usize,
    /// Hidden units of a block's MLP.
    pub block_hidden: usize,
    /// Hidden units of `aff_proj`.
    pub adapter_hidden: usize,
    /// Channels of `aff_fc`: C actions, then M noise heads.
    pub channels: usize,
}

impl Sizes {
    /// Patches of an image of the trained size.
    pub fn patches(&self) -> usize {
        self.grid * self.grid
    }

    /// The trained size of an image in pixels.
    pub fn input(&self) -> Size {
        // Sides come from tensors that were read, so they fit; one that did not is too long for any graph.
        let side = u32::try_from(self.grid * self.patch).unwrap_or(u32::MAX);
        Size { height: side, width: side }
    }
}

/// What a tensor is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The class maps.
    Maps,
    /// Presence from the shared branch only.
    Scam,
    /// What the last block computes beyond its keys: no map depends on it, only an untrimmed graph computes it.
    LastBlock,
    /// Known and part of a whole checkpoint, but computed in no graph: the final norm, and the batch counters.
    Unused,
}

impl Use {
    /// Is it needed for a model with this source of presence?
    pub fn needed(self, presence: PresenceSource) -> bool {
        match self {
            Self::Maps => true,
            Self::Scam => presence == PresenceSource::Scam,
            Self::LastBlock | Self::Unused => false,
        }
    }
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub used: Use,
}

/// The batch counter PyTorch keeps beside a batch normalisation's statistics: an int64 scalar, never used here.
pub fn is_counter(key: &str) -> bool {
    key.ends_with(".num_batches_tracked")
}

/// Keys that belong to a LoopTrans checkpoint but to no exported model: the concept clusters.
pub fn is_cluster(key: &str) -> bool {
    key.starts_with("cluster.")
}

/// A published network with class maps. They differ in the names of the branches, and LOCATE has no noise heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// LoopTrans.
    #[default]
    LoopTrans,
    /// LOCATE (CVPR 2023).
    Locate,
}

impl Network {
    /// Both.
    pub const ALL: [Self; 2] = [Self::LoopTrans, Self::Locate];

    /// Where Theta_pixel's parameters lie: the branch of the robot's own view.
    pub fn pixel_branch(self) -> &'static str {
        match self {
            Self::LoopTrans => "pixel_dec",
            Self::Locate => "aff_ego_proj",
        }
    }

    /// Where Theta_scam's parameters lie: the shared branch, LOCATE's exocentric one.
    pub fn scam_branch(self) -> &'static str {
        match self {
            Self::LoopTrans => "scam",
            Self::Locate => "aff_exo_proj",
        }
    }
}

/// Every tensor of a LoopTrans model of these sizes, the concept clusters aside.
pub fn entries(sizes: &Sizes) -> Vec<Entry> {
    network_entries(Network::LoopTrans, sizes)
}

/// Every tensor of a model of these sizes, the concept clusters aside.
pub fn network_entries(network: Network, sizes: &Sizes) -> Vec<Entry> {
    let mut list = List { entries: Vec::new() };
    list.backbone(sizes);
    let Sizes { dim, adapter_hidden, channels, .. } = *sizes;
    list.affine("aff_proj.norm", dim, Use::Maps);
    list.linear("aff_proj.fc1", [adapter_hidden, dim], Use::Maps);
    list.linear("aff_proj.fc2", [dim, adapter_hidden], Use::Maps);
    list.branch(network.pixel_branch(), dim, Use::Maps);
    list.branch(network.scam_branch(), dim, Use::Scam);
    list.add("aff_fc.weight", &[channels, dim, 1, 1], Use::Maps);
    list.add("aff_fc.bias", &[channels], Use::Maps);
    list.entries
}

struct List {
    entries: Vec<Entry>,
}

impl List {
    fn add(&mut self, key: &str, shape: &[usize], used: Use) {
        self.entries.push(Entry { key: key.to_owned(), shape: shape.to_vec(), used });
    }

    fn affine(&mut self, path: &str, dim: usize, used: Use) {
        self.add(&format!("{path}.weight"), &[dim], used);
        self.add(&format!("{path}.bias"), &[dim], used);
    }

    /// `shape`: [out, in].
    fn linear(&mut self, path: &str, shape: [usize; 2], used: Use) {
        self.add(&format!("{path}.weight"), &shape, used);
        self.add(&format!("{path}.bias"), &shape[..1], used);
    }

    fn backbone(&mut self, sizes: &Sizes) {
        let Sizes { dim, depth, patch, block_hidden, .. } = *sizes;
        self.add("vit_model.cls_token", &[1, 1, dim], Use::Maps);
        self.add("vit_model.pos_embed", &[1, 1 + sizes.patches(), dim], Use::Maps);
        self.add("vit_model.patch_embed.proj.weight", &[dim, 3, patch, patch], Use::Maps);
        self.add("vit_model.patch_embed.proj.bias", &[dim], Use::Maps);
        for index in 0..depth {
            let path = format!("vit_model.blocks.{index}");
            // The last block gives its keys only.
            let rest = if index + 1 < depth { Use::Maps } else { Use::LastBlock };
            self.affine(&format!("{path}.norm1"), dim, Use::Maps);
            self.linear(&format!("{path}.attn.qkv"), [3 * dim, dim], Use::Maps);
            self.linear(&format!("{path}.attn.proj"), [dim, dim], rest);
            self.affine(&format!("{path}.norm2"), dim, rest);
            self.linear(&format!("{path}.mlp.fc1"), [block_hidden, dim], rest);
            self.linear(&format!("{path}.mlp.fc2"), [dim, block_hidden], rest);
        }
        self.affine("vit_model.norm", dim, Use::Unused);
    }

    /// [Conv 3x3 + BatchNorm + ReLU] x 2.
    fn branch(&mut self, path: &str, dim: usize, used: Use) {
        for (conv, norm) in [(0, 1), (3, 4)] {
            self.add(&format!("{path}.{conv}.weight"), &[dim, dim, 3, 3], used);
            self.add(&format!("{path}.{conv}.bias"), &[dim], used);
            self.affine(&format!("{path}.{norm}"), dim, used);
            self.add(&format!("{path}.{norm}.running_mean"), &[dim], used);
            self.add(&format!("{path}.{norm}.running_var"), &[dim], used);
            self.add(&format!("{path}.{norm}.num_batches_tracked"), &[], Use::Unused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiny, small, base with patches of 16, then of 8: (dim, patch, grid) and millions of parameters as published (the
    /// tiny one as DeiT's, without its classifier).
    #[test]
    fn every_vit_has_the_published_number_of_tensors_and_parameters() {
        for (dim, patch, grid, parameters) in [
            (192, 16, 14, 5_524_416),
            (384, 16, 14, 21_665_664),
            (768, 16, 14, 85_798_656),
            (384, 8, 28, 21_670_272),
            (768, 8, 28, 85_807_872),
        ] {
            let hidden = 4 * dim;
            let sizes = Sizes {
                dim,
                depth: 12,
                heads: dim / 64,
                patch,
                grid,
                block_hidden: hidden,
                adapter_hidden: hidden,
                channels: 51,
            };
            let entries = entries(&sizes);
            let backbone: Vec<_> = entries.iter().filter(|e| e.key.starts_with("vit_model.")).collect();
            assert_eq!(backbone.len(), 150);
            assert_eq!(backbone.iter().map(|e| e.shape.iter().product::<usize>()).sum::<usize>(), parameters, "{dim}");
        }
    }
}
