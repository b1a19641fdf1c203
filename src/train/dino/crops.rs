//! DINO's multi-crop: two large parts of a picture and several small ones, each with colours of its own.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::RgbImage;
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

use super::colour::{Pixels, blur, hue, luma};

/// How one kind of view is cut and changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// Of the result, in pixels.
    pub side: u32,
    /// Least and greatest share of the picture's area.
    pub scale: [f64; 2],
    /// How often it is blurred.
    pub blur: f64,
    /// How often its light half is turned dark.
    pub solarise: f64,
    /// Pixels that the published blur's 224 stand for: of the global views.
    pub reference_side: u32,
}

/// The views of each picture: the two that the teacher sees, then the small ones.
pub fn crops(side: u32, local_side: u32, local: usize) -> Vec<Crop> {
    let global = Crop { side, scale: [0.4, 1.0], blur: 1.0, solarise: 0.0, reference_side: side };
    let second = Crop { blur: 0.1, solarise: 0.2, ..global };
    let small = Crop { side: local_side, scale: [0.05, 0.4], blur: 0.5, ..global };
    [global, second].into_iter().chain(std::iter::repeat_n(small, local)).collect()
}

/// Narrowest and widest part, width by height.
const ASPECTS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// u8 [h, w, 3] -> u8 [side, side, 3], the same for the same seed; an error in words if the picture can't be resized.
///
/// # Errors
/// A picture without pixels.
pub fn cut(picture: &RgbImage, crop: &Crop, seed: u64) -> Result<Vec<u8>, String> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let [left, top, width, height] = area([picture.width(), picture.height()], crop.scale, &mut generator);
    let from = ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut to = Image::new(crop.side, crop.side, PixelType::U8x3);
    // Pillow's bicubic filter is this one.
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .use_alpha(false)
        .crop(left, top, width, height);
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| error.to_string())?;
    let side = crop.side as usize;
    let mut pixels: Pixels =
        to.buffer().chunks_exact(3).map(|pixel| [0, 1, 2].map(|c| f32::from(pixel[c]) / 255.0)).collect();
    if generator.random_bool(0.5) {
        pixels.chunks_exact_mut(side).for_each(<[_]>::reverse);
    }
    change_colours(&mut pixels, &mut generator);
    if generator.random_bool(crop.blur) {
        let sigma = generator.random_range(0.1..2.0) * crop.reference_side as f32 / 224.0;
        blur(&mut pixels, side, sigma);
    }
    if generator.random_bool(crop.solarise) {
        pixels.as_flattened_mut().iter_mut().filter(|level| **level >= 0.5).for_each(|level| *level = 1.0 - *level);
    }
    Ok(pixels.as_flattened().iter().map(|level| (level * 255.0).round() as u8).collect())
}

/// A part of the wanted area and aspect anywhere in the picture, as [left, top, width, height]; the middle of a picture
/// that is too narrow for it.
fn area([width, height]: [u32; 2], scale: [f64; 2], generator: &mut impl Rng) -> [f64; 4] {
    const TRIES: usize = 10;
    let whole = f64::from(width) * f64::from(height);
    let logs = ASPECTS.map(f64::ln);
    for _ in 0..TRIES {
        let area = whole * generator.random_range(scale[0]..=scale[1]);
        let aspect = generator.random_range(logs[0]..=logs[1]).exp();
        let (w, h) = ((area * aspect).sqrt().round() as u32, (area / aspect).sqrt().round() as u32);
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let (left, top) = (generator.random_range(0..=width - w), generator.random_range(0..=height - h));
            return [left, top, w, h].map(f64::from);
        }
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let (w, h) = (width.min(height * ASPECTS[1]).max(1.0), height.min(width / ASPECTS[0]).max(1.0));
    [(width - w).max(0.0) / 2.0, (height - h).max(0.0) / 2.0, w, h]
}

/// Colour jitter in four of five pictures, grey in one of five.
fn change_colours(pixels: &mut Pixels, generator: &mut impl Rng) {
    const JITTER: [f32; 3] = [0.4, 0.4, 0.2];
    const HUE: f32 = 0.1;
    if generator.random_bool(0.8) {
        let mut order = [0, 1, 2, 3];
        order.shuffle(generator);
        let [brightness, contrast, saturation] = JITTER.map(|range| generator.random_range(1.0 - range..=1.0 + range));
        let turn = generator.random_range(-HUE..=HUE);
        for change in order {
            match change {
                0 => mix(pixels, brightness, |_| 0.0),
                1 => {
                    let mean = pixels.iter().map(luma).sum::<f32>() / pixels.len().max(1) as f32;
                    mix(pixels, contrast, |_| mean);
                }
                2 => mix(pixels, saturation, luma),
                _ => hue(pixels, turn),
            }
        }
    }
    if generator.random_bool(0.2) {
        mix(pixels, 0.0, luma);
    }
}

/// Away from (factor above 1) or towards (below 1) another grey.
fn mix(pixels: &mut Pixels, factor: f32, other: impl Fn(&[f32; 3]) -> f32) {
    for pixel in pixels {
        let other = other(pixel) * (1.0 - factor);
        *pixel = pixel.map(|level| (level * factor + other).clamp(0.0, 1.0));
    }
}
