//! The tensors of each known network, by published key and shape. Backbone, adapter and branches come from
//! [`crate::export::layout`], their home; this file adds DINO's names and the concept clusters of LoopTrans, [`super::wsma`] those of
//! WSMA.

use super::wsma;
use crate::export::layout::{self, Network, Sizes};

/// A published network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The backbone alone, keys without prefix.
    Dino,
    /// LoopTrans, with or without its concept clusters (`cluster.*`).
    LoopTrans,
    /// LOCATE.
    Locate,
    /// WSMA.
    Wsma,
    /// LoopTrans' concept clusters alone.
    Concepts,
    /// CLIP's text encoder, for WSMA.
    Clip,
}

impl Kind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dino => "DINO",
            Self::LoopTrans => "LoopTrans",
            Self::Locate => "LOCATE",
            Self::Wsma => "WSMA",
            Self::Concepts => "concepts",
            Self::Clip => "CLIP",
        }
    }

    /// What stands before the backbone's keys.
    pub fn backbone(self) -> &'static str {
        match self {
            Self::Dino | Self::Concepts | Self::Clip => "",
            Self::LoopTrans | Self::Locate | Self::Wsma => "vit_model.",
        }
    }

    /// Channels of the published classifier beyond the actions.
    pub fn noise_heads(self) -> usize {
        match self {
            Self::LoopTrans => 15,
            Self::Dino | Self::Locate | Self::Wsma | Self::Concepts | Self::Clip => 0,
        }
    }

    /// Every tensor of the network, the concept clusters ([`cluster_entries`]) and CLIP's text encoder
    /// ([`super::clip::text_entries`]) aside.
    pub fn entries(self, sizes: &Sizes) -> Vec<Expected> {
        let network = if self == Self::Locate { Network::Locate } else { Network::LoopTrans };
        let named = |entry: layout::Entry| {
            let key = match self {
                Self::Concepts | Self::Clip => return None,
                Self::Wsma if !entry.key.starts_with(self.backbone()) => return None,
                Self::LoopTrans | Self::Locate | Self::Wsma => entry.key,
                Self::Dino => entry.key.strip_prefix("vit_model.")?.to_owned(),
            };
            Some(Expected { key, shape: entry.shape.iter().map(|&side| side as u64).collect() })
        };
        let mut entries: Vec<Expected> =
            layout::network_entries(network, sizes).into_iter().filter_map(named).collect();
        if self == Self::Wsma {
            let (dim, patches) = (sizes.dim as u64, sizes.patches() as u64);
            entries.extend(wsma::entries(dim, patches, sizes.channels as u64));
        }
        entries
    }
}

/// A tensor that has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its key.
    pub key: String,
    /// Its shape.
    pub shape: Vec<u64>,
}

/// Sizes of the concept generator (ACSeg) inside LoopTrans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSizes {
    /// Embedding dimension D.
    pub dim: u64,
    /// Concepts K.
    pub parts: u64,
    /// Layers.
    pub layers: usize,
    /// Hidden units of a layer's feed-forward network.
    pub hidden: u64,
}

/// Every tensor of the concept generator.
pub fn cluster_entries(sizes: &ClusterSizes) -> Vec<Expected> {
    let ClusterSizes { dim, parts, layers, hidden } = *sizes;
    let mut entries = vec![Expected { key: "cluster.tokens.weight".to_owned(), shape: vec![parts, dim] }];
    let mut add = |key: String, shape: &[u64]| entries.push(Expected { key, shape: shape.to_vec() });
    for layer in 0..layers {
        for attention in ["cross_attn_layers", "self_attn_layers"] {
            let path = format!("cluster.{attention}.{layer}");
            add(format!("{path}.in_proj_weight"), &[3 * dim, dim]);
            add(format!("{path}.in_proj_bias"), &[3 * dim]);
            add(format!("{path}.out_proj.weight"), &[dim, dim]);
            add(format!("{path}.out_proj.bias"), &[dim]);
        }
        add(format!("cluster.norm_layers.{layer}.weight"), &[dim]);
        add(format!("cluster.norm_layers.{layer}.bias"), &[dim]);
        let path = format!("cluster.ffn_layers.{layer}.net");
        add(format!("{path}.0.weight"), &[hidden, dim]);
        add(format!("{path}.0.bias"), &[hidden]);
        add(format!("{path}.3.weight"), &[dim, hidden]);
        add(format!("{path}.3.bias"), &[dim]);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(channels: usize) -> Sizes {
        let (block_hidden, adapter_hidden) = (1536, 1536);
        Sizes { dim: 384, depth: 12, heads: 6, patch: 16, grid: 14, block_hidden, adapter_hidden, channels }
    }

    #[test]
    fn the_published_checkpoints_have_150_299_186_and_342_tensors() {
        let cluster = cluster_entries(&ClusterSizes { dim: 384, parts: 4, layers: 8, hidden: 1536 });
        assert_eq!(Kind::Dino.entries(&small(51)).len(), 150);
        assert_eq!(Kind::LoopTrans.entries(&small(51)).len() + cluster.len(), 299);
        assert_eq!(Kind::Locate.entries(&small(36)).len(), 186);
        assert_eq!(Kind::Wsma.entries(&small(36)).len(), 342);
    }

    #[test]
    fn the_published_checkpoints_have_47_1_and_28_2_million_parameters() {
        let count = |entries: &[Expected]| entries.iter().map(|e| e.shape.iter().product::<u64>()).sum::<u64>();
        let cluster = count(&cluster_entries(&ClusterSizes { dim: 384, parts: 4, layers: 8, hidden: 1536 }));
        let looptrans = count(&Kind::LoopTrans.entries(&small(51)));
        assert_eq!(cluster / 100_000, 189);
        assert_eq!((looptrans + cluster + 50_000) / 100_000, 471);
        assert_eq!((count(&Kind::Locate.entries(&small(36))) + 50_000) / 100_000, 282);
    }
}
