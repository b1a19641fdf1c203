//! Outlines: traced between hot and cold pixels, placed where the heat crosses the threshold, then simplified.

/// A grid of heat with its threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeatGrid<'a> {
    pub heat: &'a [f32],
    pub width: usize,
    pub height: usize,
    pub threshold: f32,
}

/// How far an outline stays from pixel centres on either side, in pixels: a region of one pixel still has an area.
const MARGIN: f32 = 0.05;

/// Directions along pixel edges, clockwise with y down: east, south, west, north.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];
/// The pixel to the right of an edge that leaves corner (0, 0), by direction.
const RIGHT: [(isize, isize); 4] = [(0, 0), (-1, 0), (-1, -1), (0, -1)];
/// The pixel to the left of it.
const LEFT: [(isize, isize); 4] = [(0, -1), (0, 0), (-1, 0), (-1, -1)];

impl HeatGrid<'_> {
    fn at(&self, (x, y): (isize, isize)) -> Option<f32> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.width && y < self.height).then(|| self.heat[y * self.width + x])
    }

    fn is_hot(&self, pixel: (isize, isize)) -> bool {
        self.at(pixel).is_some_and(|h| h >= self.threshold)
    }

    /// Outer outline of the component (8-connectivity) whose topmost-leftmost pixel is `first`, clockwise, in grid
    /// pixels (centre of the top left pixel = 0).
    ///
    /// One point per pixel edge between hot and cold, where the heat crosses the threshold if it is linear between the
    /// two centres. This makes the outline finer than the grid; it can't cross itself.
    pub fn trace(&self, first: (usize, usize), out: &mut Vec<[f32; 2]>) {
        out.clear();
        let start = (first.0 as isize, first.1 as isize);
        let (mut corner, mut direction) = (start, 0);
        loop {
            let beside = |offsets: [(isize, isize); 4], corner: (isize, isize), direction: usize| {
                (corner.0 + offsets[direction].0, corner.1 + offsets[direction].1)
            };
            out.push(self.crossing(beside(RIGHT, corner, direction), beside(LEFT, corner, direction)));
            corner = (corner.0 + STEPS[direction].0, corner.1 + STEPS[direction].1);
            // Left first: pixels that touch only at a corner belong together.
            if self.is_hot(beside(LEFT, corner, direction)) {
                direction = (direction + 3) % 4;
            } else if !self.is_hot(beside(RIGHT, corner, direction)) {
                direction = (direction + 1) % 4;
            }
            if (corner, direction) == (start, 0) {
                return;
            }
        }
    }

    /// Where the heat crosses the threshold between a hot pixel and its cold neighbour; the pixel's own edge at the
    /// border of the grid.
    fn crossing(&self, hot: (isize, isize), cold: (isize, isize)) -> [f32; 2] {
        let t = match (self.at(hot), self.at(cold)) {
            (Some(h), Some(c)) if h > c => ((h - self.threshold) / (h - c)).clamp(MARGIN, 1.0 - MARGIN),
            _ => 0.5,
        };
        let between = |h: isize, c: isize| h as f32 + t * (c - h) as f32;
        [between(hot.0, cold.0), between(hot.1, cold.1)]
    }
}

/// Douglas-Peucker on closed polygons, with the tolerance chosen by the number of points allowed.
#[derive(Debug, Default)]
pub(super) struct Simplifier {
    significance: Vec<f32>,
    ranked: Vec<f32>,
    chains: Vec<(usize, usize, f32)>,
}

impl Simplifier {
    /// Keeps the points that lie further than `tolerance` from the simplified outline, and of those the most
    /// significant `max_points`. Returns true if the limit cut something.
    pub fn simplify(
        &mut self,
        points: &[[f32; 2]],
        tolerance: f32,
        max_points: usize,
        out: &mut Vec<[f32; 2]>,
    ) -> bool {
        out.clear();
        if points.len() < 3 {
            out.extend_from_slice(points);
            return false;
        }
        self.rank(points);
        self.ranked.clear();
        let mut limit = tolerance * tolerance;
        self.ranked.extend(self.significance.iter().copied().filter(|s| *s > limit));
        let cut = self.ranked.len() > max_points;
        if cut {
            // The most significant point that must go; its equals go with it.
            let (_, value, _) = self.ranked.select_nth_unstable_by(max_points, |a, b| b.total_cmp(a));
            limit = *value;
        }
        out.extend(points.iter().zip(&self.significance).filter(|(_, s)| **s > limit).map(|(p, _)| *p));
        cut
    }

    /// Finds, for every point, the largest (squared) tolerance at which Douglas-Peucker would still keep it: its own
    /// distance from its chain's chord, or its chain's own significance if that is less.
    fn rank(&mut self, points: &[[f32; 2]]) {
        let (a, b) = distant_pair(points);
        self.significance.clear();
        self.significance.resize(points.len(), 0.0);
        self.significance[a] = f32::INFINITY;
        self.significance[b] = f32::INFINITY;
        self.chains.clear();
        self.chains.extend([(a, b, f32::INFINITY), (b, a + points.len(), f32::INFINITY)]);
        while let Some((from, to, parent)) = self.chains.pop() {
            let at = |i: usize| points[if i < points.len() { i } else { i - points.len() }];
            let (a, b) = (at(from), at(to));
            let mut farthest = (0, -1.0);
            for i in from + 1..to {
                let distance = squared_distance_to_segment(at(i), a, b);
                if distance > farthest.1 {
                    farthest = (i, distance);
                }
            }
            if let (i @ 1.., distance) = farthest {
                let significance = distance.min(parent);
                self.significance[i % points.len()] = significance;
                self.chains.extend([(from, i, significance), (i, to, significance)]);
            }
        }
    }
}

/// Two points far from each other, in index order: a good place to cut a closed outline into two chains.
fn distant_pair(points: &[[f32; 2]]) -> (usize, usize) {
    let farthest_from = |origin: [f32; 2]| {
        let squared = |p: &[f32; 2]| (p[0] - origin[0]).powi(2) + (p[1] - origin[1]).powi(2);
        let mut best = (0, -1.0);
        for (i, p) in points.iter().enumerate() {
            if squared(p) > best.1 {
                best = (i, squared(p));
            }
        }
        best.0
    };
    let a = farthest_from(points[0]);
    let b = farthest_from(points[a]);
    (a.min(b), a.max(b))
}

pub(super) fn squared_distance_to_segment(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (d, v) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length_squared = d[0] * d[0] + d[1] * d[1];
    let t = if length_squared > 0.0 { ((v[0] * d[0] + v[1] * d[1]) / length_squared).clamp(0.0, 1.0) } else { 0.0 };
    (v[0] - t * d[0]).powi(2) + (v[1] - t * d[1]).powi(2)
}
