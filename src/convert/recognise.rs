//! Which network a state dict belongs to, and whether all of it is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    ConvertError, Names, Problems,
    actions::{self, ActionList},
    checkpoint::{Checkpoint, shorten},
    clip::{self, TextSizes},
    expected::{ClusterSizes, Expected, Kind, cluster_entries},
    tensor::StoredTensor,
};
use crate::export::layout::{Sizes, is_cluster, is_counter};

/// Channels per attention head of every published DINO model.
const HEAD_CHANNELS: u64 = 64;
/// What stands before the keys of concept clusters.
const CLUSTER: &str = "cluster.";
/// Keeps the arithmetic on sizes that come from a file far from overflow.
const MAX_SIDE: u64 = 1 << 16;
/// Of what has no such part.
const NO_SIZES: Sizes =
    Sizes { dim: 0, depth: 0, heads: 0, patch: 0, grid: 0, block_hidden: 0, adapter_hidden: 0, channels: 0 };

/// What the user may say about a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// The actions, where their number does not tell them.
    pub actions: Option<ActionList>,
    /// Attention heads of a block, where a head has not 64 channels.
    pub heads: Option<usize>,
}

/// A whole known network.
#[derive(Debug)]
pub struct Recognised<'a> {
    /// Which.
    pub kind: Kind,
    /// Its sizes; for DINO alone, `adapter_hidden` and `channels` are 0, for concept clusters all but `dim`, for CLIP's text
    /// encoder all but `dim`, `depth` and `heads`.
    pub sizes: Sizes,
    /// The dataset split whose actions these are, if they are a public one's.
    pub split: Option<&'static str>,
    /// The actions in class order; none for DINO, concept clusters and CLIP.
    pub actions: Vec<String>,
    /// Its tensors by their published key.
    pub tensors: BTreeMap<String, &'a StoredTensor>,
    /// Keys of the file that belong to no part of the network and are left out.
    pub ignored: Vec<String>,
}

/// Recognises a state dict.
///
/// # Errors
/// Another network, missing, unexpected or mis-shaped tensors, or actions that do not fit the classifier.
pub fn recognise<'a>(path: &Path, checkpoint: &'a Checkpoint, hints: &Hints) -> Result<Recognised<'a>, ConvertError> {
    let (mut named, mut ignored) = without_wrappers(&checkpoint.tensors);
    let kind = kind_of(&named).ok_or_else(|| ConvertError::Unrecognised {
        path: path.to_owned(),
        found: Names(named.keys().cloned().collect()),
    })?;
    if kind == Kind::Concepts {
        named = with_prefix(named);
    }
    if kind == Kind::Clip {
        let beside: Vec<String> = named.keys().filter(|key| clip::is_beside_text(key)).cloned().collect();
        named.retain(|key, _| !clip::is_beside_text(key));
        ignored.extend(beside);
    }
    let mut finder = Finder { kind, named: &named, problems: Problems::default() };
    let sizes = finder.sizes(hints.heads);
    if !finder.problems.is_empty() {
        return Err(ConvertError::Weights {
            path: path.to_owned(),
            kind: kind.name(),
            problems: Box::new(finder.problems),
        });
    }
    let mut entries = kind.entries(&sizes);
    if kind == Kind::Concepts || kind == Kind::LoopTrans && named.keys().any(|key| is_cluster(key)) {
        entries.extend(finder.cluster(&sizes));
    }
    if kind == Kind::Clip {
        entries.extend(finder.text().iter().flat_map(clip::text_entries));
    }
    finder.compare(&entries);
    if !finder.problems.is_empty() {
        return Err(ConvertError::Weights {
            path: path.to_owned(),
            kind: kind.name(),
            problems: Box::new(finder.problems),
        });
    }
    check_sharing(path, &named, checkpoint.length)?;
    let classes = match kind {
        Kind::Dino | Kind::Concepts | Kind::Clip => actions::Classes { split: None, actions: Vec::new() },
        _ => actions::classes(path, kind, sizes.channels, hints.actions.as_ref())?,
    };
    Ok(Recognised { kind, sizes, split: classes.split, actions: classes.actions, tensors: named, ignored })
}

