//! Test pictures for people, and maps laid over them as heat.

use image::RgbImage;
use ndarray::ArrayView2;

use crate::{
    contract::Size,
    perceive::{
        FrameError,
        decode::RgbView,
        overlay::{HeatLayer, Overlay},
        preprocess::Preprocessor,
    },
};

/// The longer side of one, in pixels.
pub(in crate::train) const SIDE: u32 = 176;
const ALPHA: f32 = 0.7;

/// The whole picture, its longer side [`SIDE`].
pub(in crate::train) fn small(picture: &RgbImage) -> Result<RgbImage, FrameError> {
    let (width, height) = picture.dimensions();
    let longer = u64::from(width.max(height).max(1));
    let scaled = |side: u32| (u64::from(side) * u64::from(SIDE) / longer).max(1) as u32;
    let size = Size { height: scaled(height), width: scaled(width) };
    let view = RgbView { size: Size { height, width }, data: picture.as_raw() };
    let pixels = Preprocessor::new(size).run(view)?.to_vec();
    Ok(RgbImage::from_raw(size.width, size.height, pixels).unwrap_or_default())
}

/// The map's own range, from nothing to full heat.
pub(in crate::train) fn laid_over(picture: &RgbImage, map: ArrayView2<'_, f64>) -> Result<RgbImage, FrameError> {
    let (low, high) = map.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let range = if high > low { high - low } else { 1.0 };
    let levels: Vec<u8> = map.iter().map(|value| (255.0 * (value - low) / range) as u8).collect();
    let (rows, columns) = map.dim();
    let heat = HeatLayer { size: Size { height: rows as u32, width: columns as u32 }, levels: &levels };
    let size = Size { height: picture.height(), width: picture.width() };
    let mut out = RgbImage::default();
    Overlay::new(ALPHA).draw(RgbView { size, data: picture.as_raw() }, heat, &[], &mut out)?;
    Ok(out)
}
