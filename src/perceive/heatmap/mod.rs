//! Class maps to heat: half-pixel-centre bilinear upsampling, then min-max to [0, 1] (the evaluation protocol of LOCATE
//! and LoopTrans, with its epsilon of 1e-10).

pub(crate) mod axis;
mod rows;
mod upsample;

use std::sync::Arc;

pub use rows::HeatRows;
pub use upsample::{HeatScale, Upsampler};

pub use crate::config::{HeatmapEncoding, HeatmapSize};
use crate::contract::Size;

/// Heat in [0, 1] as a picture, laid out as sensor_msgs/Image carries it: tight rows, little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeatImage {
    /// Rows and columns.
    pub size: Size,
    /// How `data` is written.
    pub encoding: HeatmapEncoding,
    /// `size.height` rows of [`Self::stride_bytes`] bytes.
    pub data: Vec<u8>,
}

/// One affordance's heat over the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// Index into the contract's actions.
    pub class_id: u16,
    /// The action's name.
    pub affordance: Arc<str>,
    /// How much the whole picture affords the action, in [0, 1]. The heat is scaled per picture: only this says whether.
    pub presence: f32,
    /// The highest heat, in [0, 1]: 1 but for a flat map, which is 0 everywhere.
    pub peak: f32,
    /// Where it lies, in source pixels (centre of the top left pixel = 0, x right).
    pub peak_x: f32,
    /// Where it lies, in source pixels (y down).
    pub peak_y: f32,
    /// The heat.
    pub heat: HeatRows,
    /// Source pixels per heat pixel along x: `x_source = (x + 0.5) * scale_x - 0.5`.
    pub scale_x: f32,
    /// Source pixels per heat pixel along y.
    pub scale_y: f32,
}

impl HeatmapEncoding {
    /// Bytes of one pixel.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Mono8 => 1,
            Self::Float32 => 4,
        }
    }

    /// Bytes of a row of a picture of this size.
    pub(super) fn stride_bytes(self, size: Size) -> usize {
        size.width as usize * self.bytes_per_pixel()
    }
}

impl HeatImage {
    /// Bytes from one row to the next.
    pub fn stride_bytes(&self) -> usize {
        self.encoding.stride_bytes(self.size)
    }
}

#[cfg(test)]
mod tests;
