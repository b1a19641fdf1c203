//! Lens distortion: from an ideal picture's coordinates to the real ones, and back by iteration.
//!
//! Coordinates are normalised: x / z and y / z of a point in the optical frame, before the camera matrix.

use super::CalibrationError;
use crate::perceive::frame::excerpt;

/// Newton's method doubles the right digits with each step; more than these means that it does not converge.
const MAX_STEPS: usize = 40;
/// Largest error left, in normalised coordinates: a millionth of a pixel at a focal length of 1000 px.
const TOLERANCE: f64 = 1e-9;
/// Rays flatter than this have no depth to speak of [rad]: the angle from the optical axis, under a right angle.
const WIDEST_ANGLE: f64 = 1.55;

/// A lens with its coefficients.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lens {
    /// None, or a rectified picture.
    Pinhole,
    /// plumb_bob and rational_polynomial, as OpenCV orders them: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4.
    Polynomial([f64; 12]),
    /// OpenCV's fisheye, k1 to k4: Kannala & Brandt, "A generic camera model", 2006, equation 6.
    Equidistant([f64; 4]),
}

/// A distorted point and the derivatives there: [[dx'/dx, dx'/dy], [dy'/dx, dy'/dy]].
struct Distorted {
    point: [f64; 2],
    jacobian: [[f64; 2]; 2],
}

impl Lens {
    /// Reads distortion_model and D.
    pub fn parse(model: &str, d: &[f64]) -> Result<Self, CalibrationError> {
        let (model, counts, expected): (_, &[usize], _) = match model {
            "plumb_bob" => ("plumb_bob", &[0, 4, 5], "none, 4 or 5"),
            // 12: with thin prism. 14 would tilt the sensor as well.
            "rational_polynomial" => ("rational_polynomial", &[0, 8, 12, 14], "none, 8, 12 or 14 (the last two 0)"),
            "equidistant" => ("equidistant", &[4], "4"),
            // Drivers of cameras without distortion leave both empty.
            "" if d.iter().all(|&coefficient| coefficient == 0.0) => return Ok(Self::Pinhole),
            _ => return Err(CalibrationError::UnknownModel { found: excerpt(model) }),
        };
        let refused = |found: String| CalibrationError::Coefficients { model, expected, found };
        if !counts.contains(&d.len()) {
            return Err(refused(d.len().to_string()));
        }
        if let Some(odd) = d.iter().find(|coefficient| !coefficient.is_finite()) {
            return Err(refused(odd.to_string()));
        }
        if let Some(tilt) = d.iter().skip(12).find(|&&tilt| tilt != 0.0) {
            return Err(refused(format!("a tilted sensor ({tilt})")));
        }
        if let ("equidistant", &[k1, k2, k3, k4]) = (model, d) {
            return Ok(Self::Equidistant([k1, k2, k3, k4]));
        }
        if d.iter().all(|&coefficient| coefficient == 0.0) {
            return Ok(Self::Pinhole);
        }
        let mut coefficients = [0.0; 12];
        coefficients.iter_mut().zip(d).for_each(|(to, from)| *to = *from);
        Ok(Self::Polynomial(coefficients))
    }

    /// Where the lens shows an ideal point.
    pub fn distort(&self, ideal: [f64; 2]) -> [f64; 2] {
        match self {
            Self::Pinhole => ideal,
            Self::Polynomial(coefficients) => polynomial(coefficients, ideal).point,
            Self::Equidistant(k) => {
                let radius = ideal[0].hypot(ideal[1]);
                if radius == 0.0 {
                    return ideal;
                }
                let scale = equidistant(k, radius.atan()).0 / radius;
                ideal.map(|x| x * scale)
            }
        }
    }

    /// The ideal point that the lens shows at `seen`. None where there is none, where the lens folds the picture over
    /// itself so that there are several, or further than [`WIDEST_ANGLE`] from the axis.
    pub fn undistort(&self, seen: [f64; 2]) -> Option<[f64; 2]> {
        let ideal = match self {
            Self::Pinhole => Some(seen),
            Self::Polynomial(coefficients) => undo_polynomial(coefficients, seen),
            Self::Equidistant(k) => undo_equidistant(k, seen),
        };
        ideal.filter(|[x, y]| x.hypot(*y).atan() <= WIDEST_ANGLE)
    }
}

