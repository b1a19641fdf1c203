//! Class maps to heat, in one pass over the output.

use super::{
    HeatImage, HeatmapEncoding,
    axis::{Axis, Cell},
};
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
    y: Axis,
    /// Class map rows interpolated along x: f32 [h, W] for one map, [2, A, W] for a combined one.
    rows: Vec<f32>,
    row: Vec<f32>,
    candidates: Vec<usize>,
}

impl Upsampler {
    /// From `map` cells to `out` pixels; every side must be at least 1.
    pub fn new(map: Size, out: Size) -> Self {
        let (x, y) = (Axis::default(), Axis::default());
        let mut new = Self { map, out, x, y, rows: Vec::new(), row: Vec::new(), candidates: Vec::new() };
        new.set_output(out);
        new
    }

    /// Changes the output size.
    pub fn set_output(&mut self, out: Size) {
        self.out = out;
        self.x.prepare(self.map.width as usize, out.width as usize);
        self.y.prepare(self.map.height as usize, out.height as usize);
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

    /// Writes one map's heat as a picture.
    pub fn render(&mut self, map: &[f32], scale: &HeatScale, out: &mut HeatImage) {
        self.prepare_image(out);
        let encoding = out.encoding;
        self.interpolate_rows(map, scale, full_scale(encoding));
        let stride_bytes = out.stride_bytes();
        self.for_each_row(|y, top, bottom, t| {
            let row = &mut out.data[y * stride_bytes..][..stride_bytes];
            let values = top.iter().zip(bottom).map(|(a, b)| a + t * (b - a));
            write_row(encoding, values, row);
        });
    }

    /// Writes one map's heat as f32 [H, W].
    pub fn render_values(&mut self, map: &[f32], scale: &HeatScale, out: &mut Vec<f32>) {
        let width = self.out.width as usize;
        out.resize(width * self.out.height as usize, 0.0);
        self.interpolate_rows(map, scale, 1.0);
        self.for_each_row(|y, top, bottom, t| {
            let row = &mut out[y * width..][..width];
            for (o, (a, b)) in row.iter_mut().zip(top.iter().zip(bottom)) {
                *o = clamp(a + t * (b - a), 1.0);
            }
        });
    }

    /// Writes the pixelwise maximum of the heat of several maps.
    ///
    /// Most maps are nowhere near the maximum in most cells: a map whose highest corner lies below another's lowest
    /// corner is left out of that cell.
    pub fn render_max(&mut self, maps: &[(&[f32], HeatScale)], out: &mut HeatImage) {
        self.prepare_image(out);
        let (encoding, stride_bytes) = (out.encoding, out.stride_bytes());
        let (columns, width, full) = (self.map.width as usize, self.out.width as usize, full_scale(out.encoding));
        let Self { x, y, rows, row, candidates, .. } = self;
        rows.resize(2 * maps.len() * width, 0.0);
        row.resize(width, 0.0);
        for band in &y.cells {
            let (tops, bottoms) = rows.split_at_mut(maps.len() * width);
            for (half, line) in [(&mut *tops, band.lower), (&mut *bottoms, band.upper)] {
                for (out, (map, scale)) in half.chunks_exact_mut(width).zip(maps) {
                    interpolate_scaled(x, &map[line * columns..][..columns], scale, full, out);
                }
            }
            for cell in &x.cells {
                select_candidates(maps, columns, (band, cell), candidates);
                let span = cell.outputs.clone();
                for y_out in band.outputs.clone() {
                    let t = y.weight[y_out];
                    let best = &mut row[span.clone()];
                    best.fill(0.0);
                    for &i in &*candidates {
                        let (top, bottom) = (&tops[i * width..][span.clone()], &bottoms[i * width..][span.clone()]);
                        for (o, (a, b)) in best.iter_mut().zip(top.iter().zip(bottom)) {
                            let value = a + t * (b - a);
                            *o = if value > *o { value } else { *o };
                        }
                    }
                    let bytes = encoding.bytes_per_pixel();
                    let target = &mut out.data[y_out * stride_bytes..][span.start * bytes..span.end * bytes];
                    write_row(encoding, best.iter().copied(), target);
                }
            }
        }
    }

    fn prepare_image(&self, out: &mut HeatImage) {
        out.size = self.out;
        out.data.resize(out.stride_bytes() * self.out.height as usize, 0);
    }

    /// Fills `rows` [h, W] with the map's rows interpolated along x, as heat times `full`.
    fn interpolate_rows(&mut self, map: &[f32], scale: &HeatScale, full: f32) {
        let width = self.out.width as usize;
        self.rows.resize(width * self.map.height as usize, 0.0);
        for (line, out) in map.chunks_exact(self.map.width as usize).zip(self.rows.chunks_exact_mut(width)) {
            interpolate_scaled(&self.x, line, scale, full, out);
        }
    }

    /// Calls `write(y, row above, row below, weight of the row below)` for every output row.
    fn for_each_row(&self, mut write: impl FnMut(usize, &[f32], &[f32], f32)) {
        let width = self.out.width as usize;
        for band in &self.y.cells {
            let (top, bottom) = (&self.rows[band.lower * width..][..width], &self.rows[band.upper * width..][..width]);
            for y in band.outputs.clone() {
                write(y, top, bottom, self.y.weight[y]);
            }
        }
    }
}

/// What heat 1.0 is in the encoding's own units.
fn full_scale(encoding: HeatmapEncoding) -> f32 {
    match encoding {
        HeatmapEncoding::Mono8 => 255.0,
        HeatmapEncoding::Float32 => 1.0,
    }
}

/// The maps that can hold the maximum somewhere in a cell. Interpolated values lie between the cell's four corners; the
/// slack covers float rounding.
fn select_candidates(
    maps: &[(&[f32], HeatScale)],
    columns: usize,
    (band, cell): (&Cell, &Cell),
    candidates: &mut Vec<usize>,
) {
    const SLACK: f32 = 1e-4;
    let corners = |(map, scale): &(&[f32], HeatScale)| {
        [(band.lower, cell.lower), (band.lower, cell.upper), (band.upper, cell.lower), (band.upper, cell.upper)]
            .map(|(row, column)| (map[row * columns + column] - scale.low) * scale.gain)
    };
    let floor = maps.iter().map(|m| corners(m).into_iter().fold(f32::INFINITY, f32::min)).fold(0.0, f32::max);
    let reaches = |m| corners(m).into_iter().fold(f32::NEG_INFINITY, f32::max) + SLACK >= floor;
    candidates.clear();
    candidates.extend(maps.iter().enumerate().filter(|(_, m)| reaches(m)).map(|(i, _)| i));
}

/// One map row interpolated along x, then scaled: the same arithmetic wherever a row is needed, so that all pictures
/// of one map agree exactly. Not clamped: a row of the map may lie above what the output grid samples of it.
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
