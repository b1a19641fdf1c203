//! Ground truth: the part's mask, blurred, in whole numbers throughout.

/// Standard deviation of the blur, as a share of the picture's side.
const BLUR: f64 = 0.03;
/// So many box blurs in a row come close to a Gaussian.
const PASSES: u32 = 3;

/// Where the part is on a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct PartBox {
    /// The pixel of the part where the truth is highest: x, y.
    pub peak: [usize; 2],
    /// The smallest box around the part: left, top, right, bottom; the last two are outside.
    #[serde(rename = "box")]
    pub bounds: [usize; 4],
    /// Pixels of the part, at least half covered by it.
    pub pixels: usize,
}

/// The density on a part: u8 [side, side] mask -> u8 [side, side], scaled so that its highest value is 255.
pub fn density(mask: &[u8], side: usize) -> Vec<u8> {
    let radius = box_radius(side);
    let mut sums: Vec<u64> = mask.iter().map(|level| u64::from(*level)).collect();
    for _ in 0..PASSES {
        sums = blur_rows(&sums, side, radius);
        sums = transposed(&blur_rows(&transposed(&sums, side), side, radius), side);
    }
    let highest = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.iter().map(|sum| ((sum * 255 + highest / 2) / highest) as u8).collect()
}

/// Where the part of a mask is; None: it does not show.
pub fn part_box(mask: &[u8], truth: &[u8], side: usize) -> Option<PartBox> {
    let half = mask.iter().copied().max().unwrap_or(0) / 2;
    let shown: Vec<usize> = (0..mask.len()).filter(|index| mask[*index] > half).collect();
    let peak = shown.iter().copied().max_by_key(|index| (truth[*index], std::cmp::Reverse(*index)))?;
    let around = |place: fn(usize, usize) -> usize| {
        let places = shown.iter().map(|index| place(*index, side));
        (places.clone().min().unwrap_or(0), places.max().unwrap_or(0) + 1)
    };
    let ((left, right), (top, bottom)) = (around(|index, side| index % side), around(|index, side| index / side));
    Some(PartBox { peak: [peak % side, peak / side], bounds: [left, top, right, bottom], pixels: shown.len() })
}

/// Half the width of boxes that together have the blur's variance: passes * (width² - 1) / 12.
fn box_radius(side: usize) -> usize {
    let sigma = BLUR * side as f64;
    let width = (12.0 * sigma * sigma / f64::from(PASSES) + 1.0).sqrt();
    ((width - 1.0) / 2.0 + 0.5) as usize
}

/// Sums of windows, nothing outside of the rows.
fn blur_rows(values: &[u64], side: usize, radius: usize) -> Vec<u64> {
    let mut sums = Vec::with_capacity(values.len());
    for row in values.chunks_exact(side.max(1)) {
        let mut sum: u64 = row.iter().take(radius).sum();
        for x in 0..row.len() {
            sum += row.get(x + radius).copied().unwrap_or(0);
            sums.push(sum);
            sum -= if x >= radius { row[x - radius] } else { 0 };
        }
    }
    sums
}

fn transposed(values: &[u64], side: usize) -> Vec<u64> {
    (0..values.len()).map(|index| values[index % side * side + index / side]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_of_a_dot_is_a_bell_around_it() {
        let side = 101;
        let mut mask = vec![0; side * side];
        mask[50 * side + 40] = 255;
        let truth = density(&mask, side);
        let at = |x: usize, y: usize| f64::from(truth[y * side + x]);
        assert_eq!(at(40, 50), 255.0);
        assert_eq!(truth.iter().filter(|level| **level == 255).count(), 1);
        let (mut mass, mut variance) = (0.0, 0.0);
        for y in 0..side {
            for x in 0..side {
                let (dx, level) = (x as f64 - 40.0, at(x, y));
                (mass, variance) = (mass + level, variance + level * dx * dx);
            }
        }
        let sigma = (variance / mass).sqrt();
        // Boxes are odd numbers of pixels wide.
        assert!((sigma - BLUR * side as f64).abs() < 0.5, "{sigma}");
        assert_eq!(at(43, 50), at(37, 50));
        assert_eq!(at(43, 50), at(40, 53));
    }

    #[test]
    fn a_part_s_box_and_peak_are_its_own() {
        let side = 40;
        let mask: Vec<u8> = (0..side * side)
            .map(|index| if (5..9).contains(&(index % side)) && (10..30).contains(&(index / side)) { 255 } else { 0 })
            .collect();
        let found = part_box(&mask, &density(&mask, side), side).unwrap();
        assert_eq!((found.bounds, found.pixels), ([5, 10, 9, 30], 80));
        assert!((5..9).contains(&found.peak[0]) && (12..28).contains(&found.peak[1]), "{found:?}");
        assert_eq!(part_box(&vec![0; side * side], &vec![0; side * side], side), None);
    }
}
