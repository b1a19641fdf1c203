//! Heat that becomes pixels where they are needed.

use std::sync::Arc;

use pulp::Arch;

use super::{HeatImage, HeatmapEncoding, axis::Axis, upsample};
use crate::contract::Size;

/// One map's heat, interpolated along x only: some kilobytes. Along y it is when its pixels are written, which is straight
/// into the message or file that carries them, so that a picture of megabytes is written once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatRows {
    pub(super) size: Size,
    pub(super) encoding: HeatmapEncoding,
    /// f32 [h, W]: the class map's rows, in the encoding's units.
    pub(super) rows: Vec<f32>,
    pub(super) y: Arc<Axis>,
}

impl HeatRows {
    /// Rows and columns of the picture.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How its pixels are written.
    pub fn encoding(&self) -> HeatmapEncoding {
        self.encoding
    }

    /// Bytes from one row to the next.
    pub fn stride_bytes(&self) -> usize {
        self.encoding.stride_bytes(self.size)
    }

    /// Bytes of all its rows.
    pub fn bytes(&self) -> usize {
        self.stride_bytes() * self.size.height as usize
    }

    /// Writes its pixels, row by row without gaps, to `out`, which has room for [`Self::bytes`].
    pub fn write(&self, out: &mut [u8]) {
        Arch::new().dispatch(
            #[inline(always)]
            || upsample::write_pixels(&self.rows, &self.y, (self.size, self.encoding), out),
        );
    }

    /// The picture.
    pub fn image(&self) -> HeatImage {
        let mut data = vec![0; self.bytes()];
        self.write(&mut data);
        HeatImage { size: self.size, encoding: self.encoding, data }
    }
}