/// Strips what training wrappers put before every key, and DINO's `backbone.`; what lies beside that (its projection
/// head) is left out.
fn without_wrappers(tensors: &BTreeMap<String, StoredTensor>) -> (BTreeMap<String, &StoredTensor>, Vec<String>) {
    let mut named: Vec<(&str, &StoredTensor)> = tensors.iter().map(|(key, tensor)| (key.as_str(), tensor)).collect();
    // DistributedDataParallel and torch.compile, in either order.
    while let Some(wrapper) = ["module.", "_orig_mod."]
        .into_iter()
        .find(|wrapper| !named.is_empty() && named.iter().all(|(key, _)| key.starts_with(wrapper)))
    {
        for (key, _) in &mut named {
            *key = key.get(wrapper.len()..).unwrap_or_default();
        }
    }
    let mut ignored = Vec::new();
    if named.iter().any(|(key, _)| key.starts_with("backbone.")) {
        let (backbone, beside): (Vec<_>, Vec<_>) = named.into_iter().partition(|(key, _)| key.starts_with("backbone."));
        ignored = beside.into_iter().map(|(key, _)| key.to_owned()).collect();
        named = backbone;
    }
    let bare = |key: &str| key.strip_prefix("backbone.").unwrap_or(key).to_owned();
    (named.into_iter().map(|(key, tensor)| (bare(key), tensor)).collect(), ignored)
}

/// The published cluster files hold the clusters' keys without the prefix that they have within LoopTrans.
fn with_prefix(named: BTreeMap<String, &StoredTensor>) -> BTreeMap<String, &StoredTensor> {
    if named.keys().any(|key| key.starts_with(CLUSTER)) {
        return named;
    }
    named.into_iter().map(|(key, tensor)| (format!("{CLUSTER}{key}"), tensor)).collect()
}

fn kind_of(named: &BTreeMap<String, &StoredTensor>) -> Option<Kind> {
    let has = |prefix: &str| named.keys().any(|key| key.starts_with(prefix));
    if has("Hamburger.") || has("attnpool.") {
        Some(Kind::Wsma)
    } else if has("aff_ego_proj.") || has("aff_exo_proj.") {
        Some(Kind::Locate)
    } else if has("pixel_dec.") || has("scam.") {
        Some(Kind::LoopTrans)
    } else if has("cls_token") && has("patch_embed.") {
        Some(Kind::Dino)
    } else if has("transformer.resblocks.") && has("token_embedding.") {
        Some(Kind::Clip)
    } else if ["", CLUSTER].iter().any(|prefix| has(&format!("{prefix}cross_attn_layers."))) {
        Some(Kind::Concepts)
    } else {
        None
    }
}

/// A tensor may share its numbers with another, but a small file must not become a large one by sharing all of them.
fn check_sharing(path: &Path, named: &BTreeMap<String, &StoredTensor>, length: u64) -> Result<(), ConvertError> {
    let bytes = named.values().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.stored_bytes()));
    if bytes <= length {
        return Ok(());
    }
    Err(ConvertError::Damaged {
        path: path.to_owned(),
        what: "tensors".to_owned(),
        expected: format!("at most the {length} bytes of the file"),
        found: format!("{bytes} bytes in overlapping tensors"),
    })
}

struct Finder<'a> {
    kind: Kind,
    named: &'a BTreeMap<String, &'a StoredTensor>,
    problems: Problems,
}

