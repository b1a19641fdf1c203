//! A weights file (safetensors), checked whole: every tensor's key, shape, type and values, before anything is built.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    ExportError,
    layout::{self, Network, Sizes, Use},
};
use crate::contract::{PresenceSource, sha256_hex};

/// The safetensors metadata key under which a [`Description`] lies, as JSON. One key, so that equal weights are equal
/// files: the format does not fix the order of several.
pub const DESCRIPTION: &str = "looptrans";
/// Channels per attention head in every published DINO model; a file with others says so in its description.
const HEAD_CHANNELS: usize = 64;

/// Blocks of a backbone: several times those of any published one, and few enough to list every tensor of.
const MAX_DEPTH: usize = 256;

/// What a weights file says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The actions in class order; further channels of `aff_fc` are noise heads.
    pub actions: Vec<String>,
    /// False for seeded numbers, and where no loss trained P on an action.
    pub trained: bool,
    /// Trained on what, or where the numbers come from.
    pub source: String,
    /// Attention heads of a block; absent where a head has 64 channels, as in all DINO models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// The checkpoint they were converted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointOrigin>,
}

/// Which file weights were converted from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointOrigin {
    /// Its name, without folders.
    pub file: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// The network: dino, looptrans, locate, wsma or concepts.
    pub kind: String,
    /// The key its state dict was nested under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested_under: Option<String>,
    /// The vocabulary its actions are, if a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// Named weights that fit together.
#[derive(Debug)]
pub struct Weights {
    /// Their sizes.
    pub sizes: Sizes,
    /// Whose they are, by the names of the branches.
    pub network: Network,
    /// What the file says about itself.
    pub description: Description,
    /// SHA-256 of the file.
    pub sha256: String,
    path: PathBuf,
    tensors: HashMap<String, ArrayD<f32>>,
}

/// What does not fit in a weights file, each entry a key with its detail.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Needed, not there.
    pub missing: Vec<String>,
    /// There, but part of no such checkpoint.
    pub unexpected: Vec<String>,
    /// Another shape or element type than the other tensors ask for.
    pub mis_shaped: Vec<String>,
    /// NaN or infinity in it, or a negative variance.
    pub not_finite: Vec<String>,
}

impl Problems {
    /// Notes a tensor that is missing, or of another shape than `expected`.
    pub(crate) fn compare_shape<T: PartialEq + fmt::Debug>(
        &mut self,
        key: String,
        expected: &[T],
        found: Option<&[T]>,
    ) {
        match found {
            None => self.missing.push(key),
            Some(found) if found != expected => {
                self.mis_shaped.push(format!("{key} (expected {expected:?}, found {found:?})"));
            }
            Some(_) => {}
        }
    }

    fn none(&self) -> bool {
        [&self.missing, &self.unexpected, &self.mis_shaped, &self.not_finite].iter().all(|list| list.is_empty())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        let lists = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.mis_shaped),
            ("not finite", &self.not_finite),
        ];
        let mut parts = Vec::new();
        for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            let mut part = format!("{} {name}: {}", list.len(), list[..list.len().min(SHOWN)].join(", "));
            if list.len() > SHOWN {
                part += &format!(" and {} more", list.len() - SHOWN);
            }
            parts.push(part);
        }
        f.write_str(&parts.join("; "))
    }
}

impl Weights {
    /// Reads a weights file and checks all that a model with this source of presence needs.
    ///
    /// # Errors
    /// Not readable, not safetensors, no [`Description`], or tensors that do not fit: one error that lists them all.
    pub fn read(path: &Path, presence: PresenceSource) -> Result<Self, ExportError> {
        let bytes = read(path)?;
        let file = Reader::new(path, &bytes)?;
        let description = file.description()?;
        if file.is_wsma() {
            return Err(file.refuse(
                "network",
                "LoopTrans or LOCATE",
                "WSMA, which `looptrans eval` scores and nothing exports",
            ));
        }
        let sizes = file.sizes(&description)?;
        let network = file.network();
        let tensors = file.tensors((network, &sizes), presence)?;
        Ok(Self { sizes, network, description, sha256: sha256_hex(&bytes), path: path.to_owned(), tensors })
    }

    /// The tensor with this key.
    ///
    /// # Errors
    /// [`Self::read`] was asked for a model that does not need it, and the file does not hold it.
    pub fn get(&self, key: &str) -> Result<&ArrayD<f32>, ExportError> {
        self.tensors.get(key).ok_or_else(|| {
            let problems = Problems { missing: vec![key.to_owned()], ..Problems::default() };
            ExportError::Weights { path: self.path.clone(), problems }
        })
    }

