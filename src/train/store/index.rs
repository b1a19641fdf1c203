//! What a store says of itself, and where its rows are.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::{
    contract,
    data::{
        Dataset,
        augment::{Augmentation, ResizeRule},
    },
    export::{bundle::write_file, layout::Sizes},
    train::{
        TrainError,
        backbone::{Grid, Keys},
        run::{PREFIX, io_error},
    },
};

/// Changes with anything that would make an older store mean something else.
const FORMAT: u32 = 2;
/// A longer index is no index: room for a million pictures.
const MAX_INDEX_BYTES: u64 = 256 << 20;

const INDEX: &str = "index.json";
pub(super) const DESCRIPTORS: &str = "descriptors.bin";
pub(super) const ATTENTION: &str = "attention.bin";
pub(super) const DONE: &str = "done.bin";

/// How numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As the backbone gives them.
    F32,
    /// Rounded to half precision: half the size.
    F16,
}

impl Precision {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Whose features a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: u32,
    /// SHA-256 of the backbone's parameters, see [`fingerprint`].
    backbone: String,
    pub dim: usize,
    /// Stores from before there was a choice do not say.
    #[serde(default)]
    pub keys: Keys,
    heads: usize,
    patch: usize,
    resize: ResizeRule,
    resized: u32,
    crop: u32,
    pub variants: u32,
    pub precision: Precision,
}

/// A picture as it was when its features were computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Picture {
    /// Relative to the dataset's folder. It is compared with the dataset's own paths, never opened.
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The index file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub header: Header,
    /// Pictures to train on, in the rows' order.
    pub train: Vec<Picture>,
    /// Pictures to test with.
    pub test: Vec<Picture>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Views: training pictures times variants, and test pictures.
    pub rows: u64,
    /// Of one view.
    pub row_bytes: u64,
    /// Of all of them.
    pub bytes: u64,
}

impl Header {
    pub fn new(
        sizes: &Sizes,
        backbone: String,
        (augmentation, keys): (Augmentation, Keys),
        kept: (u32, Precision),
    ) -> Self {
        let Augmentation { resize, resized, crop } = augmentation;
        let Sizes { dim, heads, patch, .. } = *sizes;
        let (variants, precision) = kept;
        Self { format: FORMAT, backbone, dim, keys, heads, patch, resize, resized, crop, variants, precision }
    }

    pub fn augmentation(&self) -> Augmentation {
        Augmentation { resize: self.resize, resized: self.resized, crop: self.crop }
    }

    pub fn grid(&self) -> Grid {
        let side = i64::from(self.crop) / self.patch.max(1) as i64;
        Grid { rows: side, columns: side }
    }

    /// [N, D], or [N, 2D] of two blocks' keys.
    pub fn descriptor_sides(&self) -> [i64; 2] {
        [self.grid().rows * self.grid().columns, (self.keys.blocks() * self.dim) as i64]
    }

    /// [heads, N]
    pub fn attention_sides(&self) -> [i64; 2] {
        [self.heads as i64, self.grid().rows * self.grid().columns]
    }

    /// Bytes of a row in the file of these sides.
    pub fn row_bytes(&self, sides: [i64; 2]) -> u64 {
        sides[0] as u64 * sides[1] as u64 * self.precision.bytes()
    }

    /// Refuses what differs from `expected`, by name.
    pub fn check(&self, expected: &Self, path: &Path) -> Result<(), TrainError> {
        let of = |header: &Self| {
            let Self { format, backbone, dim, keys, heads, patch, resize, resized, crop, variants, precision } = header;
            [
                ("format", format.to_string()),
                ("backbone of SHA-256", backbone.clone()),
                ("backbone", format!("{dim} channels, {heads} heads, patches of {patch}")),
                ("keys of how many of the last blocks:", keys.blocks().to_string()),
                ("augmentation", format!("{resize:?} to {resized} pixels, {crop} cut out")),
                ("variants", variants.to_string()),
                ("precision", format!("{precision:?}")),
            ]
        };
        match of(expected).into_iter().zip(of(self)).find(|(expected, found)| expected != found) {
            Some(((what, expected), (_, found))) => Err(TrainError::File {
                path: path.to_owned(),
                expected: format!("features of {what} {expected}"),
                found: format!("{what} {found}"),
            }),
            None => Ok(()),
        }
    }

