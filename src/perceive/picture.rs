//! Picture files for offline use, read by the code that reads a camera's compressed images.

use std::path::{Path, PathBuf};

use image::{DynamicImage, RgbImage};

use super::{
    decode::{Limits, RgbView, codec},
    frame::FrameError,
    preprocess::Preprocessor,
};
use crate::contract::Size;

/// Why a picture file was not read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct PictureError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: PictureFault,
}

/// What is wrong with a picture file.
#[derive(Debug, thiserror::Error)]
pub enum PictureFault {
    /// A folder, device or pipe.
    #[error("not a file")]
    NotAFile,
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It was read and does not decode, or can't be resized.
    #[error(transparent)]
    Decode(#[from] FrameError),
}

/// Reads a JPEG or PNG file to RGB, upright: turned as its orientation tag asks. Its name does not matter.
///
/// # Errors
/// [`PictureError`], naming the file.
pub fn load(path: &Path, limits: &Limits) -> Result<RgbImage, PictureError> {
    read(path, limits).map_err(|cause| PictureError { path: path.to_owned(), cause })
}

/// [`load`], at the network's size: u8 [H, W, 3] RGB as the node would hand it to the model.
///
/// # Errors
/// [`PictureError`], naming the file.
pub fn load_for(path: &Path, limits: &Limits, network: &mut Preprocessor) -> Result<Vec<u8>, PictureError> {
    let picture = load(path, limits)?;
    let size = Size { height: picture.height(), width: picture.width() };
    match network.run(RgbView { size, data: picture.as_raw() }) {
        Ok(pixels) => Ok(pixels.to_vec()),
        Err(error) => Err(PictureError { path: path.to_owned(), cause: error.into() }),
    }
}

fn read(path: &Path, limits: &Limits) -> Result<RgbImage, PictureFault> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(PictureFault::NotAFile);
    }
    let mut rgb = Vec::new();
    let (size, orientation) = codec::decode_file(&std::fs::read(path)?, "", limits, &mut rgb)?;
    let stored = RgbImage::from_raw(size.width, size.height, rgb).unwrap_or_default();
    let mut picture = DynamicImage::ImageRgb8(stored);
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}
