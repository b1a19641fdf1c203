//! A Bayer mosaic to RGB by bilinear interpolation: each missing colour is the mean of its two or four nearest samples.
//! The picture is mirrored at its border pixels (which keeps the mosaic's parity), so every size from 2x2 is defined.

use super::layout::Plane;
use crate::perceive::frame::BayerPattern;

/// Channel index of red or blue in RGB, the two colours that have rows of their own.
const RED: usize = 0;
const BLUE: usize = 2;

/// Pixels interpolated at once.
const BLOCK: usize = 64;

/// Column and row of the top left red sample.
fn red_at(pattern: BayerPattern) -> (usize, usize) {
    match pattern {
        BayerPattern::Rggb => (0, 0),
        BayerPattern::Grbg => (1, 0),
        BayerPattern::Gbrg => (0, 1),
        BayerPattern::Bggr => (1, 1),
    }
}

/// Interpolates a mosaic of at least 2x2 pixels.
pub(super) fn bilinear(pattern: BayerPattern, mosaic: &Plane<'_>, rgb: &mut [u8]) {
    let (red_column, red_row) = red_at(pattern);
    let rgb_rows = rgb.chunks_exact_mut(3 * mosaic.row_bytes);
    let height = rgb_rows.len();
    let row = |y: usize| &mosaic.data[y * mosaic.stride..][..mosaic.row_bytes];
    for (y, rgb) in rgb_rows.enumerate() {
        let (above, below) = mirrored(y, height);
        let rows = Rows { above: row(above), here: row(y), below: row(below) };
        if y % 2 == red_row {
            rows.interpolate::<RED>(red_column, rgb);
        } else {
            rows.interpolate::<BLUE>(1 - red_column, rgb);
        }
    }
}

/// The neighbours of index `i` among `len >= 2`, mirrored at the first and last.
fn mirrored(i: usize, len: usize) -> (usize, usize) {
    (if i == 0 { 1 } else { i - 1 }, if i + 1 == len { len - 2 } else { i + 1 })
}

/// A row of the mosaic between its neighbours.
struct Rows<'a> {
    above: &'a [u8],
    here: &'a [u8],
    below: &'a [u8],
}

impl Rows<'_> {
    /// One row of RGB. `OWN` is the channel this row has beside green, in the columns of parity `own_column`.
    fn interpolate<const OWN: usize>(&self, own_column: usize, rgb: &mut [u8]) {
        let width = self.here.len();
        let blocks = (width - 2) / BLOCK;
        for x in (0..blocks).map(|i| 1 + i * BLOCK) {
            self.block::<OWN>(x, own_column, &mut rgb[3 * x..][..3 * BLOCK]);
        }
        // The first column and all that do not fill a block.
        for x in std::iter::once(0).chain(1 + blocks * BLOCK..width) {
            let (left, right) = mirrored(x, width);
            let [above, here, below] = [self.above, self.here, self.below].map(|row| [row[left], row[x], row[right]]);
            let is_own = x % 2 == own_column;
            rgb[3 * x..][..3].copy_from_slice(&Means::of(above, here, below).colour::<OWN>(here[1], is_own));
        }
    }

    /// `BLOCK` pixels from the odd column `x` on, all with both neighbours. Every mean is taken for every pixel, which
    /// compiles to vector instructions; each pixel then uses two of the four.
    fn block<const OWN: usize>(&self, x: usize, own_column: usize, rgb: &mut [u8]) {
        let [above, here, below] = [self.above, self.here, self.below].map(|row| &row[x - 1..x + BLOCK + 1]);
        let (mut sides, mut ends, mut cross, mut corners) = ([0; BLOCK], [0; BLOCK], [0; BLOCK], [0; BLOCK]);
        for i in 0..BLOCK {
            let three = |row: &[u8]| [row[i], row[i + 1], row[i + 2]];
            let means = Means::of(three(above), three(here), three(below));
            (sides[i], ends[i], cross[i], corners[i]) = (means.sides, means.ends, means.cross, means.corners);
        }
        for (pair, to) in rgb.chunks_exact_mut(6).enumerate() {
            for (i, to) in (2 * pair..).zip(to.chunks_exact_mut(3)) {
                let means = Means { sides: sides[i], ends: ends[i], cross: cross[i], corners: corners[i] };
                // Block columns are odd where i is even.
                to.copy_from_slice(&means.colour::<OWN>(here[i + 1], i % 2 != own_column));
            }
        }
    }
}

/// Means of a pixel's neighbours, rounded to nearest.
struct Means {
    /// Left and right.
    sides: u8,
    /// Above and below.
    ends: u8,
    /// All four of these.
    cross: u8,
    /// The four diagonal ones.
    corners: u8,
}

impl Means {
    fn of([a, b, c]: [u8; 3], [d, _, e]: [u8; 3], [f, g, h]: [u8; 3]) -> Self {
        let two = |a: u8, b: u8| (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
        let four = |a, b, c, d| ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) / 4) as u8;
        Self { sides: two(d, e), ends: two(b, g), cross: four(b, d, e, g), corners: four(a, c, f, h) }
    }

    /// RGB of a sample that is `OWN` (`is_own`) or green.
    fn colour<const OWN: usize>(&self, sample: u8, is_own: bool) -> [u8; 3] {
        let (own, green, other) =
            if is_own { (sample, self.cross, self.corners) } else { (self.sides, sample, self.ends) };
        if OWN == RED { [own, green, other] } else { [other, green, own] }
    }
}
