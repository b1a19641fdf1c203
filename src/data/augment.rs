//! A picture's pixels for training: resized, cropped at random, mirrored at random (method of LOCATE and LoopTrans; the
//! triangle filter of Pillow's bilinear resize, as on the robot).

use image::RgbImage;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::{
    contract::Size,
    perceive::{FrameError, decode::RgbView, preprocess::Preprocessor},
};

/// How a picture is resized before a part of it is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// To a square, its aspect changed: LoopTrans.
    Square,
    /// The short side, its aspect kept: LOCATE and WSMA.
    ShortSide,
}

/// Sizes of the augmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// How pictures are resized ...
    pub resize: ResizeRule,
    /// ... to this side in pixels. Published: 256.
    pub resized: u32,
    /// The side of what is cut out, at most `resized`. Published: 224.
    pub crop: u32,
}

/// How many times its short side a picture's long side may be: what is resized by its short side has the long one in
/// memory, and of a strip no part shows anything.
pub const MOST_OBLONG: u32 = 64;

/// Is this a strip, longer than [`MOST_OBLONG`] allows?
pub fn is_strip(size: Size) -> bool {
    let (short, long) = (size.height.min(size.width), size.height.max(size.width));
    u64::from(long) > u64::from(MOST_OBLONG) * u64::from(short)
}

/// Cuts training pictures.
pub struct Augmenter {
    augmentation: Augmentation,
    pixels: Vec<u8>,
}

impl Augmenter {
    /// With buffers of its own; one per thread.
    pub fn new(augmentation: Augmentation) -> Self {
        Self { augmentation, pixels: Vec::new() }
    }

    /// u8 [h, w, 3] -> u8 [crop, crop, 3], the same for the same seed.
    ///
    /// # Errors
    /// [`FrameError::Resize`]: the picture has no pixels, or is a strip ([`is_strip`]).
    pub fn run(&mut self, picture: &RgbImage, seed: u64) -> Result<&[u8], FrameError> {
        let Augmentation { resized, crop, .. } = self.augmentation;
        let source = Size { height: picture.height(), width: picture.width() };
        if is_strip(source) {
            let cause = format!("expected a long side of at most {MOST_OBLONG} times the short one");
            return Err(FrameError::Resize { size: source, cause });
        }
        let size = self.size_of(source);
        let mut resizer = Preprocessor::new(size);
        let pixels = resizer.run(RgbView { size: source, data: picture.as_raw() })?;
        let crop = crop.min(resized);
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let top = generator.random_range(0..=size.height - crop) as usize;
        let left = generator.random_range(0..=size.width - crop) as usize;
        let mirrored = generator.random_bool(0.5);
        let (side, stride) = (crop as usize, 3 * size.width as usize);
        self.pixels.clear();
        for row in pixels.chunks_exact(stride).skip(top).take(side) {
            let row = &row[3 * left..][..3 * side];
            if mirrored {
                self.pixels.extend(row.chunks_exact(3).rev().flatten());
            } else {
                self.pixels.extend_from_slice(row);
            }
        }
        Ok(&self.pixels)
    }

    fn size_of(&self, source: Size) -> Size {
        let side = self.augmentation.resized;
        match self.augmentation.resize {
            ResizeRule::Square => Size { height: side, width: side },
            ResizeRule::ShortSide => {
                let short = source.height.min(source.width).max(1);
                // Rounded down, as torchvision does.
                let long = |length: u32| (u64::from(side) * u64::from(length) / u64::from(short)) as u32;
                Size { height: long(source.height).max(side), width: long(source.width).max(side) }
            }
        }
    }
}
