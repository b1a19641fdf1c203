//! Plane geometry of outlines.

use std::f32::consts::{FRAC_PI_2, PI};

use super::contour::squared_distance_to_segment;

/// A rectangle turned any way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    pub center: [f32; 2],
    /// Long side, short side.
    pub size: [f32; 2],
    /// Direction of the long side, in (-pi/2, pi/2].
    pub theta_rad: f32,
}

/// The half turn of a line's direction that lies in (-pi/2, pi/2].
pub(super) fn line_angle(angle_rad: f32) -> f32 {
    let angle = angle_rad.rem_euclid(PI);
    if angle > FRAC_PI_2 { angle - PI } else { angle }
}

/// The smallest rectangle around the points: one of its sides lies along an edge of the convex hull. `points` are
/// reordered. (imageproc's `min_area_rect` rounds to whole pixels and leaves out the hull's closing edge.)
pub(super) fn min_area_rectangle(points: &mut [[f32; 2]], hull: &mut Vec<[f32; 2]>) -> Rectangle {
    convex_hull(points, hull);
    let mut best: Option<(f32, Rectangle)> = None;
    for (i, a) in hull.iter().enumerate() {
        let b = hull[(i + 1) % hull.len()];
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let u = if length > 0.0 { [(b[0] - a[0]) / length, (b[1] - a[1]) / length] } else { [1.0, 0.0] };
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for p in &*hull {
            let along = [p[0] * u[0] + p[1] * u[1], p[1] * u[0] - p[0] * u[1]];
            for axis in 0..2 {
                low[axis] = low[axis].min(along[axis]);
                high[axis] = high[axis].max(along[axis]);
            }
        }
        let size = [high[0] - low[0], high[1] - low[1]];
        let area = size[0] * size[1];
        if best.is_none_or(|(smallest, _)| area < smallest) {
            let middle = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
            let center = [middle[0] * u[0] - middle[1] * u[1], middle[0] * u[1] + middle[1] * u[0]];
            let angle = u[1].atan2(u[0]);
            let (size, angle) =
                if size[0] >= size[1] { (size, angle) } else { ([size[1], size[0]], angle + FRAC_PI_2) };
            best = Some((area, Rectangle { center, size, theta_rad: line_angle(angle) }));
        }
    }
    best.map_or(Rectangle { center: [0.0; 2], size: [0.0; 2], theta_rad: 0.0 }, |(_, rectangle)| rectangle)
}

impl Rectangle {
    /// The four corners, clockwise with y down.
    pub fn corners(&self) -> [[f32; 2]; 4] {
        let (sin, cos) = self.theta_rad.sin_cos();
        [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)].map(|(u, v)| {
            let (u, v) = (u * self.size[0], v * self.size[1]);
            [self.center[0] + u * cos - v * sin, self.center[1] + u * sin + v * cos]
        })
    }
}

/// Andrew's monotone chain.
fn convex_hull(points: &mut [[f32; 2]], hull: &mut Vec<[f32; 2]>) {
    hull.clear();
    points.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let mut half = |points: &mut dyn Iterator<Item = [f32; 2]>| {
        let base = hull.len();
        for p in points {
            while hull.len() >= base + 2 && cross(hull[hull.len() - 2], hull[hull.len() - 1], p) <= 0.0 {
                hull.pop();
            }
            hull.push(p);
        }
        // The end of one half is the start of the other.
        if hull.len() > base + 1 {
            hull.pop();
        }
    };
    half(&mut points.iter().copied());
    half(&mut points.iter().rev().copied());
}

/// Twice the signed area of the triangle a, b, c; f64 because hulls hold nearly straight corners.
fn cross(a: [f32; 2], b: [f32; 2], c: [f32; 2]) -> f64 {
    let [ax, ay] = a.map(f64::from);
    (f64::from(b[0]) - ax) * (f64::from(c[1]) - ay) - (f64::from(b[1]) - ay) * (f64::from(c[0]) - ax)
}

/// True if the point lies inside the closed polygon and further than `margin` from its outline.
pub(super) fn is_inside(polygon: &[[f32; 2]], point: [f32; 2], margin: f32) -> bool {
    let mut inside = false;
    for (i, a) in polygon.iter().enumerate() {
        let b = polygon[(i + 1) % polygon.len()];
        if squared_distance_to_segment(point, *a, b) <= margin * margin {
            return false;
        }
        // Even-odd rule: count the edges a ray towards +x crosses.
        if (a[1] > point[1]) != (b[1] > point[1]) && point[0] < (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]) + a[0]
        {
            inside = !inside;
        }
    }
    inside
}

/// True if two edges of the closed polygon that are no neighbours cross.
pub(super) fn crosses_itself(polygon: &[[f32; 2]]) -> bool {
    let n = polygon.len();
    let edge = |i: usize| (polygon[i], polygon[(i + 1) % n]);
    (0..n).any(|i| {
        let last = if i == 0 { n.saturating_sub(1) } else { n };
        (i + 2..last).any(|j| {
            let ((a, b), (c, d)) = (edge(i), edge(j));
            (cross(a, b, c) > 0.0) != (cross(a, b, d) > 0.0) && (cross(c, d, a) > 0.0) != (cross(c, d, b) > 0.0)
        })
    })
}
