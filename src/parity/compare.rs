//! Two answers for each picture, and how far they lie apart.

use ndarray::ArrayView2;

use super::{ParityError, pictures::Pictures, reference::Reference};
use crate::{
    contract::{Drift, HeatAgreement, Parity, Size},
    metrics::{self, Protocol},
    perceive::infer::{ClassMaps, Model},
};

/// What a model says of one picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Class maps f32 [A, h, w], row by row.
    pub maps: Vec<f32>,
    /// Presence f32 [A].
    pub presence: Vec<f32>,
}

impl Answer {
    /// A copy of a model's answer.
    pub fn of(answer: ClassMaps<'_>) -> Self {
        Self { maps: answer.maps.to_vec(), presence: answer.presence.to_vec() }
    }
}

/// Runs both on every picture.
///
/// # Errors
/// A picture can't be read, or one of the two can't be run on it.
pub fn compare(
    reference: &mut Reference,
    candidate: &mut Model,
    pictures: &Pictures,
    tolerance: f64,
) -> Result<Parity, ParityError> {
    let cells = candidate.contract().heatmap;
    let (mut maps, mut presence, mut heat) = (Gap::default(), Gap::default(), Heat::default());
    for picture in pictures.iter() {
        let picture = picture?;
        let expected = reference.run(&picture)?;
        let found = Answer::of(candidate.run(&picture)?);
        maps.add("heatmap", &expected.maps, &found.maps, None)?;
        presence.add("presence", &expected.presence, &found.presence, Some(1.0))?;
        heat.add(&expected.maps, &found.maps, cells)?;
    }
    Ok(Parity {
        reference: reference.kind(),
        pictures: u32::try_from(pictures.count()).unwrap_or(u32::MAX),
        pictures_from: pictures.source(),
        tolerance,
        heatmap: maps.drift(),
        presence: presence.drift(),
        heat: heat.agreement(),
    })
}

/// Differences so far.
#[derive(Debug, Default)]
pub(super) struct Gap {
    max_abs: f64,
    sum: f64,
    count: usize,
    of_range: f64,
}

impl Gap {
    /// One picture's output; `range`: what its values can span, None: what the reference's do.
    pub fn add(
        &mut self,
        output: &'static str,
        expected: &[f32],
        found: &[f32],
        range: Option<f64>,
    ) -> Result<(), ParityError> {
        if expected.len() != found.len() {
            return Err(ParityError::Length { output, expected: expected.len(), found: found.len() });
        }
        let (mut most, mut low, mut high) = (0.0_f64, f64::INFINITY, f64::NEG_INFINITY);
        for (expected, found) in expected.iter().zip(found) {
            let (expected, found) = (f64::from(*expected), f64::from(*found));
            most = worse(most, (expected - found).abs());
            self.sum += (expected - found).abs();
            (low, high) = (low.min(expected), high.max(expected));
        }
        self.count += expected.len();
        self.max_abs = worse(self.max_abs, most);
        // A flat output has no range: any difference is too much of it, and none is none.
        let range = range.unwrap_or(high - low).max(f64::MIN_POSITIVE);
        self.of_range = worse(self.of_range, most / range);
        Ok(())
    }

    pub fn drift(&self) -> Drift {
        Drift { max_abs: self.max_abs, mean_abs: self.sum / self.count.max(1) as f64, of_range: self.of_range }
    }
}

/// The larger difference. NaN is the worst and stays, where `f64::max` would drop it.
pub(super) fn worse(one: f64, other: f64) -> f64 {
    if one.is_nan() || one >= other { one } else { other }
}

/// Scores of the final heatmaps so far.
#[derive(Debug, Default)]
struct Heat {
    scores: Vec<(f64, f64)>,
}

impl Heat {
    /// One picture's maps [A, h, w].
    fn add(&mut self, expected: &[f32], found: &[f32], cells: Size) -> Result<(), ParityError> {
        let shape = (cells.height as usize, cells.width as usize);
        let protocol = Protocol::default();
        for (expected, found) in expected.chunks_exact(shape.0 * shape.1).zip(found.chunks_exact(shape.0 * shape.1)) {
            let (Ok(expected), Ok(found)) =
                (ArrayView2::from_shape(shape, expected), ArrayView2::from_shape(shape, found))
            else {
                continue;
            };
            let heat = metrics::resize(expected, (protocol.rows, protocol.columns))?;
            let low = heat.iter().copied().fold(f64::INFINITY, f64::min);
            let heat = heat.mapv(|value| value - low);
            // A flat map is no heat at all, and no distribution.
            if heat.iter().all(|value| *value == 0.0) {
                continue;
            }
            let scores = protocol.score(found, heat.view())?;
            self.scores.push((scores.kld, scores.sim));
        }
        Ok(())
    }

    fn agreement(&self) -> Option<HeatAgreement> {
        let count = self.scores.len() as f64;
        (!self.scores.is_empty()).then(|| HeatAgreement {
            mean_kld: self.scores.iter().map(|score| score.0).sum::<f64>() / count,
            max_kld: self.scores.iter().map(|score| score.0).fold(f64::NEG_INFINITY, f64::max),
            mean_sim: self.scores.iter().map(|score| score.1).sum::<f64>() / count,
            min_sim: self.scores.iter().map(|score| score.1).fold(f64::INFINITY, f64::min),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_size_and_by_each_picture_s_own_range() {
        let mut gap = Gap::default();
        gap.add("heatmap", &[0.0, 10.0], &[0.0, 10.5], None).unwrap();
        gap.add("heatmap", &[0.0, 1.0], &[0.25, 1.0], None).unwrap();
        assert_eq!(gap.drift(), Drift { max_abs: 0.5, mean_abs: 0.75 / 4.0, of_range: 0.25 });
        let error = gap.add("heatmap", &[0.0], &[], None).unwrap_err().to_string();
        assert!(error.contains("gives 1 numbers, the bundle 0"), "{error}");
    }

    #[test]
    fn a_flat_output_agrees_only_with_itself() {
        let mut gap = Gap::default();
        gap.add("heatmap", &[2.0, 2.0], &[2.0, 2.0], None).unwrap();
        assert_eq!(gap.drift().of_range, 0.0);
        gap.add("heatmap", &[2.0, 2.0], &[2.0, 2.1], None).unwrap();
        assert!(gap.drift().of_range > 1.0);
    }

    #[test]
    fn heat_that_lies_elsewhere_scores_worse_than_its_own_copy() {
        let cells = Size { height: 2, width: 3 };
        let (map, moved) = ([0.0, 0.0, 0.0, 0.0, 0.0, 4.0], [4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let score = |found: &[f32]| {
            let mut heat = Heat::default();
            heat.add(&map, found, cells).unwrap();
            heat.agreement().unwrap()
        };
        assert!(score(&map).min_sim > 0.999_999 && score(&map).max_kld.abs() < 1e-6);
        assert!(score(&moved).mean_sim < 0.5 && score(&moved).mean_kld > 1.0);
        let mut flat = Heat::default();
        flat.add(&[1.0; 6], &map, cells).unwrap();
        assert_eq!(flat.agreement(), None);
    }
}