impl Finder<'_> {
    /// One side of a tensor that the others' shapes follow from; 1, and a problem, if it cannot be had.
    fn side(&mut self, key: &str, axis: usize, rank: usize) -> usize {
        let Some(tensor) = self.named.get(key) else {
            self.problems.missing.0.push(key.to_owned());
            return 1;
        };
        match tensor.shape() {
            shape if shape.len() == rank && shape.iter().all(|side| (1..=MAX_SIDE).contains(side)) => {
                shape[axis] as usize
            }
            shape => {
                self.problems
                    .misfits
                    .0
                    .push(format!("{key}: expected {rank} sides of 1 to {MAX_SIDE}, found {shape:?}"));
                1
            }
        }
    }

    fn sizes(&mut self, heads: Option<usize>) -> Sizes {
        if self.kind == Kind::Concepts {
            // Of the backbone the clusters know the width only.
            let dim = self.side("cluster.tokens.weight", 1, 2);
            return Sizes { dim, ..NO_SIZES };
        }
        if self.kind == Kind::Clip {
            let Some(text) = self.text() else { return NO_SIZES };
            let heads = (text.width / clip::HEAD_CHANNELS) as usize;
            return Sizes { dim: text.width as usize, depth: text.layers, heads, ..NO_SIZES };
        }
        let prefix = self.kind.backbone();
        let dim = self.side(&format!("{prefix}cls_token"), 2, 3);
        let patch = self.side(&format!("{prefix}patch_embed.proj.weight"), 3, 4);
        let positions_key = format!("{prefix}pos_embed");
        let positions = self.side(&positions_key, 1, 3);
        let block_hidden = self.side(&format!("{prefix}blocks.0.mlp.fc1.weight"), 0, 2);
        let depth = distinct_indices(self.named, &format!("{prefix}blocks."));

        let grid = positions.saturating_sub(1).isqrt();
        if self.problems.is_empty() && (grid == 0 || grid * grid + 1 != positions) {
            let expected = "expected 1 + a square number of positions (a square image)";
            self.problems.misfits.0.push(format!("{positions_key}: {expected}, found {positions}"));
        }
        let heads = heads.unwrap_or(dim / HEAD_CHANNELS as usize);
        if self.problems.is_empty() && (heads == 0 || !dim.is_multiple_of(heads)) {
            let expected = format!("a multiple of {HEAD_CHANNELS} channels, or --heads that divide them");
            self.problems
                .misfits
                .0
                .push(format!("{prefix}cls_token: expected {expected}, found {dim} for {heads} heads"));
        }
        let (mut adapter_hidden, mut channels) = (0, 0);
        if self.kind != Kind::Dino {
            adapter_hidden = self.side("aff_proj.fc1.weight", 0, 2);
            channels = match self.kind {
                Kind::Wsma => self.side("fc.weight", 0, 2),
                _ => self.side("aff_fc.weight", 0, 4),
            };
        }
        Sizes { dim, depth, heads, patch, grid, block_hidden, adapter_hidden, channels }
    }

    /// Of CLIP's text encoder; None, and problems, if they can't be had.
    fn text(&mut self) -> Option<TextSizes> {
        let shape = |key: &str| self.named.get(key).map(|tensor| tensor.shape().to_vec());
        match TextSizes::of(shape, distinct_indices(self.named, "transformer.resblocks.")) {
            Ok(sizes) => Some(sizes),
            Err(problems) => {
                self.problems.misfits.0.extend(problems);
                None
            }
        }
    }

    fn cluster(&mut self, sizes: &Sizes) -> Vec<Expected> {
        let parts = self.side("cluster.tokens.weight", 0, 2) as u64;
        let hidden = self.side("cluster.ffn_layers.0.net.0.weight", 0, 2) as u64;
        let layers = distinct_indices(self.named, "cluster.norm_layers.");
        cluster_entries(&ClusterSizes { dim: sizes.dim as u64, parts, layers, hidden })
    }

    fn compare(&mut self, entries: &[Expected]) {
        let mut known = BTreeSet::new();
        for Expected { key, shape } in entries {
            known.insert(key.as_str());
            match self.named.get(key) {
                // Checkpoints from before PyTorch 0.4.1 have no batch counters; nothing depends on them.
                None if is_counter(key) => {}
                None => self.problems.missing.0.push(key.clone()),
                Some(tensor) if tensor.shape() != shape || !tensor.is_numeric() => {
                    let (found, element) = (tensor.shape(), tensor.element());
                    self.problems.misfits.0.push(format!("{key}: expected {shape:?}, found {found:?} of {element}"));
                }
                Some(_) => {}
            }
        }
        let unexpected = self.named.keys().filter(|key| !known.contains(key.as_str()));
        self.problems.unexpected.0.extend(unexpected.map(|key| shorten(key)));
        // A leading tensor that was missing is expected as well: say so once.
        self.problems.missing.0.sort();
        self.problems.missing.0.dedup();
    }
}

/// How many different numbers follow a prefix: a gap then shows as missing keys, and one large number costs nothing.
fn distinct_indices(named: &BTreeMap<String, &StoredTensor>, prefix: &str) -> usize {
    let indices = named.keys().filter_map(|key| key.strip_prefix(prefix)?.split('.').next());
    indices.collect::<BTreeSet<_>>().len()
}
