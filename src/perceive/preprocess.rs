//! RGB at source size to the network's input size.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::{decode::RgbView, frame::FrameError};
use crate::contract::Size;

/// Stretches pictures to the network's input size, the evaluation protocol of LOCATE and LoopTrans (no crop, no
/// padding), with the triangle filter that Pillow calls bilinear: when shrinking, its support grows with the scale, so
/// that every source pixel counts. Within one level of Pillow's own result.
///
/// One picture in, the same picture out: training, evaluation and the robot all come through here.
pub struct Preprocessor {
    network: Size,
    resizer: Resizer,
    options: ResizeOptions,
    pixels: Vec<u8>,
}

impl Preprocessor {
    /// For a model with inputs of this size (the contract's `input`).
    pub fn new(network: Size) -> Self {
        Self {
            network,
            resizer: Resizer::new(),
            options: ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false),
            pixels: vec![0; 3 * network.height as usize * network.width as usize],
        }
    }

    /// u8 [h, w, 3] of any size -> u8 [H, W, 3] at network size, in a buffer kept from frame to frame. (Only the
    /// filter's weights are allocated anew, some bytes per row and column.)
    ///
    /// # Errors
    /// [`FrameError::Resize`] if the view's size and data do not belong together.
    pub fn run(&mut self, source: RgbView<'_>) -> Result<&[u8], FrameError> {
        let Self { network, resizer, options, pixels } = self;
        let failed = |cause: &dyn std::fmt::Display| FrameError::Resize { size: source.size, cause: cause.to_string() };
        let from = ImageRef::new(source.size.width, source.size.height, source.data, PixelType::U8x3)
            .map_err(|cause| failed(&cause))?;
        let mut to = Image::from_slice_u8(network.width, network.height, pixels, PixelType::U8x3)
            .map_err(|cause| failed(&cause))?;
        resizer.resize(&from, &mut to, &*options).map_err(|cause| failed(&cause))?;
        Ok(&self.pixels)
    }
}
