//! A camera frame's bytes to RGB, 8 bits a channel, tight rows. Everything about the message is checked here, before a
//! pixel is read or a byte allocated.
//!
//! ```text
//! Pixels::Raw        -> layout (sizes checked) -> packed | yuv | bayer -> u8 [H, W, 3]
//! Pixels::Compressed -> codec (JPEG or PNG by their first bytes)       -> u8 [H, W, 3]
//! ```

mod bayer;
pub(crate) mod codec;
mod layout;
mod packed;
mod yuv;

use super::frame::{Encoding, FrameError, Pixels};
use crate::contract::Size;
use layout::Layout;

#[cfg(test)]
mod tests;

/// What a frame may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Larger images are rejected before anything is allocated (the parameter of the same name).
    pub max_image_pixels: u64,
}

/// An RGB picture, 8 bits a channel, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RgbView<'a> {
    /// Rows and columns.
    pub size: Size,
    /// `height * width * 3` bytes: R, G, B of the top left pixel, then of the next to the right.
    pub data: &'a [u8],
}

/// What was odd about a frame that was taken all the same: worth one warning, not one a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeNotes {
    /// The message's step was 0; its data was exactly as long as rows without padding.
    pub stride_was_zero: bool,
    /// Bytes after the last row, not read.
    pub extra_bytes: u64,
}

/// A decoded frame: see [`decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The picture.
    pub image: RgbView<'a>,
    /// What to warn about.
    pub notes: DecodeNotes,
}

/// Decodes a frame into `buffer`, which is meant to be kept from frame to frame, or borrows the message's own bytes
/// where these are rgb8 without padding.
///
/// Alpha is ignored. 16-bit grey is scaled from full range to 8 bits, rounded. YUV is BT.601 of limited range
/// ([`yuv`]); a 4:2:2 picture of odd width is rejected, odd sizes of nv12 and nv21 round chroma up. A Bayer mosaic of
/// any size from 2x2 is interpolated bilinearly ([`bayer`]).
///
/// # Errors
/// A [`FrameError`] of the picture itself: of its encoding, size, data or file. The buffer's contents are then unspecified.
pub fn decode<'a>(pixels: &Pixels<'a>, limits: &Limits, buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, FrameError> {
    let (width, height, stride_bytes, encoding, data) = match *pixels {
        Pixels::Compressed { format, data } => {
            let size = codec::decode(data, format, limits, buffer)?;
            return Ok(Decoded { image: RgbView { size, data: buffer }, notes: DecodeNotes::default() });
        }
        Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data } => {
            (width, height, stride_bytes, Encoding::parse(encoding, is_bigendian)?, data)
        }
    };
    let size = Size { height, width };
    let (layout, notes) = Layout::check(encoding, size, stride_bytes, data)?;
    let rgb_bytes = rgb_bytes(size, limits)?;
    if encoding == Encoding::Rgb8 && layout.first.is_tight() {
        return Ok(Decoded { image: RgbView { size, data: &layout.first.data[..rgb_bytes] }, notes });
    }
    buffer.resize(rgb_bytes, 0);
    convert(encoding, &layout, size, buffer);
    Ok(Decoded { image: RgbView { size, data: buffer }, notes })
}

/// Bytes of a picture in RGB.
fn rgb_bytes(size: Size, limits: &Limits) -> Result<usize, FrameError> {
    let Size { width, height } = size;
    let too_large = FrameError::TooLarge { width, height, max_image_pixels: limits.max_image_pixels };
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_image_pixels {
        return Err(too_large);
    }
    pixels.checked_mul(3).and_then(|bytes| usize::try_from(bytes).ok()).ok_or(too_large)
}

/// Fills `rgb`, of exactly `size`, from planes of checked sizes.
fn convert(encoding: Encoding, layout: &Layout<'_>, size: Size, rgb: &mut [u8]) {
    let mut per_row = |convert_row: fn(&[u8], &mut [u8])| {
        let rgb_rows = rgb.chunks_exact_mut(3 * size.width as usize);
        layout.first.rows().zip(rgb_rows).for_each(|(from, to)| convert_row(from, to));
    };
    match encoding {
        Encoding::Rgb8 => per_row(|from, to| to.copy_from_slice(from)),
        Encoding::Bgr8 => per_row(packed::bgr8),
        Encoding::Rgba8 => per_row(packed::rgba8),
        Encoding::Bgra8 => per_row(packed::bgra8),
        Encoding::Mono8 => per_row(packed::mono8),
        Encoding::Mono16(endian) => per_row(packed::mono16(endian)),
        Encoding::Uyvy => per_row(yuv::uyvy),
        Encoding::Yuyv => per_row(yuv::yuyv),
        Encoding::Nv12 => yuv::planes(layout, yuv::nv12, 2, rgb),
        Encoding::Nv21 => yuv::planes(layout, yuv::nv21, 2, rgb),
        Encoding::Nv24 => yuv::planes(layout, yuv::nv24, 1, rgb),
        Encoding::Bayer8(pattern) => bayer::bilinear(pattern, &layout.first, rgb),
    }
}
