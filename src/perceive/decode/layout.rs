//! Where the rows of a raw image lie, checked against the bytes that came.

use super::DecodeNotes;
use crate::contract::Size;
use crate::perceive::frame::{Encoding, FrameError};

/// Rows of equal length at equal distances. The sizes have been checked: every row lies within `data`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane<'a> {
    /// `stride * height` bytes.
    pub data: &'a [u8],
    /// Bytes from one row to the next, at least `row_bytes`.
    pub stride: usize,
    /// Bytes of one row that hold pixels.
    pub row_bytes: usize,
}

impl<'a> Plane<'a> {
    /// The rows from top to bottom, without their padding.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let row_bytes = self.row_bytes;
        self.data.chunks_exact(self.stride).map(move |row| &row[..row_bytes])
    }

    /// Whether rows follow each other without padding.
    pub fn is_tight(&self) -> bool {
        self.stride == self.row_bytes
    }
}

/// A raw image's planes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    /// All pixels, or Y.
    pub first: Plane<'a>,
    /// Chroma pairs of nv12, nv21 and nv24; empty for the others.
    pub second: Plane<'a>,
}

/// A plane's sizes before they are known to fit the data or even the address space.
#[derive(Default)]
struct Extent {
    stride: u64,
    row_bytes: u64,
    rows: u64,
}

impl Extent {
    /// Saturates where no message could be that long.
    fn bytes(&self) -> u64 {
        self.stride.saturating_mul(self.rows)
    }

    fn plane<'a>(&self, data: &'a [u8]) -> Plane<'a> {
        // Fits: both are at most the length of the data (or there are no rows).
        Plane { data, stride: (self.stride as usize).max(1), row_bytes: self.row_bytes as usize }
    }
}

impl<'a> Layout<'a> {
    /// Checks a message's sizes against each other and its data, before a pixel is read.
    ///
    /// The step is that of the first plane. As in V4L2, the second plane's is the same (4:2:0) or twice it (4:4:4);
    /// without padding and with odd width a 4:2:0 chroma row is a byte longer than a row of Y.
    pub fn check(
        encoding: Encoding,
        size: Size,
        stride_bytes: u32,
        data: &'a [u8],
    ) -> Result<(Self, DecodeNotes), FrameError> {
        let Size { width, height } = size;
        if width == 0 || height == 0 {
            return Err(FrameError::ZeroSize { width, height });
        }
        if let Some(need) = unfit(encoding, size) {
            return Err(FrameError::SizeUnfit { encoding: encoding.name(), need, width, height });
        }
        let row_bytes = row_bytes(encoding, width);
        let stride = if stride_bytes == 0 { row_bytes } else { u64::from(stride_bytes) };
        if stride < row_bytes {
            let encoding = encoding.name();
            return Err(FrameError::StrideTooSmall { encoding, width, stride_bytes, expected_bytes: row_bytes });
        }
        let first = Extent { stride, row_bytes, rows: u64::from(height) };
        let second = chroma(encoding, size, stride);
        let (expected_bytes, found_bytes) = (first.bytes().saturating_add(second.bytes()), data.len() as u64);
        let encoding = encoding.name();
        if stride_bytes == 0 && found_bytes != expected_bytes {
            return Err(FrameError::StrideZero { encoding, width, height, expected_bytes, found_bytes });
        }
        if found_bytes < expected_bytes {
            return Err(FrameError::DataTooShort {
                encoding,
                width,
                height,
                stride_bytes,
                expected_bytes,
                found_bytes,
            });
        }
        // Both fit usize: they are at most the length of the data.
        let (first_data, rest) = data.split_at(first.bytes() as usize);
        let second_data = &rest[..second.bytes() as usize];
        let notes = DecodeNotes { stride_was_zero: stride_bytes == 0, extra_bytes: found_bytes - expected_bytes };
        Ok((Self { first: first.plane(first_data), second: second.plane(second_data) }, notes))
    }
}

/// What the encoding asks of a size that does not have it.
fn unfit(encoding: Encoding, size: Size) -> Option<&'static str> {
    match encoding {
        Encoding::Uyvy | Encoding::Yuyv if !size.width.is_multiple_of(2) => Some("an even width"),
        Encoding::Bayer8(_) if size.width < 2 || size.height < 2 => Some("at least 2x2 pixels"),
        _ => None,
    }
}

/// Bytes of one row of the first plane, without padding.
fn row_bytes(encoding: Encoding, width: u32) -> u64 {
    let bytes_per_pixel = match encoding {
        Encoding::Rgb8 | Encoding::Bgr8 => 3,
        Encoding::Rgba8 | Encoding::Bgra8 => 4,
        Encoding::Mono16(_) | Encoding::Uyvy | Encoding::Yuyv => 2,
        Encoding::Mono8 | Encoding::Bayer8(_) | Encoding::Nv12 | Encoding::Nv21 | Encoding::Nv24 => 1,
    };
    u64::from(width) * bytes_per_pixel
}

/// The plane of chroma pairs.
fn chroma(encoding: Encoding, size: Size, stride: u64) -> Extent {
    match encoding {
        Encoding::Nv12 | Encoding::Nv21 => {
            let row_bytes = 2 * u64::from(size.width).div_ceil(2);
            Extent { stride: stride.max(row_bytes), row_bytes, rows: u64::from(size.height).div_ceil(2) }
        }
        Encoding::Nv24 => {
            Extent { stride: 2 * stride, row_bytes: 2 * u64::from(size.width), rows: u64::from(size.height) }
        }
        _ => Extent::default(),
    }
}
