//! Flat shapes as signed distances: how far a point is from the outline, negative inside. The formulas are the well-known
//! ones of distance-field drawing.

use super::geometry::{P, p};

/// An outline in a drawing's own space.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// Everything within a radius of a line, the radius running from one end to the other.
    Rod { from: P, to: P, radii: (f32, f32) },
    /// Everything within a radius of a chain of lines.
    Line { points: Vec<P>, radius: f32 },
    /// A closed outline, grown by a rounding.
    Polygon { points: Vec<P>, rounding: f32 },
    /// An ellipse with its axes along x and y.
    Ellipse { centre: P, radii: P },
    /// The band around such an ellipse, this far to each side.
    Ring { centre: P, radii: P, half_width: f32 },
    /// A box; `half` are half its outer sides.
    Box { centre: P, half: P, rounding: f32 },
}

impl Shape {
    pub(super) fn distance(&self, at: P) -> f32 {
        match self {
            Self::Rod { from, to, radii } => {
                let (distance, along) = to_segment(at, *from, *to);
                distance - (radii.0 + (radii.1 - radii.0) * along)
            }
            Self::Line { points, radius } => {
                let nearest = points.windows(2).map(|ends| to_segment(at, ends[0], ends[1]).0);
                nearest.fold(f32::INFINITY, f32::min) - radius
            }
            Self::Polygon { points, rounding } => to_polygon(at, points) - rounding,
            Self::Ellipse { centre, radii } => to_ellipse(at - *centre, *radii),
            Self::Ring { centre, radii, half_width } => to_ellipse(at - *centre, *radii).abs() - half_width,
            Self::Box { centre, half, rounding } => {
                let d = at - *centre;
                let (x, y) = (d.x.abs() - (half.x - rounding), d.y.abs() - (half.y - rounding));
                p(x.max(0.0), y.max(0.0)).length() + x.max(y).min(0.0) - rounding
            }
        }
    }

    /// The corners of a box that holds it.
    pub(super) fn bounds(&self) -> (P, P) {
        let around = |points: &[P], by: f32| {
            let low = points.iter().copied().fold(p(f32::INFINITY, f32::INFINITY), P::min);
            let high = points.iter().copied().fold(p(f32::NEG_INFINITY, f32::NEG_INFINITY), P::max);
            (low - p(by, by), high + p(by, by))
        };
        match self {
            Self::Rod { from, to, radii } => around(&[*from, *to], radii.0.max(radii.1)),
            Self::Line { points, radius } => around(points, *radius),
            Self::Polygon { points, rounding } => around(points, *rounding),
            Self::Ellipse { centre, radii } => (*centre - *radii, *centre + *radii),
            Self::Ring { centre, radii, half_width } => {
                let outer = *radii + p(*half_width, *half_width);
                (*centre - outer, *centre + outer)
            }
            Self::Box { centre, half, .. } => (*centre - *half, *centre + *half),
        }
    }
}

/// The distance to a line between two points, and the share of the way at which it is nearest.
fn to_segment(at: P, from: P, to: P) -> (f32, f32) {
    let (along, offset) = (to - from, at - from);
    let share = (offset.dot(along) / along.dot(along).max(1e-12)).clamp(0.0, 1.0);
    ((offset - along * share).length(), share)
}

fn to_polygon(at: P, points: &[P]) -> f32 {
    let (mut nearest, mut inside) = (f32::INFINITY, false);
    for (index, a) in points.iter().enumerate() {
        let b = points[(index + 1) % points.len()];
        nearest = nearest.min(to_segment(at, *a, b).0);
        // A ray towards +x from an inside point crosses the outline an odd number of times.
        if (a.y > at.y) != (b.y > at.y) && at.x < (at.y - a.y) * (b.x - a.x) / (b.y - a.y) + a.x {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

/// First-order: exact for circles, close to the outline for others.
fn to_ellipse(at: P, radii: P) -> f32 {
    let scaled = p(at.x / radii.x, at.y / radii.y).length();
    let slope = p(at.x / (radii.x * radii.x), at.y / (radii.y * radii.y)).length();
    if slope < 1e-6 { -radii.x.min(radii.y) } else { scaled * (scaled - 1.0) / slope }
}

/// A curve from `from` to `to`, pulled towards `pull` (quadratic Bezier), as a chain of 9 points.
pub(super) fn curve(from: P, pull: P, to: P) -> Vec<P> {
    (0..=8)
        .map(|step| {
            let t = step as f32 / 8.0;
            let (a, b) = (from + (pull - from) * t, pull + (to - pull) * t);
            a + (b - a) * t
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_inside_of_its_bounds() {
        let shapes = [
            Shape::Rod { from: p(0.0, 0.0), to: p(1.0, 0.5), radii: (0.2, 0.4) },
            Shape::Line { points: curve(p(0.0, 0.0), p(1.0, 0.0), p(1.0, 1.0)), radius: 0.1 },
            Shape::Polygon { points: vec![p(0.0, 0.0), p(1.0, 0.2), p(0.3, 0.9)], rounding: 0.1 },
            Shape::Ellipse { centre: p(0.5, 0.5), radii: p(0.5, 0.2) },
            Shape::Ring { centre: p(0.5, 0.5), radii: p(0.5, 0.4), half_width: 0.1 },
            Shape::Box { centre: p(0.5, 0.5), half: p(0.5, 0.2), rounding: 0.1 },
        ];
        for shape in shapes {
            let (low, high) = shape.bounds();
            let mut inside = 0;
            for place in 0..6400 {
                let at = p((place % 80) as f32 / 20.0 - 1.5, (place / 80) as f32 / 20.0 - 1.5);
                if shape.distance(at) < 0.0 {
                    inside += 1;
                    let within = at.x >= low.x && at.x <= high.x && at.y >= low.y && at.y <= high.y;
                    assert!(within, "{shape:?} has {at:?}");
                }
            }
            assert!(inside > 20, "{shape:?}: {inside}");
        }
    }
}
