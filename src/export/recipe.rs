//! What a graph is asked to be.

use super::{ExportError, graph::Batch, rewrites::Rewrites, weights::Weights};
use crate::contract::{Calibration, PresenceSource, Size};

/// Longest side of an input in pixels. The contract's own limit; the attention's memory ends long before it.
const MAX_SIDE: u32 = 8192;

/// What [`super::theta_pixel::model`] builds.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphOptions {
    /// Where presence comes from.
    pub presence: PresenceSource,
    /// What makes it a probability.
    pub calibration: Calibration,
    /// The classifier's channels that become outputs, in this order.
    pub classes: Vec<usize>,
    /// Height and width of the input in pixels, multiples of the patch. At another size than the trained one the position
    /// table is resized as DINO does.
    pub input: Size,
    /// Images at a time.
    pub batch: Batch,
    /// How the function is computed.
    pub rewrites: Rewrites,
}

impl GraphOptions {
    /// All actions at the trained size, batches of any size, the standard rewrites.
    pub fn new(weights: &Weights, presence: PresenceSource) -> Self {
        Self {
            presence,
            calibration: Calibration::NONE,
            classes: (0..weights.description.actions.len()).collect(),
            input: weights.sizes.input(),
            batch: Batch::Varies,
            rewrites: Rewrites::standard(),
        }
    }
}

/// Patches along the height and the width of an image: the cells of a class map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches.
    pub columns: usize,
}

impl Grid {
    /// Patches of an image.
    pub fn patches(self) -> usize {
        self.rows * self.columns
    }
}

/// What every part of a graph is built from.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// The numbers.
    pub weights: &'a Weights,
    /// The places of the patches.
    pub grid: Grid,
    /// How the function is computed.
    pub rewrites: Rewrites,
}

impl<'a> Recipe<'a> {
    /// The recipe for inputs of this size.
    ///
    /// # Errors
    /// A side that is no multiple of the patch, or too long.
    pub fn new(weights: &'a Weights, input: Size, rewrites: Rewrites) -> Result<Self, ExportError> {
        let patch = weights.sizes.patch;
        let fits = |side: u32| (1..=MAX_SIDE).contains(&side) && (side as usize).is_multiple_of(patch);
        if !fits(input.height) || !fits(input.width) {
            return Err(ExportError::InputSize { found: input, patch, longest: MAX_SIDE });
        }
        let grid = Grid { rows: input.height as usize / patch, columns: input.width as usize / patch };
        Ok(Self { weights, grid, rewrites })
    }
}
