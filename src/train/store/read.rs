//! Features of a store that is whole.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::index::{
    ATTENTION, DESCRIPTORS, DONE, Header, Index, Picture, Precision, Volume, fingerprint, look, relative,
};
use crate::{
    data::{
        Dataset, TrainFolder,
        augment::Augmentation,
        sampling::{Draw, View},
    },
    export::layout::Sizes,
    train::{
        TrainError,
        backbone::{Features, Grid, Keys},
        features::{FeatureSource, on_all_cores},
        run::io_error,
    },
};

/// What a store has to be of, and where its features go.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The store.
    pub folder: &'a Path,
    /// Read every picture and compare its SHA-256; else its size alone is compared.
    pub verify: bool,
    /// A network's, its backbone among them.
    pub parameters: &'a VarStore,
    /// Of the backbone.
    pub sizes: &'a Sizes,
    /// As the features were to be computed.
    pub augmentation: Augmentation,
    /// What is wanted of each picture.
    pub keys: Keys,
    /// The store has its pictures, and may have others.
    pub dataset: &'a Dataset,
    /// Of the features.
    pub device: Device,
}

/// What of a store changes a run on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Augmentations of each training picture.
    pub variants: u32,
    /// How numbers are kept.
    pub precision: Precision,
}

/// Features read from memory-mapped files. The files must not be cut while it is in use; their length is looked at before
/// every reading.
#[derive(Debug)]
pub struct Store {
    descriptors: Mapped,
    attention: Mapped,
    grid: Grid,
    kept: Kept,
    /// The first row of each exocentric picture, by folder.
    exo: Vec<Vec<u64>>,
    /// Likewise of the egocentric ones.
    ego: Vec<Vec<u64>>,
    test: Vec<u64>,
    device: Device,
}

impl Store {
    /// Maps a store.
    ///
    /// # Errors
    /// It is not whole; it is of another backbone, of another augmentation, or lacks a picture as it is now.
    pub fn open(reading: &Reading<'_>) -> Result<Self, TrainError> {
        let folder = reading.folder;
        let index = Index::read(folder)?.ok_or_else(|| TrainError::File {
            path: Index::path(folder),
            expected: "a feature store, as `looptrans store build` makes it".to_owned(),
            found: "no such file".to_owned(),
        })?;
        let header = &index.header;
        let kept = Kept { variants: header.variants, precision: header.precision };
        let wanted = (kept.variants.max(1), kept.precision);
        // Before any of its numbers is computed with.
        header.check(
            &Header::new(reading.sizes, fingerprint(reading.parameters)?, (reading.augmentation, reading.keys), wanted),
            &Index::path(folder),
        )?;
        let volume = index.volume(folder)?;
        check_done(folder, &volume)?;
        let mapped = |name, sides| Mapped::open(folder.join(name), header, &volume, sides);
        let (descriptors, attention) =
            (mapped(DESCRIPTORS, header.descriptor_sides())?, mapped(ATTENTION, header.attention_sides())?);
        let known = Known { index: &index, reading };
        let (train, test) = (places(&index.train), places(&index.test));
        let of_folders = |of: fn(&TrainFolder) -> &Vec<PathBuf>| -> Result<Vec<Vec<u64>>, TrainError> {
            let folders = reading.dataset.train.iter();
            folders.map(|folder| known.rows(&of(folder).iter().collect::<Vec<_>>(), &train, 0)).collect()
        };
        let tested: Vec<&PathBuf> = reading.dataset.test.iter().map(|item| &item.picture).collect();
        Ok(Self {
            descriptors,
            attention,
            grid: header.grid(),
            kept,
            exo: of_folders(|folder| &folder.exo)?,
            ego: of_folders(|folder| &folder.ego)?,
            test: known.rows(&tested, &test, index.train.len())?,
            device: reading.device,
        })
    }

    /// What it keeps.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    fn features(&self, rows: &[i64]) -> Result<Features, TrainError> {
        let rows = Tensor::from_slice(rows);
        let [descriptors, cls_attention] =
            [&self.descriptors, &self.attention].map(|mapped| mapped.rows(&rows, self.device));
        Ok(Features { grid: self.grid, descriptors: descriptors?, cls_attention: cls_attention? })
    }
}

impl FeatureSource for Store {
    fn train(&mut self, draws: &[Draw]) -> Result<Features, TrainError> {
        let row = |draw: &Draw| {
            let pictures = match draw.id.view {
                View::Exo => &self.exo[draw.id.folder],
                View::Ego => &self.ego[draw.id.folder],
            };
            if draw.seed >= u64::from(self.kept.variants) {
                let expected = format!("less than {}, as many as the store has", self.kept.variants);
                return Err(TrainError::Values { what: "variant", expected, found: draw.seed.to_string() });
            }
            Ok((pictures[draw.id.picture] + draw.seed) as i64)
        };
        self.features(&draws.iter().map(row).collect::<Result<Vec<_>, _>>()?)
    }

