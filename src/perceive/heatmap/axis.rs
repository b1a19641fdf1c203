//! Half-pixel-centre bilinear sampling along one axis.

use std::ops::Range;

/// Where each output sample lies between two input samples: output centre `i + 0.5` scaled to input, clamped to the
/// input's first and last centre (PyTorch's `interpolate(mode="bilinear", align_corners=False)`, no antialiasing).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Axis {
    inputs: usize,
    /// Weight of the upper input sample, per output sample.
    pub weight: Vec<f32>,
    /// Runs of output samples between the same two input samples, in order and without gaps. Within a run the weight
    /// never falls.
    pub cells: Vec<Cell>,
}

/// The output samples between two neighbouring input samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Index of the input sample before.
    pub lower: usize,
    /// Index of the input sample after; the same one past the last centre.
    pub upper: usize,
    /// The output samples.
    pub outputs: Range<usize>,
}

impl Axis {
    /// `inputs` -> `outputs` samples (both at least 1).
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let mut new = Self { inputs, weight: Vec::with_capacity(outputs), cells: Vec::new() };
        let scale = inputs as f64 / outputs as f64;
        for output in 0..outputs {
            let position = ((output as f64 + 0.5) * scale - 0.5).clamp(0.0, (inputs - 1) as f64);
            let lower = position as usize;
            new.weight.push((position - lower as f64) as f32);
            match new.cells.last_mut() {
                Some(cell) if cell.lower == lower => cell.outputs.end = output + 1,
                _ => new.cells.push(Cell { lower, upper: (lower + 1).min(inputs - 1), outputs: output..output + 1 }),
            }
        }
        new
    }

    /// How many samples a line of input has.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Interpolates one line of input samples to all output samples.
    #[inline(always)]
    pub fn interpolate(&self, line: &[f32], out: &mut [f32]) {
        for cell in &self.cells {
            let (a, d) = (line[cell.lower], line[cell.upper] - line[cell.lower]);
            for (o, w) in out[cell.outputs.clone()].iter_mut().zip(&self.weight[cell.outputs.clone()]) {
                *o = a + w * d;
            }
        }
    }

    /// The first and last output sample of each cell. A function that is linear within every cell has its extremes
    /// over all output samples among these.
    pub fn ends(&self) -> impl Iterator<Item = (&Cell, usize)> {
        self.cells.iter().flat_map(|cell| {
            let (first, last) = (cell.outputs.start, cell.outputs.end - 1);
            std::iter::once((cell, first)).chain((last != first).then_some((cell, last)))
        })
    }
}
