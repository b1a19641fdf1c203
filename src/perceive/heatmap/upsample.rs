//! Class maps to heat, in one pass over the output.

use std::sync::Arc;

use pulp::Arch;

use super::{HeatImage, HeatRows, HeatmapEncoding, axis::Axis};
use crate::{contract::Size, perceive::FrameError};

/// The evaluation protocol's epsilon: keeps a flat map from dividing by zero.
const RANGE_EPSILON: f32 = 1e-10;
/// Adding 2^23 moves a small non-negative float's rounded whole part into its lowest bits: a rounding conversion to u8
/// that vectorises, unlike `round() as u8` with its saturation.
const ROUND_TO_LOW_BITS: f32 = 8_388_608.0;

/// How one class map turns into heat: `heat = (value - low) * gain`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeatScale {
    /// The lowest value of the upsampled map.
    pub low: f32,
    /// Highest minus lowest value: 0 for a flat map.
    pub range: f32,
    /// `1 / (range + 1e-10)`; 0 for a flat map.
    pub gain: f32,
    /// The highest heat: 1 to float precision, or 0 for a flat map.
    pub peak: f32,
    /// Where it lies, in pixels of the output grid (x, y). The first in row order if there are several.
    pub peak_at: [usize; 2],
}

/// Upsamples class maps (f32 [h, w], row-major) to one output size. Keeps its tables and buffers from map to map.
#[derive(Debug)]
pub struct Upsampler {
    map: Size,
    out: Size,
    x: Axis,
    /// Shared with what is written later.
    y: Arc<Axis>,
    /// Class map rows interpolated along x: f32 [h, W] for one map, [2, A, W] for a combined one.
    rows: Vec<f32>,
    best: Vec<f32>,
    candidates: Vec<Candidate>,
    /// The widest vectors of this processor. What its `dispatch` runs must be inlined, to be compiled for them.
    arch: Arch,
}

impl Upsampler {
    /// From `map` cells to `out` pixels; every side must be at least 1.
    pub fn new(map: Size, out: Size) -> Self {
        let x = Axis::new(map.width as usize, out.width as usize);
        let y = Arc::new(Axis::new(map.height as usize, out.height as usize));
        let (rows, best, candidates) = (Vec::new(), Vec::new(), Vec::new());
        Self { map, out, x, y, rows, best, candidates, arch: Arch::new() }
    }

    /// Changes the output size; free when it is the same.
    pub fn set_output(&mut self, out: Size) {
        if out != self.out {
            self.x = Axis::new(self.map.width as usize, out.width as usize);
            self.y = Arc::new(Axis::new(self.map.height as usize, out.height as usize));
            self.out = out;
        }
    }

    /// The output size.
    pub fn output(&self) -> Size {
        self.out
    }

