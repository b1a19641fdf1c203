//! Do two ways to compute one model give the same answers? For an engine that is to take the place of what runs.

use super::{
    Answer, ParityError,
    compare::{Gap, worse},
    pictures::Pictures,
};
use crate::{contract::Precision, perceive::FrameError};

/// One model's answers to a row of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers(Vec<Answer>);

/// How far two rows of answers lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disagreement {
    /// The largest difference of any class map as a part of that picture's range, or of any presence (of 1): whichever
    /// is larger.
    pub found: f64,
    /// The largest that is no reason for doubt.
    pub allowed: f64,
}

impl Disagreement {
    /// Is it small enough? NaN is not.
    pub fn holds(&self) -> bool {
        self.found <= self.allowed
    }
}

impl Answers {
    /// Asks `run` for each picture, u8 [H, W, 3].
    ///
    /// # Errors
    /// A picture can't be had, or `run` fails.
    pub fn of(
        pictures: &Pictures,
        mut run: impl FnMut(&[u8]) -> Result<Answer, FrameError>,
    ) -> Result<Self, ParityError> {
        pictures.iter().map(|picture| Ok(run(&picture?)?)).collect::<Result<_, ParityError>>().map(Self)
    }

    /// The difference to `candidate`'s answers to the same pictures.
    ///
    /// # Errors
    /// The answers have other lengths: they are of two models.
    pub fn differ(&self, candidate: &Self, allowed: f64) -> Result<Disagreement, ParityError> {
        let (expected, found) = (self.0.len(), candidate.0.len());
        if expected != found {
            return Err(ParityError::Length { output: "a row of answers", expected, found });
        }
        let (mut maps, mut presence) = (Gap::default(), Gap::default());
        for (expected, found) in self.0.iter().zip(&candidate.0) {
            maps.add("heatmap", &expected.maps, &found.maps, None)?;
            presence.add("presence", &expected.presence, &found.presence, Some(1.0))?;
        }
        Ok(Disagreement { found: worse(maps.drift().of_range, presence.drift().of_range), allowed })
    }
}

/// The largest disagreement between two providers that is rounding and no fault. `reduced`: may the second compute in half
/// precision?
///
/// An export passes with 1e-4 between two programs that both compute in f32. TensorRT rounds the factors of its
/// products to TensorFloat-32, 10 bits as in half precision, wherever it finds that faster: the rounding of dozens of
/// layers adds up to some thousandths of the range. Half precision rounds everything else as well. Int8 graphs are
/// rounded to 255 steps at each layer, where a value between two steps falls to the one or the other side. What is wrong
/// (an overflow, a layer computed otherwise) shows in tenths of the range. Chosen on this reasoning and never measured on a
/// GPU.
pub fn tolerance(precision: Precision, reduced: bool) -> f64 {
    match precision {
        Precision::Int8 => 0.1,
        Precision::Fp16 => 0.05,
        Precision::Fp32 if reduced => 0.05,
        Precision::Fp32 => 0.02,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Size;

    fn row(maps: [f32; 2], presence: f32) -> Answers {
        let pictures = Pictures::drawn(2, Size { height: 2, width: 2 });
        Answers::of(&pictures, |_| Ok(Answer { maps: maps.to_vec(), presence: vec![presence] })).unwrap()
    }

    #[test]
    fn the_larger_of_both_differences_counts() {
        let found = |maps, presence| row([0.0, 10.0], 0.5).differ(&row(maps, presence), 0.1).unwrap().found;
        assert_eq!(found([0.0, 10.0], 0.5), 0.0);
        assert_eq!(found([0.0, 9.0], 0.5), 0.1);
        assert_eq!(found([0.0, 9.0], 0.75), 0.25);
    }

    #[test]
    fn nan_holds_never_and_the_limit_itself_does() {
        let holds = |found| Disagreement { found, allowed: 0.1 }.holds();
        assert!(holds(0.1) && !holds(0.100_001) && !holds(f64::NAN));
        for (maps, presence) in [([f32::NAN, 10.0], 0.5), ([0.0, f32::NAN], 0.5), ([0.0, 10.0], f32::NAN)] {
            let (good, bad) = (row([0.0, 10.0], 0.5), row(maps, presence));
            for (one, other) in [(&good, &bad), (&bad, &good)] {
                let disagreement = one.differ(other, f64::MAX).unwrap();
                assert!(!disagreement.holds() && disagreement.found.is_nan(), "{maps:?} {presence}");
            }
        }
    }

    #[test]
    fn answers_of_another_model_are_refused() {
        let short = Answers::of(&Pictures::drawn(1, Size { height: 2, width: 2 }), |_| Ok(Answer::default())).unwrap();
        assert!(row([0.0, 1.0], 0.5).differ(&short, 0.1).is_err());
        let failing = Answers::of(&Pictures::drawn(1, Size { height: 2, width: 2 }), |_| {
            Err(FrameError::Inference("test".to_owned()))
        });
        assert!(failing.unwrap_err().to_string().contains("test"));
    }
}