    /// The error for a tensor of another rank than its use asks for.
    pub(super) fn mis_shaped(&self, key: &str) -> ExportError {
        let problems = Problems { mis_shaped: vec![key.to_owned()], ..Problems::default() };
        ExportError::Weights { path: self.path.clone(), problems }
    }
}

/// What a weights file of LoopTrans, LOCATE or WSMA says about itself, and the sizes that its leading tensors imply; whether
/// the others fit these is left to whoever loads them.
///
/// # Errors
/// Not readable, not safetensors, no [`Description`], or leading tensors that are missing or mis-shaped.
pub fn describe(path: &Path) -> Result<(Description, Sizes), ExportError> {
    let bytes = read(path)?;
    let file = Reader::new(path, &bytes)?;
    let description = file.description()?;
    let sizes = file.sizes(&description)?;
    file.check_largest(&sizes)?;
    Ok((description, sizes))
}

/// Are these the weights of WSMA, which no graph is built for?
///
/// # Errors
/// Not readable, or not safetensors.
pub fn is_wsma(path: &Path) -> Result<bool, ExportError> {
    let bytes = read(path)?;
    Ok(Reader::new(path, &bytes)?.is_wsma())
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|source| ExportError::Io { action: "read", path: path.to_owned(), source })
}

struct Reader<'a> {
    path: &'a Path,
    metadata: Option<HashMap<String, String>>,
    views: HashMap<String, TensorView<'a>>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, ExportError> {
        let not_safetensors = |source| ExportError::NotSafetensors { path: path.to_owned(), source };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        Ok(Self { path, metadata: metadata.metadata().clone(), views: file.tensors().into_iter().collect() })
    }

    fn description(&self) -> Result<Description, ExportError> {
        const EXPECTED: &str = r#"JSON like {"actions": ["cut", "hold"], "trained": true, "source": "AGD20K Seen"}"#;
        let what = format!("safetensors metadata {DESCRIPTION:?}");
        let text = self.metadata.as_ref().and_then(|metadata| metadata.get(DESCRIPTION));
        let text = text.ok_or_else(|| self.refuse(&what, EXPECTED, "none"))?;
        let description: Description =
            serde_json::from_str(text).map_err(|error| self.refuse(&what, EXPECTED, error.to_string()))?;
        if description.actions.is_empty() {
            return Err(self.refuse("actions", "at least one", "none"));
        }
        Ok(description)
    }

    /// LOCATE's if there is any tensor of its own, so that what else is missing is named by its names.
    fn network(&self) -> Network {
        let branches = [Network::Locate.pixel_branch(), Network::Locate.scam_branch()];
        let own = |key: &String| branches.iter().any(|branch| key.split('.').next() == Some(branch));
        if self.views.keys().any(own) { Network::Locate } else { Network::LoopTrans }
    }

    /// WSMA's classifier is linear, and has another name.
    fn is_wsma(&self) -> bool {
        self.views.contains_key("fc.weight") && !self.views.contains_key("aff_fc.weight")
    }

    /// Sizes from the shapes of the tensors that lead the others.
    fn sizes(&self, description: &Description) -> Result<Sizes, ExportError> {
        let mut problems = Problems::default();
        let mut lead = |key: &str, side: usize, rank: usize| match self.views.get(key).map(TensorView::shape) {
            Some(shape) if shape.len() == rank && !shape.contains(&0) => shape[side],
            Some(shape) => {
                problems.mis_shaped.push(format!("{key} (expected {rank} sides, found {shape:?})"));
                1
            }
            None => {
                problems.missing.push(key.to_owned());
                1
            }
        };
        let dim = lead("vit_model.cls_token", 2, 3);
        let patch = lead("vit_model.patch_embed.proj.weight", 3, 4);
        let tokens = lead("vit_model.pos_embed", 1, 3);
        let block_hidden = lead("vit_model.blocks.0.mlp.fc1.weight", 0, 2);
        let adapter_hidden = lead("aff_proj.fc1.weight", 0, 2);
        let channels = if self.is_wsma() { lead("fc.weight", 0, 2) } else { lead("aff_fc.weight", 0, 4) };
        self.refuse_problems(problems)?;

        // Counted, not the highest number: a key may name any.
        let depth = self.views.keys().filter_map(|key| block_of(key)).collect::<HashSet<_>>().len();
        if depth > MAX_DEPTH {
            return Err(self.refuse("transformer blocks", format!("at most {MAX_DEPTH}"), depth.to_string()));
        }
        let patches = tokens - 1;
        let grid = patches.isqrt();
        if grid == 0 || grid * grid != patches {
            let expected = "1 + a square number of positions";
            return Err(self.refuse("vit_model.pos_embed", expected, tokens.to_string()));
        }
        let heads = description.heads.unwrap_or(dim / HEAD_CHANNELS);
        if heads == 0 || dim % heads != 0 {
            let found = format!("{heads} heads for {dim} channels (the description can name `heads`)");
            return Err(self.refuse("attention heads", "a divisor of the embedding dimension", found));
        }
        if description.actions.len() > channels {
            let expected = format!("at most {channels}, the channels of aff_fc");
            return Err(self.refuse("actions", expected, description.actions.len().to_string()));
        }
        Ok(Sizes { dim, depth, heads, patch, grid, block_hidden, adapter_hidden, channels })
    }

    /// What there is most of has the shapes that follow from the sizes: before anything is allocated by them.
    fn check_largest(&self, sizes: &Sizes) -> Result<(), ExportError> {
        let Sizes { dim, depth, patch, block_hidden, adapter_hidden, .. } = *sizes;
        let tokens = 1 + sizes.patches();
        // WSMA adapts two blocks' keys.
        let adapter_inputs = if self.is_wsma() { 2 * dim } else { dim };
        // No map needs the last block's MLP.
        let blocks = (0..depth).flat_map(|block| {
            let prefix = format!("vit_model.blocks.{block}");
            let mlp = (block + 1 < depth).then(|| (format!("{prefix}.mlp.fc1.weight"), vec![block_hidden, dim]));
            [(format!("{prefix}.attn.qkv.weight"), vec![3 * dim, dim])].into_iter().chain(mlp)
        });
        let most = [
            ("vit_model.pos_embed".to_owned(), vec![1, tokens, dim]),
            ("vit_model.patch_embed.proj.weight".to_owned(), vec![dim, 3, patch, patch]),
            ("aff_proj.fc1.weight".to_owned(), vec![adapter_hidden, adapter_inputs]),
        ];
        let mut problems = Problems::default();
        for (key, expected) in most.into_iter().chain(blocks) {
            let found = self.views.get(&key).map(TensorView::shape);
            problems.compare_shape(key, &expected, found);
        }
        self.refuse_problems(problems)
    }

    /// All needed tensors, or all problems.
    fn tensors(
        &self,
        (network, sizes): (Network, &Sizes),
        presence: PresenceSource,
    ) -> Result<HashMap<String, ArrayD<f32>>, ExportError> {
        let mut problems = Problems::default();
        let mut tensors = HashMap::new();
        let entries = layout::network_entries(network, sizes);
        for entry in entries.iter().filter(|entry| entry.used != Use::Unused) {
            let Some(view) = self.views.get(&entry.key) else {
                if entry.used.needed(presence) {
                    problems.missing.push(entry.key.clone());
                }
                continue;
            };
            if view.dtype() != Dtype::F32 || view.shape() != entry.shape {
                let (shape, found) = (&entry.shape, view.shape());
                problems.mis_shaped.push(format!(
                    "{} (expected F32 {shape:?}, found {:?} {found:?})",
                    entry.key,
                    view.dtype()
                ));
                continue;
            }
            let values: Vec<f32> =
                view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let negative_variance = entry.key.ends_with(".running_var") && values.iter().any(|value| *value < 0.0);
            if negative_variance || !values.iter().all(|value| value.is_finite()) {
                problems.not_finite.push(entry.key.clone());
            } else if let Ok(tensor) = ArrayD::from_shape_vec(IxDyn(&entry.shape), values) {
                tensors.insert(entry.key.clone(), tensor);
            }
        }
        let known: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let expected = |key: &String| layout::is_cluster(key) || known.contains(key.as_str());
        problems.unexpected = self.views.keys().filter(|key| !expected(key)).cloned().collect();
        problems.unexpected.sort();
        self.refuse_problems(problems)?;
        Ok(tensors)
    }

    fn refuse_problems(&self, problems: Problems) -> Result<(), ExportError> {
        if problems.none() { Ok(()) } else { Err(ExportError::Weights { path: self.path.to_owned(), problems }) }
    }

    fn refuse(&self, what: &str, expected: impl Into<String>, found: impl Into<String>) -> ExportError {
        ExportError::Description {
            path: self.path.to_owned(),
            what: what.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// The N of `vit_model.blocks.N.<...>`.
fn block_of(key: &str) -> Option<&str> {
    Some(key.strip_prefix("vit_model.blocks.")?.split_once('.')?.0)
}