    /// Finds the extremes of the upsampled map without making it: a bilinear function on a grid of samples has them at
    /// corners of the grid's part within each cell.
    ///
    /// # Errors
    /// The map holds NaN or infinity, or spans more than an f32 can.
    pub fn scale(&self, map: &[f32]) -> Result<HeatScale, FrameError> {
        if let Some(value) = map.iter().find(|v| !v.is_finite()) {
            return Err(FrameError::Inference(format!("a class map holds {value}")));
        }
        let (bottom, top) = map.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(b, t), v| (v.min(b), v.max(t)));
        if !(top - bottom).is_finite() {
            return Err(FrameError::Inference(format!("a class map spans {bottom} to {top}")));
        }
        let (mut low, mut high, mut peak_at) = (f32::INFINITY, f32::NEG_INFINITY, [0, 0]);
        for (row, y) in self.y.ends() {
            for (column, x) in self.x.ends() {
                let along_x = |line: usize| {
                    let line = &map[line * self.map.width as usize..];
                    let (a, b) = (line[column.lower], line[column.upper]);
                    a + self.x.weight[x] * (b - a)
                };
                let top = along_x(row.lower);
                let value = top + self.y.weight[y] * (along_x(row.upper) - top);
                low = low.min(value);
                if value > high {
                    (high, peak_at) = (value, [x, y]);
                }
            }
        }
        let range = high - low;
        // A flat map is cold: the epsilon alone would stretch rounding errors to full heat.
        let gain = if range > 0.0 { 1.0 / (range + RANGE_EPSILON) } else { 0.0 };
        Ok(HeatScale { low, range, gain, peak: (range * gain).min(1.0), peak_at })
    }

    /// One map's heat, to be written as a picture in this encoding.
    pub fn prepare(&self, map: &[f32], scale: &HeatScale, encoding: HeatmapEncoding, out: &mut HeatRows) {
        (out.size, out.encoding) = (self.out, encoding);
        out.y.clone_from(&self.y);
        self.arch.dispatch(
            #[inline(always)]
            || interpolate_rows(map, (&self.x, scale, full_scale(encoding)), &mut out.rows),
        );
    }

    /// Writes one map's heat as a picture.
    fn render(&mut self, map: &[f32], scale: &HeatScale, out: &mut HeatImage) {
        self.prepare_image(out);
        let Self { x, y, rows, .. } = self;
        let HeatImage { size, encoding, data } = out;
        self.arch.dispatch(
            #[inline(always)]
            || {
                interpolate_rows(map, (x, scale, full_scale(*encoding)), rows);
                write_pixels(rows, y, (*size, *encoding), data);
            },
        );
    }

    /// Writes one map's heat as f32 [H, W].
    pub fn render_values(&mut self, map: &[f32], scale: &HeatScale, out: &mut Vec<f32>) {
        let width = self.out.width as usize;
        out.resize(width * self.out.height as usize, 0.0);
        let Self { x, y, rows, .. } = self;
        self.arch.dispatch(
            #[inline(always)]
            || {
                interpolate_rows(map, (x, scale, 1.0), rows);
                for_each_row(rows, y, width, |y, top, bottom, t| {
                    let row = &mut out[y * width..][..width];
                    for (o, (a, b)) in row.iter_mut().zip(top.iter().zip(bottom)) {
                        *o = clamp(a + t * (b - a), 1.0);
                    }
                });
            },
        );
    }

    /// Writes the pixelwise maximum of the heat of several maps.
    ///
    /// Most maps are nowhere near the maximum in most places: a map whose highest corner of a block lies below another's
    /// lowest corner is left out of that block.
    pub fn render_max(&mut self, maps: &[(&[f32], HeatScale)], out: &mut HeatImage) {
        if let [(map, scale)] = maps {
            return self.render(map, scale, out);
        }
        self.prepare_image(out);
        self.arch.dispatch(
            #[inline(always)]
            || self.render_blocks(maps, out),
        );
    }

    #[inline(always)]
    fn render_blocks(&mut self, maps: &[(&[f32], HeatScale)], out: &mut HeatImage) {
        let (encoding, stride_bytes) = (out.encoding, out.stride_bytes());
        let (columns, width, full) = (self.map.width as usize, self.out.width as usize, full_scale(out.encoding));
        let Self { x, y, rows, best, candidates, .. } = self;
        rows.resize(2 * maps.len() * width, 0.0);
        for band in &y.cells {
            let (tops, bottoms) = rows.split_at_mut(maps.len() * width);
            for (half, line) in [(&mut *tops, band.lower), (&mut *bottoms, band.upper)] {
                for (out, (map, scale)) in half.chunks_exact_mut(width).zip(maps) {
                    interpolate_scaled(x, &map[line * columns..][..columns], scale, full, out);
                }
            }
            for from in band.outputs.clone().step_by(BLOCK_ROWS) {
                let weights = &y.weight[from..band.outputs.end.min(from + BLOCK_ROWS)];
                for cell in &x.cells {
                    let span = cell.outputs.clone();
                    let block = Block { tops, bottoms, width, span: span.clone(), weights };
                    block.select_candidates(SLACK * full, candidates);
                    block.maximum(candidates, best);
                    let bytes = encoding.bytes_per_pixel();
                    let targets = out.data[from * stride_bytes..].chunks_exact_mut(stride_bytes);
                    for (values, target) in best.chunks_exact(span.len()).zip(targets) {
                        let target = &mut target[span.start * bytes..span.end * bytes];
                        write_row(encoding, values.iter().copied(), target);
                    }
                }
            }
        }
    }

    fn prepare_image(&self, out: &mut HeatImage) {
        out.size = self.out;
        out.data.resize(out.stride_bytes() * self.out.height as usize, 0);
    }
}

/// Fills `rows` [h, W] with the map's rows interpolated along x, as heat times `full`.
#[inline(always)]
fn interpolate_rows(map: &[f32], (x, scale, full): (&Axis, &HeatScale, f32), rows: &mut Vec<f32>) {
    let (inputs, width) = (x.inputs(), x.weight.len());
    rows.resize(width * (map.len() / inputs), 0.0);
    for (line, out) in map.chunks_exact(inputs).zip(rows.chunks_exact_mut(width)) {
        interpolate_scaled(x, line, scale, full, out);
    }
}

/// Calls `write(y, row above, row below, weight of the row below)` for every output row.
#[inline(always)]
fn for_each_row(rows: &[f32], y: &Axis, width: usize, mut write: impl FnMut(usize, &[f32], &[f32], f32)) {
    for band in &y.cells {
        let (top, bottom) = (&rows[band.lower * width..][..width], &rows[band.upper * width..][..width]);
        for row in band.outputs.clone() {
            write(row, top, bottom, y.weight[row]);
        }
    }
}