/// OpenCV's pinhole model with radial, tangential and thin prism distortion (documentation of calib3d).
fn polynomial([k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4]: &[f64; 12], [x, y]: [f64; 2]) -> Distorted {
    let r2 = x * x + y * y;
    let above = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    let below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6));
    let radial = above / below;
    // Derivatives by r2.
    let above_rate = k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3);
    let below_rate = k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6);
    let radial_rate = (above_rate - radial * below_rate) / below;
    let (prism_x, prism_y) = (s1 + 2.0 * s2 * r2, s3 + 2.0 * s4 * r2);
    Distorted {
        point: [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
        ],
        jacobian: [
            [
                radial + 2.0 * x * (x * radial_rate + prism_x) + 2.0 * p1 * y + 6.0 * p2 * x,
                2.0 * y * (x * radial_rate + prism_x) + 2.0 * p1 * x + 2.0 * p2 * y,
            ],
            [
                2.0 * x * (y * radial_rate + prism_y) + 2.0 * p1 * x + 2.0 * p2 * y,
                radial + 2.0 * y * (y * radial_rate + prism_y) + 6.0 * p1 * y + 2.0 * p2 * x,
            ],
        ],
    }
}

/// Newton's method, its steps halved until they help.
fn undo_polynomial(coefficients: &[f64; 12], seen: [f64; 2]) -> Option<[f64; 2]> {
    let error = |at: &Distorted| [seen[0] - at.point[0], seen[1] - at.point[1]];
    let size = |[x, y]: [f64; 2]| x.hypot(y);
    let mut point = seen;
    let mut at = polynomial(coefficients, point);
    for _ in 0..MAX_STEPS {
        let left = error(&at);
        if size(left) <= TOLERANCE {
            return is_unfolded(coefficients, point).then_some(point);
        }
        let [[a, b], [c, d]] = at.jacobian;
        let determinant = a * d - b * c;
        let step = [(d * left[0] - b * left[1]) / determinant, (a * left[1] - c * left[0]) / determinant];
        let mut share = 1.0;
        loop {
            let next = [point[0] + share * step[0], point[1] + share * step[1]];
            let there = polynomial(coefficients, next);
            // A NaN is no improvement.
            if size(error(&there)) < size(left) {
                (point, at) = (next, there);
                break;
            }
            share /= 2.0;
            if share < 1e-3 {
                return None;
            }
        }
    }
    None
}

/// From the axis to the point, does the picture keep its orientation? Beyond a fold the same pixel has another source.
fn is_unfolded(coefficients: &[f64; 12], [x, y]: [f64; 2]) -> bool {
    (1..=8).all(|part| {
        let share = f64::from(part) / 8.0;
        let [[a, b], [c, d]] = polynomial(coefficients, [share * x, share * y]).jacobian;
        // With NaN it is false.
        a * d - b * c > 0.0 && a + d > 0.0
    })
}

/// Radius in the picture of a ray at `angle` [rad] from the axis, and its derivative.
fn equidistant([k1, k2, k3, k4]: &[f64; 4], angle: f64) -> (f64, f64) {
    let t2 = angle * angle;
    let radius = angle * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))));
    (radius, 1.0 + t2 * (3.0 * k1 + t2 * (5.0 * k2 + t2 * (7.0 * k3 + t2 * 9.0 * k4))))
}

/// The smallest angle that has this radius: by steps to the first place beyond it, then by bisection, which neither
/// diverges nor jumps over a fold.
fn undo_equidistant(k: &[f64; 4], seen: [f64; 2]) -> Option<[f64; 2]> {
    const STEPS: u32 = 32;
    let radius = seen[0].hypot(seen[1]);
    if radius <= f64::MIN_POSITIVE {
        return Some(seen);
    }
    let mut low = 0.0;
    for step in 1..=STEPS {
        let mut high = WIDEST_ANGLE * f64::from(step) / f64::from(STEPS);
        let (reached, rate) = equidistant(k, high);
        if reached >= radius {
            for _ in 0..52 {
                let middle = (low + high) / 2.0;
                *(if equidistant(k, middle).0 < radius { &mut low } else { &mut high }) = middle;
            }
            let scale = high.tan() / radius;
            return ((equidistant(k, high).0 - radius).abs() <= TOLERANCE)
                .then_some([seen[0] * scale, seen[1] * scale]);
        }
        // The picture turns back: further out there is no first place. NaN ends here too.
        if rate.is_nan() || rate <= 0.0 {
            return None;
        }
        low = high;
    }
    None
}
