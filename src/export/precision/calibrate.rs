//! Calibration pictures, and what the network's values are on them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Kind, Layer, Observations, PrecisionError};
use crate::{
    config::{NodeSettings, Overrides},
    contract::Size,
    perceive::{
        decode::Limits,
        infer::{InferSettings, probe::Probe},
        picture,
        preprocess::Preprocessor,
    },
};

/// More pictures than this move no range worth the time.
pub const MAX_PICTURES: usize = 512;

/// Pictures at the network's size.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    /// u8 [H, W, 3] RGB each.
    pub pixels: Vec<Vec<u8>>,
    /// Files of the folder that are no pictures.
    pub skipped: Vec<PathBuf>,
}

impl Pictures {
    /// Reads the JPEG and PNG files of a folder in the order of their names, at most [`MAX_PICTURES`], and resizes them as
    /// the node does. Folders in it are passed over; other files are [`Self::skipped`].
    ///
    /// # Errors
    /// The folder can't be read, or holds no picture.
    pub fn read(folder: &Path, network: Size) -> Result<Self, PrecisionError> {
        let io = |source| PrecisionError::Folder { path: folder.to_owned(), source };
        let entries = fs::read_dir(folder).map_err(io)?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
        files.retain(|file| !file.is_dir());
        files.sort();
        let node = NodeSettings::from_overrides(&Overrides::new())?;
        let limits = Limits { max_image_pixels: u64::from(node.max_image_pixels) };
        let mut preprocessor = Preprocessor::new(network);
        let (mut pictures, mut first) = (Self::default(), None);
        for file in &files {
            if pictures.pixels.len() == MAX_PICTURES {
                break;
            }
            match picture::load_for(file, &limits, &mut preprocessor) {
                Ok(pixels) => pictures.pixels.push(pixels),
                Err(error) => {
                    pictures.skipped.push(file.clone());
                    first.get_or_insert(error);
                }
            }
        }
        if pictures.pixels.is_empty() {
            return Err(PrecisionError::NoPictures { path: folder.to_owned(), files: files.len(), first });
        }
        Ok(pictures)
    }
}

/// Runs a graph on pictures and collects the ranges that quantising `layers` needs: of their inputs, and of what
/// convolutions give.
///
/// # Errors
/// ONNX Runtime fails, or a value is not finite.
pub fn observe(
    onnx: &[u8],
    layers: &[Layer],
    pictures: &[Vec<u8>],
    settings: &InferSettings,
) -> Result<Observations, PrecisionError> {
    let outputs = layers.iter().filter(|layer| layer.kind == Kind::Conv).map(|layer| layer.output.as_str());
    let mut names: Vec<&str> = layers.iter().map(|layer| layer.input.as_str()).chain(outputs).collect();
    names.sort_unstable();
    names.dedup();
    let mut probe = Probe::open(onnx, &names, settings)?;
    let mut observations = Observations::new();
    for picture in pictures {
        for (name, tensor) in probe.run(picture)? {
            if names.binary_search(&name.as_str()).is_ok() {
                observations.entry(name.clone()).or_default().add(&name, &tensor.shape, tensor.values)?;
            }
        }
    }
    Ok(observations)
}
