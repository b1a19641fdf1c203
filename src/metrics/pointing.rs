//! The pointing game: does a heatmap's hottest pixel lie on the part? (Zhang et al. 2016, arXiv 1608.00507; the tolerance as
//! a share of the picture.)

use ndarray::{Array2, ArrayView2};

use super::{MetricError, Protocol, extremes, resize_named};

/// Share of the ground truth's highest value from which a pixel belongs to the part: the edge of a blurred mask.
const PART: f64 = 0.5;
/// How far beside the part still counts, as a share of the longer side.
const TOLERANCE: f64 = 0.05;

/// One heatmap's answer.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Pointing {
    /// The hottest pixel (the first, if there are several) lies on the part, or at most 5 % of the picture beside it.
    pub hit: bool,
    /// Share of the picture where it would: what pointing blindly gives.
    pub chance: f64,
}

/// Means over test items.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PointingMean {
    /// Items.
    pub items: usize,
    /// Share of hits.
    pub hits: f64,
    /// What pointing blindly gives.
    pub chance: f64,
}

impl PointingMean {
    /// None of nothing.
    pub fn of(all: &[Pointing]) -> Option<Self> {
        let (items, count) = (all.len(), all.len() as f64);
        let hits = all.iter().filter(|one| one.hit).count() as f64 / count;
        let chance = all.iter().map(|one| one.chance).sum::<f64>() / count;
        (items > 0).then_some(Self { items, hits, chance })
    }
}

impl Protocol {
    /// Of a raw class map [h, w] and a ground truth [H, W], both resized as for the scores.
    ///
    /// # Errors
    /// As [`super::resize`]; a ground truth that is zero everywhere.
    pub fn pointing<P, T>(
        &self,
        class_map: ArrayView2<'_, P>,
        truth: ArrayView2<'_, T>,
    ) -> Result<Pointing, MetricError>
    where
        P: Copy + Into<f64>,
        T: Copy + Into<f64>,
    {
        let size = (self.rows, self.columns);
        let heat = resize_named("prediction", class_map, size)?;
        let truth = resize_named("ground truth", truth, size)?;
        let (_, highest) = extremes(&truth);
        if highest <= 0.0 {
            return Err(MetricError::NoTruth);
        }
        let near = dilated(&truth.mapv(|level| level >= PART * highest), TOLERANCE * size.0.max(size.1) as f64);
        let (_, hottest) = extremes(&heat);
        let hit = heat.iter().zip(&near).find(|(level, _)| **level == hottest).is_some_and(|(_, near)| *near);
        let chance = near.iter().filter(|near| **near).count() as f64 / near.len() as f64;
        Ok(Pointing { hit, chance })
    }
}

/// All pixels at most so far from one that is set.
fn dilated(mask: &Array2<bool>, distance: f64) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut out = Array2::from_elem((rows, columns), false);
    let reach = distance as usize;
    for row in 0..rows {
        for other in row.saturating_sub(reach)..(row + reach + 1).min(rows) {
            let down = row.abs_diff(other) as f64;
            let across = (distance * distance - down * down).max(0.0).sqrt() as usize;
            // Columns below this are done.
            let mut from = 0;
            for column in (0..columns).filter(|column| mask[(row, *column)]) {
                for near in from.max(column.saturating_sub(across))..(column + across + 1).min(columns) {
                    out[(other, near)] = true;
                }
                from = column + across + 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: Protocol = Protocol { rows: 100, columns: 100 };

    fn map(values: impl Fn(usize, usize) -> f64) -> Array2<f64> {
        Array2::from_shape_fn((100, 100), |(row, column)| values(row, column))
    }

    /// 1 at a pixel, 0 elsewhere.
    fn dot(row: usize, column: usize) -> Array2<f64> {
        map(|r, c| if (r, c) == (row, column) { 1.0 } else { 0.0 })
    }

    #[test]
    fn the_peak_may_lie_five_hundredths_beside_the_part() {
        // A part of 20x10 pixels, with a weak margin that is none of it.
        let truth = map(|row, column| match ((40..60).contains(&row), column) {
            (true, 30..40) => 200.0,
            (true, 40..50) => 99.0,
            _ => 0.0,
        });
        let hit = |row, column| PROTOCOL.pointing(dot(row, column).view(), truth.view()).unwrap().hit;
        assert!(hit(50, 35) && hit(50, 44) && hit(35, 35) && hit(37, 43));
        assert!(!hit(50, 45) && !hit(34, 35) && !hit(36, 43) && !hit(0, 0));
        let share = PROTOCOL.pointing(dot(0, 0).view(), truth.view()).unwrap().chance;
        // All of them lie in here: more would be in the share.
        let hits = (30..70).flat_map(|row| (20..60).map(move |column| (row, column))).filter(|(r, c)| hit(*r, *c));
        assert_eq!(share, hits.count() as f64 / 1e4);
    }

    #[test]
    fn means_are_over_items_and_nothing_has_none() {
        let all = [Pointing { hit: true, chance: 0.1 }, Pointing { hit: false, chance: 0.3 }];
        assert_eq!(PointingMean::of(&all), Some(PointingMean { items: 2, hits: 0.5, chance: 0.2 }));
        assert_eq!(PointingMean::of(&[]), None);
    }

    #[test]
    fn a_truth_that_marks_nothing_is_refused() {
        let found = PROTOCOL.pointing(dot(1, 1).view(), map(|_, _| 0.0).view());
        assert_eq!(found, Err(MetricError::NoTruth));
    }
}
