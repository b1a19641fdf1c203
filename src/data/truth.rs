//! Ground truth pictures.

use std::path::Path;

use image::DynamicImage;
use ndarray::Array2;

use crate::perceive::{
    decode::Limits,
    picture::{self, PictureError},
};

/// Reads a ground truth picture, grey in [0, 1]: [H, W]. A coloured one counts by its brightness.
///
/// # Errors
/// [`PictureError`], naming the file.
pub fn load(path: &Path, limits: &Limits) -> Result<Array2<f64>, PictureError> {
    let grey = DynamicImage::ImageRgb8(picture::load(path, limits)?).into_luma8();
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    Ok(Array2::from_shape_fn((height, width), |(y, x)| f64::from(grey.as_raw()[y * width + x]) / 255.0))
}