    /// None: more than can be counted.
    pub fn volume(&self, train: usize, test: usize) -> Option<Volume> {
        let rows = (train as u64).checked_mul(u64::from(self.variants))?.checked_add(test as u64)?;
        let row_bytes = self.row_bytes(self.descriptor_sides()) + self.row_bytes(self.attention_sides());
        let bytes = rows.checked_mul(row_bytes).filter(|&bytes| i64::try_from(bytes).is_ok())?;
        Some(Volume { rows, row_bytes, bytes })
    }
}

impl Index {
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(INDEX)
    }

    /// Reads it; None where there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = Self::path(folder);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io_error("read", &path))?,
        };
        let refuse = |found: String| {
            let expected = format!("the index of a feature store, format {FORMAT}");
            TrainError::File { path: path.clone(), expected, found }
        };
        let length = file.metadata().map_err(io_error("read", &path))?.len();
        if length > MAX_INDEX_BYTES {
            return Err(refuse(format!("{length} bytes, more than {MAX_INDEX_BYTES}")));
        }
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text).map_err(io_error("read", &path))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| refuse(error.to_string()))
    }

    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let path = Self::path(folder);
        let json = serde_json::to_vec(self).map_err(|error| io_error("write", &path)(error.into()))?;
        Ok(write_file(&path, &json)?)
    }

    pub fn volume(&self, folder: &Path) -> Result<Volume, TrainError> {
        self.header.volume(self.train.len(), self.test.len()).ok_or_else(|| TrainError::File {
            path: Self::path(folder),
            expected: "features that fit a disk".to_owned(),
            found: format!("{} pictures in {} variants", self.train.len(), self.header.variants),
        })
    }

    /// The rows of the picture at `place`, test pictures behind the ones to train on.
    pub fn rows_of(&self, place: usize) -> std::ops::Range<u64> {
        let (train, variants) = (self.train.len(), u64::from(self.header.variants));
        match place.checked_sub(train) {
            None => place as u64 * variants..(place as u64 + 1) * variants,
            Some(test) => {
                let row = train as u64 * variants + test as u64;
                row..row + 1
            }
        }
    }
}

/// A dataset's pictures to train on, in the order of its folders, exocentric ones first.
pub(super) fn train_pictures(dataset: &Dataset) -> impl Iterator<Item = &PathBuf> {
    dataset.train.iter().flat_map(|folder| folder.exo.iter().chain(&folder.ego))
}

/// As an index names it.
pub(super) fn relative(dataset: &Dataset, path: &Path) -> String {
    path.strip_prefix(&dataset.folder).unwrap_or(path).to_string_lossy().into_owned()
}

/// SHA-256 of a backbone's parameters by name, whatever file or model they are in.
pub(super) fn fingerprint(parameters: &VarStore) -> Result<String, TrainError> {
    let mut own: Vec<(String, Tensor)> = parameters.variables().into_iter().collect();
    own.retain(|(name, _)| name.starts_with(PREFIX));
    own.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hash = Sha256::new();
    for (name, tensor) in own {
        hash.update(format!("{name} {:?}\n", tensor.size()));
        hash.update(bytes_of(&tensor, Kind::Float)?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A tensor's numbers, little-endian as the machines are that libtorch runs on.
pub(super) fn bytes_of(tensor: &Tensor, kind: Kind) -> Result<Vec<u8>, TrainError> {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(kind).contiguous();
    let count = tensor.numel();
    let mut bytes = vec![0; count * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, count).map_err(|error| TrainError::Values {
        what: "features",
        expected: format!("{kind:?} in the memory"),
        found: error.to_string(),
    })?;
    Ok(bytes)
}

/// A picture's size and SHA-256.
pub(super) fn look(dataset: &Dataset, path: &Path) -> Result<Picture, TrainError> {
    let bytes = std::fs::read(path).map_err(io_error("read", path))?;
    Ok(Picture { path: relative(dataset, path), bytes: bytes.len() as u64, sha256: contract::sha256_hex(&bytes) })
}
