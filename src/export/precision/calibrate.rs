//! Calibration pictures, and what the network's values are on them.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{Kind, Layer, Observations, PrecisionError};
use crate::{
    config::{NodeSettings, Overrides},
    contract::Size,
    perceive::{
        decode::Limits,
        infer::{InferSettings, probe::Probe},
        picture::{self, PictureError},
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
    /// Files that were looked at and are no pictures.
    pub skipped: Vec<PathBuf>,
}

impl Pictures {
    /// Reads [`folder_pictures`], at most [`MAX_PICTURES`], and resizes them as the node does.
    ///
    /// # Errors
    /// The folder can't be read, or holds no picture.
    pub fn read(folder: &Path, network: Size) -> Result<Self, PrecisionError> {
        let io = |source| PrecisionError::Folder { path: folder.to_owned(), source };
        let node = NodeSettings::from_overrides(&Overrides::new())?;
        let limits = Limits { max_image_pixels: u64::from(node.max_image_pixels) };
        let mut preprocessor = Preprocessor::new(network);
        let load = |file: &Path| picture::load_for(file, &limits, &mut preprocessor);
        let (pixels, refused) = folder_pictures(folder, MAX_PICTURES, load).map_err(io)?;
        if pixels.is_empty() {
            let (path, files) = (folder.to_owned(), refused.len());
            return Err(PrecisionError::NoPictures { path, files, first: refused.into_iter().next() });
        }
        Ok(Self { pixels, skipped: refused.into_iter().map(|error| error.path).collect() })
    }
}

/// What `load` makes of a folder's pictures, at most `most`, evenly spread over their names in order; and the files that
/// are none, for which those after them stand in. Folders and names that begin with a dot are passed over.
///
/// # Errors
/// The folder can't be listed.
pub fn folder_pictures<T>(
    folder: &Path,
    most: usize,
    mut load: impl FnMut(&Path) -> Result<T, PictureError>,
) -> io::Result<(Vec<T>, Vec<PictureError>)> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|file| !file.is_dir() && !hidden(file));
    files.sort();
    let (mut loaded, mut refused) = (Vec::new(), Vec::new());
    for stretch in stretches(files.len(), most) {
        for file in &files[stretch] {
            match load(file) {
                Ok(picture) => {
                    loaded.push(picture);
                    break;
                }
                Err(error) => refused.push(error),
            }
        }
    }
    refused.iter().for_each(|error| tracing::warn!("passed over: {error}"));
    Ok((loaded, refused))
}

/// At most `most` of some things, evenly spread: their order may go by what they show.
pub(super) fn spread<T>(things: &[T], most: usize) -> impl Iterator<Item = &T> {
    stretches(things.len(), most).map(|stretch| &things[stretch.start])
}

/// `there` places in at most `most` stretches of nearly the same length, none of them empty.
fn stretches(there: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = there.min(most);
    (0..parts).map(move |part| part * there / parts..(part + 1) * there / parts)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_are_evenly_spread_and_all_of_few_are_taken() {
        let things: Vec<usize> = (0..100).collect();
        let taken = |most| spread(&things, most).copied().collect::<Vec<_>>();
        assert_eq!(taken(8), [0, 12, 25, 37, 50, 62, 75, 87]);
        assert_eq!(taken(1000), things);
        assert_eq!(taken(0), [0; 0]);
        assert_eq!(stretches(5, 2).collect::<Vec<_>>(), [0..2, 2..5]);
    }

    #[test]
    fn of_a_large_folder_pictures_from_all_over_it_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..600_u32 {
            let picture = image::RgbImage::from_pixel(2, 2, image::Rgb([(number / 256) as u8, number as u8, 0]));
            picture.save(folder.path().join(format!("{number:03}.png"))).unwrap();
        }
        let pictures = Pictures::read(folder.path(), Size { height: 2, width: 2 }).unwrap();
        let last = pictures.pixels.last().unwrap();
        assert_eq!((pictures.pixels.len(), u32::from(last[0]) * 256 + u32::from(last[1])), (MAX_PICTURES, 598));
    }
}
