//! Luma and chroma to RGB by ITU-R BT.601 with limited range (Y 16..235, U and V 16..240), the convention of
//! V4L2 and UVC cameras and of OpenCV's `COLOR_YUV2RGB_*`, through which cv_bridge converts these encodings:
//!
//! ```text
//! R = 1.164 (Y - 16)                     + 1.596 (V - 128)
//! G = 1.164 (Y - 16) - 0.391 (U - 128) - 0.813 (V - 128)
//! B = 1.164 (Y - 16) + 2.018 (U - 128)
//! ```

use super::layout::Layout;

/// Pixels converted at once: samples are first gathered by channel, so that the arithmetic in between is the same for
/// every encoding and compiles to vector instructions.
const BLOCK: usize = 64;

/// Samples of `BLOCK` pixels.
struct Block {
    y: [u8; BLOCK],
    u: [u8; BLOCK],
    v: [u8; BLOCK],
}

/// One row of U Y V Y.
pub(super) fn uyvy(row: &[u8], rgb: &mut [u8]) {
    packed_422(row, rgb, |[u, y0, v, y1]| ([y0, y1], u, v));
}

/// One row of Y U Y V.
pub(super) fn yuyv(row: &[u8], rgb: &mut [u8]) {
    packed_422(row, rgb, |[y0, u, y1, v]| ([y0, y1], u, v));
}

fn packed_422(row: &[u8], rgb: &mut [u8], split: impl Fn([u8; 4]) -> ([u8; 2], u8, u8)) {
    by_blocks(rgb, |start, block| {
        let quads = row[2 * start..].chunks_exact(4);
        let Block { y, u, v } = block;
        let pairs = y.chunks_exact_mut(2).zip(u.chunks_exact_mut(2)).zip(v.chunks_exact_mut(2));
        for (((y, u), v), quad) in pairs.zip(quads) {
            let (luma, blue, red) = split([quad[0], quad[1], quad[2], quad[3]]);
            y.copy_from_slice(&luma);
            u.fill(blue);
            v.fill(red);
        }
    });
}

/// Converts one row of Y and its row of chroma pairs.
type PlanarRow = fn(luma: &[u8], chroma: &[u8], rgb: &mut [u8]);

/// Converts two planes, each chroma row serving `rows_per_chroma` rows of Y.
pub(super) fn planes(layout: &Layout<'_>, convert_row: PlanarRow, rows_per_chroma: usize, rgb: &mut [u8]) {
    let chroma_rows = layout.second.rows().flat_map(|row| std::iter::repeat_n(row, rows_per_chroma));
    let rgb_rows = rgb.chunks_exact_mut(3 * layout.first.row_bytes);
    for ((luma, chroma), rgb) in layout.first.rows().zip(chroma_rows).zip(rgb_rows) {
        convert_row(luma, chroma, rgb);
    }
}

/// Y and U V pairs, a pair for each two pixels. The single last column of an odd width has a pair of its own.
pub(super) fn nv12(luma: &[u8], pairs: &[u8], rgb: &mut [u8]) {
    planar::<2>(luma, pairs, rgb, |[u, v]| (u, v));
}

/// Y and V U pairs, a pair for each two pixels.
pub(super) fn nv21(luma: &[u8], pairs: &[u8], rgb: &mut [u8]) {
    planar::<2>(luma, pairs, rgb, |[v, u]| (u, v));
}

/// Y and U V pairs, a pair for each pixel.
pub(super) fn nv24(luma: &[u8], pairs: &[u8], rgb: &mut [u8]) {
    planar::<1>(luma, pairs, rgb, |[u, v]| (u, v));
}

fn planar<const PIXELS_PER_PAIR: usize>(
    luma: &[u8],
    pairs: &[u8],
    rgb: &mut [u8],
    split: impl Fn([u8; 2]) -> (u8, u8),
) {
    by_blocks(rgb, |start, block| {
        let luma = &luma[start..luma.len().min(start + BLOCK)];
        block.y[..luma.len()].copy_from_slice(luma);
        let chroma = block.u.chunks_exact_mut(PIXELS_PER_PAIR).zip(block.v.chunks_exact_mut(PIXELS_PER_PAIR));
        for ((u, v), pair) in chroma.zip(pairs[2 * start / PIXELS_PER_PAIR..].chunks_exact(2)) {
            let (blue, red) = split([pair[0], pair[1]]);
            u.fill(blue);
            v.fill(red);
        }
    });
}

/// Fills a row of RGB block by block. `gather` is told the first pixel and copies as many samples as the row has.
fn by_blocks(rgb: &mut [u8], gather: impl Fn(usize, &mut Block)) {
    let mut block = Block { y: [0; BLOCK], u: [0; BLOCK], v: [0; BLOCK] };
    for (i, rgb) in rgb.chunks_mut(3 * BLOCK).enumerate() {
        gather(i * BLOCK, &mut block);
        let colours = block.to_rgb();
        for (to, [r, g, b]) in rgb.chunks_exact_mut(3).zip(colours) {
            to.copy_from_slice(&[r, g, b]);
        }
    }
}

impl Block {
    /// In 16-bit fixed point with 6 fractional bits: within one level of exact arithmetic.
    fn to_rgb(&self) -> impl Iterator<Item = [u8; 3]> {
        let (mut r, mut g, mut b) = ([0u8; BLOCK], [0u8; BLOCK], [0u8; BLOCK]);
        for i in 0..BLOCK {
            let luma = (i16::from(self.y[i]) - 16).max(0) << 6;
            let u = (i16::from(self.u[i]) - 128) << 6;
            let v = (i16::from(self.v[i]) - 128) << 6;
            // Coefficients from 1 on are split into a shift and a fraction. Half a level (32) rounds.
            let luma = luma + 32 + times::<164>(luma);
            r[i] = level(luma, 2 * v - times::<404>(v));
            g[i] = level(luma, times::<187>(v) - v - times::<391>(u));
            b[i] = level(luma, 2 * u + times::<18>(u));
        }
        r.into_iter().zip(g).zip(b).map(|((r, g), b)| [r, g, b])
    }
}

/// `x * THOUSANDTHS / 1000`, rounded down.
fn times<const THOUSANDTHS: i32>(x: i16) -> i16 {
    ((i32::from(x) * ((THOUSANDTHS << 16) / 1000)) >> 16) as i16
}

fn level(luma: i16, add: i16) -> u8 {
    (luma.saturating_add(add) >> 6).clamp(0, 255) as u8
}
