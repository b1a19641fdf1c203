//! A plane through depth pixels.

use nalgebra::{Matrix3, Vector3};

/// Rounds of reweighting; the weights settle in two or three.
const ROUNDS: usize = 4;
/// Tukey's biweight loses 5 % of least squares' efficiency on clean noise with this many standard deviations.
const TUKEY: f64 = 4.685;
/// Standard deviations per median absolute deviation of a normal distribution.
const SIGMA_PER_MAD: f64 = 1.4826;
/// Fewest pixels of a fit.
pub(super) const FEWEST: usize = 6;

/// A pixel's ray (at depth 1) and depth [m].
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub ray: [f64; 3],
    pub depth: f64,
}

/// A fitted plane. The inverse depth of a plane's pixel is linear in its ray, 1/z = a x + b y + c, and noise of stereo
/// and structured light is even in inverse depth, so that the fit is linear least squares.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    /// Unit normal, towards the camera.
    pub normal: Vector3<f64>,
    /// n . p = offset for points p of the plane [m]; negative, as the normal points to the camera.
    pub offset: f64,
    /// Standard deviation of depth about the plane, at the centre [m].
    pub depth_sigma_m: f64,
    /// Standard deviation of the normal's direction [rad].
    pub tilt_sigma_rad: f64,
}

impl Plane {
    /// Fits a plane robustly (iterated reweighting by Tukey's biweight) to samples around `centre`. None where they are
    /// too few or lie in a line.
    pub fn fit(samples: &[Sample], centre: [f64; 3]) -> Option<Self> {
        if samples.len() < FEWEST {
            return None;
        }
        let row = |sample: &Sample| Vector3::new(sample.ray[0] - centre[0], sample.ray[1] - centre[1], 1.0);
        let mut weights = vec![1.0; samples.len()];
        let mut residuals = vec![0.0; samples.len()];
        let mut coefficients = Vector3::zeros();
        let mut inverse = Matrix3::zeros();
        let mut sigma = 0.0;
        for _ in 0..ROUNDS {
            let mut normal_matrix = Matrix3::zeros();
            let mut right = Vector3::zeros();
            for (sample, weight) in samples.iter().zip(&weights) {
                let row = row(sample);
                normal_matrix += row * row.transpose() * *weight;
                right += row * (*weight / sample.depth);
            }
            inverse = invert(&normal_matrix)?;
            coefficients = inverse * right;
            for (residual, sample) in residuals.iter_mut().zip(samples) {
                *residual = 1.0 / sample.depth - row(sample).dot(&coefficients);
            }
            sigma = spread(&residuals);
            let limit = TUKEY * sigma;
            if limit <= f64::EPSILON {
                break;
            }
            for (weight, residual) in weights.iter_mut().zip(&residuals) {
                let share = residual / limit;
                *weight = if share.abs() < 1.0 { (1.0 - share * share).powi(2) } else { 0.0 };
            }
        }
        Self::from_coefficients(coefficients, centre, sigma, &inverse)
    }

    fn from_coefficients(
        coefficients: Vector3<f64>,
        centre: [f64; 3],
        sigma: f64,
        inverse: &Matrix3<f64>,
    ) -> Option<Self> {
        let [a, b, at_centre] = [coefficients[0], coefficients[1], coefficients[2]];
        // a X + b Y + c Z = 1: this vector points away from the camera, which lies at 0 < 1.
        let away = Vector3::new(a, b, at_centre - a * centre[0] - b * centre[1]);
        let length = away.norm();
        if !(at_centre > 0.0 && length.is_finite() && length > 0.0) {
            return None;
        }
        let tilt = sigma * (inverse[(0, 0)].max(0.0) + inverse[(1, 1)].max(0.0)).sqrt() / length;
        Some(Self {
            normal: -away / length,
            offset: -1.0 / length,
            depth_sigma_m: sigma / (at_centre * at_centre),
            tilt_sigma_rad: tilt.atan(),
        })
    }

    /// Depth of the plane along a ray [m]. None where they don't meet in front of the camera.
    pub fn depth(&self, ray: [f64; 3]) -> Option<f64> {
        let depth = self.offset / self.normal.dot(&Vector3::from(ray));
        (depth.is_finite() && depth > 0.0).then_some(depth)
    }
}

/// None where the samples lie in a line. Scaled first: rays differ by hundredths, and the last column is 1.
fn invert(matrix: &Matrix3<f64>) -> Option<Matrix3<f64>> {
    let scale = matrix.diagonal().map(|d| if d > 0.0 { 1.0 / d.sqrt() } else { 0.0 });
    let scaled = Matrix3::from_fn(|r, c| matrix[(r, c)] * scale[r] * scale[c]);
    // A correlation matrix: its determinant is 1 for independent columns and 0 in a line.
    if scaled.determinant() < 1e-4 {
        return None;
    }
    let inverse = scaled.cholesky()?.inverse();
    Some(Matrix3::from_fn(|r, c| inverse[(r, c)] * scale[r] * scale[c]))
}

/// A standard deviation that outliers don't move.
fn spread(residuals: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    let middle = sizes.len() / 2;
    if sizes.is_empty() {
        return 0.0;
    }
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
    SIGMA_PER_MAD * *median
}
