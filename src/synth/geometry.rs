//! Points and frames. Only +, -, *, / and square roots, which IEEE 754 fixes to the last bit: what the mathematics
//! libraries of two machines disagree on is not used anywhere in drawing.

use std::ops::{Add, Mul, Sub};

/// A point or a vector; x to the right, y down.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct P {
    pub(super) x: f32,
    pub(super) y: f32,
}

/// A point.
pub(super) const fn p(x: f32, y: f32) -> P {
    P { x, y }
}

impl Add for P {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        p(self.x + other.x, self.y + other.y)
    }
}

impl Sub for P {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        p(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for P {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        p(self.x * factor, self.y * factor)
    }
}

impl P {
    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// Of length 1; to the right where it has no direction.
    pub(super) fn unit(self) -> Self {
        let length = self.length();
        if length > 1e-6 { self * (1.0 / length) } else { p(1.0, 0.0) }
    }

    /// Turned by a quarter.
    pub(super) fn across(self) -> Self {
        p(-self.y, self.x)
    }

    pub(super) fn min(self, other: Self) -> Self {
        p(self.x.min(other.x), self.y.min(other.y))
    }

    pub(super) fn max(self, other: Self) -> Self {
        p(self.x.max(other.x), self.y.max(other.y))
    }
}

/// The direction at so many turns from +x towards +y: (cosine, sine), good to 1e-6, by their series.
pub(super) fn direction(turns: f32) -> P {
    let quarter = (turns * 4.0 + 0.5).floor();
    let angle = (turns - quarter / 4.0) * (2.0 * std::f32::consts::PI);
    let square = angle * angle;
    let sine = angle * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0)));
    let cosine = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0)));
    match (quarter as i64).rem_euclid(4) {
        0 => p(cosine, sine),
        1 => p(-sine, cosine),
        2 => p(-cosine, -sine),
        _ => p(sine, -cosine),
    }
}

/// Where a drawing's own space lies on the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    origin: P,
    /// The images of the unit vectors.
    x: P,
    y: P,
}

impl Frame {
    /// Its x axis along `along` and `scale` pixels per unit; mirrored: its y axis the other way.
    pub(super) fn new(origin: P, along: P, scale: f32, mirrored: bool) -> Self {
        let x = along.unit() * scale;
        let y = if mirrored { x.across() * -1.0 } else { x.across() };
        Self { origin, x, y }
    }

    /// Stretched by these factors along its own axes.
    pub(super) fn stretched(self, x: f32, y: f32) -> Self {
        Self { x: self.x * x, y: self.y * y, ..self }
    }

    pub(super) fn moved(self, by: P) -> Self {
        Self { origin: self.origin + by, ..self }
    }

    /// Pixels per unit, the mean of both axes.
    pub(super) fn scale(&self) -> f32 {
        self.determinant().abs().sqrt()
    }

    /// From its own space to the canvas.
    pub(super) fn place(&self, point: P) -> P {
        self.origin + self.vector(point)
    }

    /// A vector to the canvas.
    pub(super) fn vector(&self, vector: P) -> P {
        self.x * vector.x + self.y * vector.y
    }

    /// From the canvas to its own space.
    pub(super) fn local(&self, point: P) -> P {
        let (d, det) = (point - self.origin, self.determinant());
        p((d.x * self.y.y - d.y * self.y.x) / det, (d.y * self.x.x - d.x * self.x.y) / det)
    }

    fn determinant(&self) -> f32 {
        self.x.x * self.y.y - self.x.y * self.y.x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_cosine_and_sine() {
        for step in -400..400 {
            let turns = step as f32 / 173.0;
            let angle = f64::from(turns) * std::f64::consts::TAU;
            let found = direction(turns);
            assert!((f64::from(found.x) - angle.cos()).abs() < 2e-6, "{turns}");
            assert!((f64::from(found.y) - angle.sin()).abs() < 2e-6, "{turns}");
        }
    }

    #[test]
    fn a_frame_and_back_is_the_same_point() {
        let frame = Frame::new(p(30.0, -7.0), p(2.0, 1.0), 12.0, true).stretched(1.1, 0.8);
        let point = frame.local(frame.place(p(0.3, -0.9)));
        assert!((point - p(0.3, -0.9)).length() < 1e-5);
    }
}
