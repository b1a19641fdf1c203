//! The depth image of a message, read in place.

use super::DepthError;
use crate::{
    contract::Size,
    perceive::{FrameError, Pixels, frame::Endian, frame::excerpt},
};

/// Half of the values above this [m] are no metres: no depth camera sees that far.
const FARTHEST_PLAUSIBLE_M: f32 = 100.0;
/// Pixels looked at to tell metres from millimetres.
const SURVEY_PIXELS: usize = 4096;

/// Depth along the optical axis for each pixel (REP-118), borrowed from the message. Every row lies within the data.
#[derive(Debug, Clone, Copy)]
pub struct DepthImage<'a> {
    size: Size,
    sample: Sample,
    stride: usize,
    data: &'a [u8],
}

/// How one pixel is written. The unit follows from the encoding, never from a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    /// 16UC1, mono16.
    Millimetres(Endian),
    /// 32FC1.
    Metres(Endian),
}

impl Sample {
    fn parse(encoding: &str, is_bigendian: bool) -> Result<Self, DepthError> {
        let endian = if is_bigendian { Endian::Big } else { Endian::Little };
        match encoding {
            "16UC1" | "mono16" => Ok(Self::Millimetres(endian)),
            "32FC1" => Ok(Self::Metres(endian)),
            _ => Err(DepthError::Encoding { found: excerpt(encoding) }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Millimetres(_) => "16UC1",
            Self::Metres(_) => "32FC1",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Millimetres(_) => 2,
            Self::Metres(_) => 4,
        }
    }
}

impl<'a> DepthImage<'a> {
    /// Checks a message's sizes against each other, its data and `max_image_pixels`. Allocates nothing.
    ///
    /// # Errors
    /// [`DepthError::Encoding`] (compressed depth is not taken either) and [`DepthError::Image`].
    pub fn new(pixels: &Pixels<'a>, max_image_pixels: u64) -> Result<Self, DepthError> {
        let (width, height, encoding, is_bigendian, stride_bytes, data) = match *pixels {
            Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data } => {
                (width, height, encoding, is_bigendian, stride_bytes, data)
            }
            Pixels::Compressed { format, .. } => return Err(DepthError::Encoding { found: excerpt(format) }),
        };
        let sample = Sample::parse(encoding, is_bigendian)?;
        let encoding = sample.name();
        if width == 0 || height == 0 {
            return Err(FrameError::ZeroSize { width, height }.into());
        }
        if u64::from(width) * u64::from(height) > max_image_pixels {
            return Err(FrameError::TooLarge { width, height, max_image_pixels }.into());
        }
        let row_bytes = u64::from(width) * sample.bytes() as u64;
        let stride = if stride_bytes == 0 { row_bytes } else { u64::from(stride_bytes) };
        if stride < row_bytes {
            let expected_bytes = row_bytes;
            return Err(FrameError::StrideTooSmall { encoding, width, stride_bytes, expected_bytes }.into());
        }
        // Two factors of 32 bits each.
        let (expected_bytes, found_bytes) = (stride.saturating_mul(u64::from(height)), data.len() as u64);
        if stride_bytes == 0 && found_bytes != expected_bytes {
            return Err(FrameError::StrideZero { encoding, width, height, expected_bytes, found_bytes }.into());
        }
        if found_bytes < expected_bytes {
            let error = FrameError::DataTooShort { encoding, width, height, stride_bytes, expected_bytes, found_bytes };
            return Err(error.into());
        }
        // The stride fits usize: it is at most the length of the data.
        Ok(Self { size: Size { height, width }, sample, stride: stride as usize, data })
    }

    /// Rows and columns.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Depth of a pixel [m]: positive; infinite where the sensor says "too far" (REP-117); NaN where it says nothing
    /// (NaN, minus infinity, zero, negative) or outside of the image.
    pub fn at(&self, x: u32, y: u32) -> f32 {
        if x >= self.size.width || y >= self.size.height {
            return f32::NAN;
        }
        let bytes = self.sample.bytes();
        let start = y as usize * self.stride + x as usize * bytes;
        let metres = match (self.sample, self.data.get(start..start + bytes)) {
            (Sample::Millimetres(Endian::Little), Some(&[a, b])) => f32::from(u16::from_le_bytes([a, b])) * 1e-3,
            (Sample::Millimetres(Endian::Big), Some(&[a, b])) => f32::from(u16::from_be_bytes([a, b])) * 1e-3,
            (Sample::Metres(Endian::Little), Some(&[a, b, c, d])) => f32::from_le_bytes([a, b, c, d]),
            (Sample::Metres(Endian::Big), Some(&[a, b, c, d])) => f32::from_be_bytes([a, b, c, d]),
            _ => f32::NAN,
        };
        if metres > 0.0 { metres } else { f32::NAN }
    }

    /// Is this depth of metres, and is there any between `min_m` and `max_m`?
    ///
    /// # Errors
    /// [`DepthError::LooksLikeMillimetres`], [`DepthError::NoValidPixel`].
    pub fn check_values(&self, min_m: f64, max_m: f64) -> Result<(), DepthError> {
        let Size { width, height } = self.size;
        let pixels = width as usize * height as usize;
        // An odd step does not fall into the rhythm of columns or of a pattern of holes.
        let step = (pixels / SURVEY_PIXELS) | 1;
        // Both fit u32: they are below the image's own sides.
        let pixel = |index: usize| self.at((index % width as usize) as u32, (index / width as usize) as u32);
        let mut values: Vec<f32> = (0..pixels).step_by(step).map(pixel).filter(|depth| depth.is_finite()).collect();
        if !values.is_empty() {
            let middle = values.len() / 2;
            let (_, &mut median_m, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
            if median_m > FARTHEST_PLAUSIBLE_M {
                return Err(DepthError::LooksLikeMillimetres { median_m });
            }
        }
        let is_valid = |depth: f32| (min_m..=max_m).contains(&f64::from(depth));
        // Few valid pixels may all lie between those looked at.
        if values.into_iter().any(is_valid) || (0..pixels).map(pixel).any(is_valid) {
            Ok(())
        } else {
            Err(DepthError::NoValidPixel { min_m, max_m })
        }
    }
}