/// Writes a picture whose class map was interpolated along x.
#[inline(always)]
pub(super) fn write_pixels(rows: &[f32], y: &Axis, (size, encoding): (Size, HeatmapEncoding), out: &mut [u8]) {
    let stride_bytes = encoding.stride_bytes(size);
    for_each_row(rows, y, size.width as usize, |y, top, bottom, t| {
        let row = &mut out[y * stride_bytes..][..stride_bytes];
        let values = top.iter().zip(bottom).map(|(a, b)| a + t * (b - a));
        write_row(encoding, values, row);
    });
}

/// What heat 1.0 is in the encoding's own units.
fn full_scale(encoding: HeatmapEncoding) -> f32 {
    match encoding {
        HeatmapEncoding::Mono8 => 255.0,
        HeatmapEncoding::Float32 => 1.0,
    }
}

/// Heat that rounding may add to an interpolated value, generously.
const SLACK: f32 = 1e-4;

/// Rows of a block: enough to pay for choosing its maps, few enough to leave most of them out.
const BLOCK_ROWS: usize = 8;

/// Output pixels within one cell, where every map is bilinear.
struct Block<'a> {
    /// [A, W]: the map row above, interpolated along x.
    tops: &'a [f32],
    /// [A, W]: the map row below.
    bottoms: &'a [f32],
    width: usize,
    /// The block's columns.
    span: std::ops::Range<usize>,
    /// Per row of the block, the weight of the map row below.
    weights: &'a [f32],
}

/// A map with its lowest and highest heat in a block.
type Candidate = (usize, f32, f32);

impl Block<'_> {
    /// The maps that can hold the maximum somewhere in the block.
    #[inline(always)]
    fn select_candidates(&self, slack: f32, candidates: &mut Vec<Candidate>) {
        let (first, last) = (self.span.start, self.span.end - 1);
        let (t0, t1) = (self.weights[0], self.weights[self.weights.len() - 1]);
        candidates.clear();
        let mut floor = f32::NEG_INFINITY;
        let rows = self.tops.chunks_exact(self.width).zip(self.bottoms.chunks_exact(self.width));
        for (i, (top, bottom)) in rows.enumerate() {
            let (left, right) = (bottom[first] - top[first], bottom[last] - top[last]);
            let corners =
                [top[first] + t0 * left, top[first] + t1 * left, top[last] + t0 * right, top[last] + t1 * right];
            let (low, high) = corners.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
                (if *v < low { *v } else { low }, if *v > high { *v } else { high })
            });
            floor = if low > floor { low } else { floor };
            candidates.push((i, low, high));
        }
        candidates.retain(|(_, _, high)| high + slack >= floor);
    }

    /// Their pixelwise maximum, row by row.
    #[inline(always)]
    fn maximum(&self, candidates: &[Candidate], best: &mut Vec<f32>) {
        best.clear();
        best.resize(self.weights.len() * self.span.len(), 0.0);
        for (i, _, _) in candidates {
            let top = &self.tops[i * self.width..][self.span.clone()];
            let bottom = &self.bottoms[i * self.width..][self.span.clone()];
            for (row, t) in best.chunks_exact_mut(self.span.len()).zip(self.weights) {
                for (o, (a, b)) in row.iter_mut().zip(top.iter().zip(bottom)) {
                    let value = a + t * (b - a);
                    *o = if value > *o { value } else { *o };
                }
            }
        }
    }
}

/// One map row interpolated along x, then scaled: the same arithmetic wherever a row is needed, so that all pictures
/// of one map agree exactly. Not clamped: a row of the map may lie above what the output grid samples of it.
#[inline(always)]
fn interpolate_scaled(x: &Axis, line: &[f32], scale: &HeatScale, full: f32, out: &mut [f32]) {
    x.interpolate(line, out);
    let gain = scale.gain * full;
    for value in out {
        *value = (*value - scale.low) * gain;
    }
}

/// Rounding leaves [0, `full`] by as much as the map's offset is larger than its range; two instructions, where
/// `f32::clamp` spends more on NaN.
#[inline(always)]
fn clamp(value: f32, full: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < full { value } else { full }
}

#[inline(always)]
fn write_row(encoding: HeatmapEncoding, values: impl Iterator<Item = f32>, row: &mut [u8]) {
    match encoding {
        HeatmapEncoding::Mono8 => {
            for (o, v) in row.iter_mut().zip(values) {
                *o = (clamp(v, 255.0) + ROUND_TO_LOW_BITS).to_bits() as u8;
            }
        }
        HeatmapEncoding::Float32 => {
            for (o, v) in row.chunks_exact_mut(4).zip(values) {
                o.copy_from_slice(&clamp(v, 1.0).to_le_bytes());
            }
        }
    }
}
