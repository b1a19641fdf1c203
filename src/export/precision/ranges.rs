//! Ranges of activations, and the 8-bit numbers they are written in.

use std::collections::BTreeMap;

use super::PrecisionError;

/// Steps of u8 between the ends of a range.
const STEPS: f64 = 255.0;
/// Ranges below this are no range: their scale's inverse would be infinite.
const SMALLEST_SCALE: f64 = 1e-30;
/// [`RangeRule::Percentile`] leaves out this share of a picture's values at either end.
const LEFT_OUT: f64 = 1e-4;

/// From where to where a value goes, 0 included: padding and ReLU need it exact.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range {
    /// At most 0.
    pub low: f32,
    /// At least 0.
    pub high: f32,
}

/// Which values a range is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRule {
    /// All of them.
    MinMax,
    /// All but a picture's most extreme ten-thousandth at either end: outliers are cut off, the others get finer steps.
    Percentile,
}

impl RangeRule {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MinMax, Self::Percentile];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile => "percentile 99.99",
        }
    }
}

/// What calibration saw of a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// Its sides, batch 1.
    pub shape: Vec<usize>,
    min_max: Range,
    percentile: Range,
}

/// By the value's name.
pub type Observations = BTreeMap<String, Observation>;

impl Range {
    /// Scale and zero point of u8: `value = (code - zero) * scale`. A range of nothing but 0 gets the scale 1.
    pub fn scale_and_zero(self) -> (f32, u8) {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let scale = (high - low) / STEPS;
        if scale < SMALLEST_SCALE {
            return (1.0, 0);
        }
        (scale as f32, (-low / scale).round().clamp(0.0, STEPS) as u8)
    }

    fn widen(&mut self, low: f32, high: f32) {
        self.low = self.low.min(low);
        self.high = self.high.max(high);
    }
}

impl Observation {
    /// Adds what one picture showed.
    ///
    /// # Errors
    /// NaN or infinity among it; `name` is for the message.
    pub fn add(&mut self, name: &str, shape: &[usize], mut values: Vec<f32>) -> Result<(), PrecisionError> {
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(PrecisionError::NotFinite { name: name.to_owned(), value });
        }
        self.shape = shape.to_vec();
        let Some(last) = values.len().checked_sub(1) else { return Ok(()) };
        let left_out = (values.len() as f64 * LEFT_OUT) as usize;
        let (_, &mut high, _) = values.select_nth_unstable_by(last - left_out, f32::total_cmp);
        let top = values.iter().skip(last - left_out).copied().fold(high, f32::max);
        let (_, &mut low, _) = values.select_nth_unstable_by(left_out, f32::total_cmp);
        let bottom = values.iter().take(left_out + 1).copied().fold(low, f32::min);
        self.min_max.widen(bottom, top);
        self.percentile.widen(low, high);
        Ok(())
    }

    /// The range by this rule.
    pub fn range(&self, rule: RangeRule) -> Range {
        match rule {
            RangeRule::MinMax => self.min_max,
            RangeRule::Percentile => self.percentile,
        }
    }
}