    fn test(&mut self, items: &[usize]) -> Result<Features, TrainError> {
        self.features(&items.iter().map(|&item| self.test[item] as i64).collect::<Vec<_>>())
    }
}

/// One file as a tensor [rows, ...].
#[derive(Debug)]
struct Mapped {
    path: PathBuf,
    bytes: u64,
    tensor: Tensor,
}

impl Mapped {
    fn open(path: PathBuf, header: &Header, volume: &Volume, sides: [i64; 2]) -> Result<Self, TrainError> {
        // No more than what `volume` counted, which fits.
        let bytes = volume.rows * header.row_bytes(sides);
        check_length(&path, bytes)?;
        let refuse = |found: String| TrainError::File {
            path: path.clone(),
            expected: "a file that can be mapped".to_owned(),
            found,
        };
        let name = path.to_str().ok_or_else(|| refuse("a name that is not UTF-8".to_owned()))?;
        let sides = [volume.rows as i64, sides[0], sides[1]];
        let count = sides.iter().product::<i64>();
        // Not shared: libtorch would open it for writing, and lengthen it.
        let mapped = Tensor::f_from_file(name, false, count, (header.precision.kind(), Device::Cpu));
        let tensor = mapped.and_then(|mapped| mapped.f_reshape(sides)).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { path, bytes, tensor })
    }

    /// Copies of these rows, f32.
    fn rows(&self, rows: &Tensor, device: Device) -> Result<Tensor, TrainError> {
        // To read behind the end of a mapped file ends the program.
        check_length(&self.path, self.bytes)?;
        Ok(self.tensor.index_select(0, rows).to_device(device).to_kind(Kind::Float))
    }
}

fn check_length(path: &Path, expected: u64) -> Result<(), TrainError> {
    let found = fs::metadata(path).map_err(io_error("read", path))?.len();
    if found == expected {
        return Ok(());
    }
    Err(TrainError::File {
        path: path.to_owned(),
        expected: format!("{expected} bytes"),
        found: format!("{found} (`looptrans store build` with the same arguments mends it)"),
    })
}

fn check_done(folder: &Path, volume: &Volume) -> Result<(), TrainError> {
    let path = folder.join(DONE);
    check_length(&path, volume.rows)?;
    let marks = fs::read(&path).map_err(io_error("read", &path))?;
    let done = marks.iter().filter(|&&mark| mark == 1).count() as u64;
    if done == volume.rows {
        return Ok(());
    }
    Err(TrainError::File {
        path,
        expected: format!("all {} views", volume.rows),
        found: format!("{done} (`looptrans store build` with the same arguments computes the others)"),
    })
}

/// Places of pictures by name.
fn places(pictures: &[Picture]) -> HashMap<&str, (usize, &Picture)> {
    pictures.iter().enumerate().map(|(place, picture)| (picture.path.as_str(), (place, picture))).collect()
}

/// Finds a dataset's pictures in an index.
struct Known<'a> {
    index: &'a Index,
    reading: &'a Reading<'a>,
}

impl Known<'_> {
    /// The first row of each picture. `offset`: of the list in the index that `places` are in.
    fn rows(
        &self,
        paths: &[&PathBuf],
        places: &HashMap<&str, (usize, &Picture)>,
        offset: usize,
    ) -> Result<Vec<u64>, TrainError> {
        let row = |(): &mut (), at: usize| {
            let path = paths[at];
            let name = relative(self.reading.dataset, path);
            let Some(&(place, picture)) = places.get(name.as_str()) else {
                let (path, expected) = (Index::path(self.reading.folder), format!("features of {name}"));
                return Err(TrainError::File { path, expected, found: "none of it".to_owned() });
            };
            self.compare(path, picture)?;
            Ok(self.index.rows_of(offset + place).start)
        };
        on_all_cores(paths.len(), || (), row)
    }

    fn compare(&self, path: &Path, before: &Picture) -> Result<(), TrainError> {
        let refuse = |expected: String, found: String| {
            let expected = format!("the picture that the store has features of, {expected}");
            Err(TrainError::File { path: path.to_owned(), expected, found })
        };
        let bytes = fs::metadata(path).map_err(io_error("read", path))?.len();
        if bytes != before.bytes {
            return refuse(format!("{} bytes", before.bytes), format!("{bytes} bytes"));
        }
        if self.reading.verify {
            let now = look(self.reading.dataset, path)?;
            if now.sha256 != before.sha256 {
                return refuse(format!("SHA-256 {}", before.sha256), now.sha256);
            }
        }
        Ok(())
    }
}
