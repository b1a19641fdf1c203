//! A region's pixels with their depth, parted where depth jumps.

use super::DepthImage;

/// Pixels looked at per region at most; of a larger region every second, third... along both axes. What is measured
/// from them is worth less than a pixel, and a picture may hold hundreds of regions.
const MAX_CELLS: u64 = 40_000;
/// Neighbours whose depths differ by more than `JUMP_M + JUMP_SHARE * depth` lie on different things. Less than this
/// is a surface seen at a slant, or noise, which grows with the distance.
const JUMP_M: f32 = 0.004;
const JUMP_SHARE: f32 = 0.012;
/// A part with fewer of the region's valid pixels than this share is taken for noise.
const FOREGROUND_SHARE: f64 = 0.1;
/// Fewest pixels that a part needs.
const FOREGROUND_CELLS: usize = 12;
/// From this share of the region's pixels on, another part or the far distance makes a depth edge.
const EDGE_SHARE: f64 = 0.05;

/// Not in the region.
const OUTSIDE: u32 = u32::MAX;
/// In the region, without usable depth.
const EMPTY: u32 = u32::MAX - 1;
/// In the region, not yet in any part.
const UNSEEN: u32 = u32::MAX - 2;

/// What is at a place of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// The measured part, with its depth [m].
    Surface(f32),
    /// In the region, depth unknown.
    Unknown,
    /// Not in the region, or another part.
    Elsewhere,
}

/// A region's pixels on a grid of every `stride`-th pixel; keeps its memory from region to region.
#[derive(Debug, Default)]
pub(super) struct RegionPatch {
    /// Picture pixel of the first cell.
    origin: [u32; 2],
    /// Picture pixels from one cell to the next.
    stride: u32,
    width: usize,
    height: usize,
    depth: Vec<f32>,
    labels: Vec<u32>,
    pending: Vec<usize>,
    crossings: Vec<f32>,
    parts: Vec<Part>,
    /// The part that is measured.
    chosen: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Part {
    cells: usize,
    depth_sum: f64,
}

/// How much depth a region has.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Coverage {
    /// Cells of the region.
    pub cells: usize,
    /// Those with depth within the range.
    pub valid: usize,
    /// Those with depth beyond it.
    pub far: usize,
}

/// The part to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Foreground {
    /// Its cells.
    pub cells: usize,
    /// There is more behind it: the region crosses a jump in depth.
    pub has_edge: bool,
}

impl RegionPatch {
    /// Reads the depth of the pixels whose centres lie within `contour`. Depth counts from `range_m[0]` to `range_m[1]`.
    pub fn fill(&mut self, contour: &[[f32; 2]], depth: &DepthImage<'_>, range_m: [f64; 2]) -> Coverage {
        self.outline(contour, depth);
        let mut coverage = Coverage::default();
        for row in 0..self.height {
            let y = self.origin[1] + row as u32 * self.stride;
            self.cross(contour, y as f32);
            for span in 0..self.crossings.len() / 2 {
                let (from, to) = (self.crossings[2 * span], self.crossings[2 * span + 1]);
                for column in self.columns(from, to) {
                    let metres = depth.at(self.origin[0] + column as u32 * self.stride, y);
                    let is_valid = (range_m[0]..=range_m[1]).contains(&f64::from(metres));
                    let cell = row * self.width + column;
                    self.depth[cell] = metres;
                    self.labels[cell] = if is_valid { UNSEEN } else { EMPTY };
                    coverage.cells += 1;
                    coverage.valid += usize::from(is_valid);
                    coverage.far += usize::from(f64::from(metres) > range_m[1]);
                }
            }
        }
        coverage
    }

    /// Parts the region where depth jumps and chooses the nearest part that is no noise: what lies behind an edge is
    /// background, and an average of both would be a place where nothing is. None if there is none.
    pub fn choose_foreground(&mut self, coverage: &Coverage) -> Option<Foreground> {
        self.part();
        let fewest = FOREGROUND_CELLS.max((FOREGROUND_SHARE * coverage.valid as f64).ceil() as usize);
        let mean = |part: &Part| part.depth_sum / part.cells as f64;
        let sizeable = self.parts.iter().enumerate().filter(|(_, part)| part.cells >= fewest);
        let (chosen, part) = sizeable.min_by(|(_, a), (_, b)| mean(a).total_cmp(&mean(b)))?;
        self.chosen = chosen as u32;
        // What is no part is noise: depth there is unknown, and parts nothing.
        for label in self.labels.iter_mut().filter(|label| **label < UNSEEN) {
            if self.parts.get(*label as usize).is_some_and(|part| part.cells < FOREGROUND_CELLS) {
                *label = EMPTY;
            }
        }
        let edge_cells = FOREGROUND_CELLS.max((EDGE_SHARE * coverage.cells as f64).ceil() as usize);
        let another = self.parts.iter().enumerate().any(|(index, part)| index != chosen && part.cells >= edge_cells);
        Some(Foreground { cells: part.cells, has_edge: another || coverage.far >= edge_cells })
    }

    /// Picture pixels from one cell to the next.
    pub fn stride(&self) -> f64 {
        f64::from(self.stride)
    }

    /// What is at a picture position.
    pub fn at(&self, position: [f64; 2]) -> Place {
        match self.cell(position) {
            Some(cell) if self.labels[cell] == self.chosen => Place::Surface(self.depth[cell]),
            Some(cell) if self.labels[cell] == EMPTY => Place::Unknown,
            _ => Place::Elsewhere,
        }
    }

    /// The centre of the cell in which a picture position lies: its depth is that of this place.
    pub fn centre(&self, position: [f64; 2]) -> [f64; 2] {
        let along = |axis: usize| {
            let origin = f64::from(self.origin[axis]);
            origin + ((position[axis] - origin) / self.stride()).round() * self.stride()
        };
        [along(0), along(1)]
    }

    /// Position [px] and depth [m] of the measured part's pixels, of those within `radius` pixels (along x and y) around
    /// `centre`, thinned to roughly `limit`.
    pub fn surface(
        &self,
        centre: [f64; 2],
        radius: f64,
        limit: usize,
    ) -> impl Iterator<Item = ([f64; 2], f64)> + use<'_> {
        let range = |axis: usize, cells: usize| {
            let cell = |position: f64| (position - f64::from(self.origin[axis])) / self.stride();
            // Casts saturate: negative and NaN become 0.
            let first = cell(centre[axis] - radius).ceil() as usize;
            first.min(cells)..(cell(centre[axis] + radius).floor().max(-1.0) + 1.0).min(cells as f64) as usize
        };
        let (columns, rows) = (range(0, self.width), range(1, self.height));
        let every = ((columns.len() * rows.len()) as f64 / limit.max(1) as f64).sqrt().ceil().max(1.0) as usize;
        rows.step_by(every).flat_map(move |row| {
            columns.clone().step_by(every).filter_map(move |column| {
                let cell = row * self.width + column;
                (self.labels[cell] == self.chosen).then(|| (self.position(cell), f64::from(self.depth[cell])))
            })
        })
    }

    /// All of the measured part: see [`Self::surface`].
    pub fn whole_surface(&self, limit: usize) -> impl Iterator<Item = ([f64; 2], f64)> + use<'_> {
        self.surface([0.0; 2], f64::INFINITY, limit)
    }

    /// The place of the measured part that is nearest to a position: that itself where it can be, and otherwise one that
    /// is not at the very edge, where depth is least sure.
    pub fn nearest_surface(&self, position: [f64; 2]) -> Option<[f64; 2]> {
        if matches!(self.at(position), Place::Surface(_)) {
            return Some(position);
        }
        const CLEARANCE: f64 = 3.0;
        let around = |[x, y]: [f64; 2]| {
            let reach = CLEARANCE * self.stride();
            [[reach, 0.0], [-reach, 0.0], [0.0, reach], [0.0, -reach]].map(|[dx, dy]| [x + dx, y + dy])
        };
        let is_inner = |place: [f64; 2]| around(place).iter().all(|p| matches!(self.at(*p), Place::Surface(_)));
        let distance = |[x, y]: [f64; 2]| (x - position[0]).hypot(y - position[1]);
        let all = || self.whole_surface(usize::MAX).map(|(place, _)| place);
        let nearest = |a: &[f64; 2], b: &[f64; 2]| distance(*a).total_cmp(&distance(*b));
        all().filter(|place| is_inner(*place)).min_by(nearest).or_else(|| all().min_by(nearest))
    }

    /// Lays the grid over the contour, within the image.
    fn outline(&mut self, contour: &[[f32; 2]], depth: &DepthImage<'_>) {
        let size = depth.size();
        let side = |axis: usize, pixels: u32| {
            let coordinates = || contour.iter().map(|point| point[axis]);
            // Casts saturate, and NaN becomes 0.
            let first = coordinates().fold(f32::INFINITY, f32::min).max(0.0).ceil() as u32;
            let last = coordinates().fold(f32::NEG_INFINITY, f32::max).max(-1.0).floor() + 1.0;
            (first.min(pixels), (last as u32).min(pixels))
        };
        let ((left, right), (top, bottom)) = (side(0, size.width), side(1, size.height));
        let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
        let pixels = u64::from(width) * u64::from(height);
        self.stride = (pixels as f64 / MAX_CELLS as f64).sqrt().ceil().max(1.0) as u32;
        self.origin = [left, top];
        self.width = width.div_ceil(self.stride) as usize;
        self.height = height.div_ceil(self.stride) as usize;
        self.depth.clear();
        self.depth.resize(self.width * self.height, f32::NAN);
        self.labels.clear();
        self.labels.resize(self.width * self.height, OUTSIDE);
        self.chosen = OUTSIDE - 3;
    }

    /// Where the contour crosses a row, from left to right: inside lies between the first and the second...
    fn cross(&mut self, contour: &[[f32; 2]], y: f32) {
        self.crossings.clear();
        for (i, a) in contour.iter().enumerate() {
            let b = contour[(i + 1) % contour.len()];
            if (a[1] > y) != (b[1] > y) {
                self.crossings.push((b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]);
            }
        }
        self.crossings.sort_unstable_by(f32::total_cmp);
    }

    /// The columns whose pixels lie from `from` to `to`.
    fn columns(&self, from: f32, to: f32) -> std::ops::Range<usize> {
        let column = |x: f32| ((x - self.origin[0] as f32) / self.stride as f32).ceil().max(0.0) as usize;
        column(from).min(self.width)..column(to).min(self.width)
    }

    fn part(&mut self) {
        self.parts.clear();
        for start in 0..self.labels.len() {
            if self.labels[start] != UNSEEN {
                continue;
            }
            // At most MAX_CELLS and a row or column more: never near the marks.
            let label = self.parts.len() as u32;
            let mut part = Part::default();
            self.labels[start] = label;
            self.pending.push(start);
            while let Some(cell) = self.pending.pop() {
                part.cells += 1;
                part.depth_sum += f64::from(self.depth[cell]);
                self.spread(cell, label);
            }
            self.parts.push(part);
        }
    }

    /// Adds the neighbours of a cell that are of the same surface. Single pixels without depth are stepped over: they
    /// part nothing.
    fn spread(&mut self, cell: usize, label: u32) {
        let (row, column) = ((cell / self.width) as isize, (cell % self.width) as isize);
        for (dx, dy) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)] {
            for reach in 1..=2 {
                let (x, y) = (column + reach * dx, row + reach * dy);
                if x < 0 || y < 0 || x >= self.width as isize || y >= self.height as isize {
                    break;
                }
                let next = y as usize * self.width + x as usize;
                if self.labels[next] == EMPTY {
                    continue;
                }
                if self.labels[next] == UNSEEN && is_same_surface(self.depth[cell], self.depth[next]) {
                    self.labels[next] = label;
                    self.pending.push(next);
                }
                break;
            }
        }
    }

    fn cell(&self, position: [f64; 2]) -> Option<usize> {
        let at = |axis: usize| (position[axis] - f64::from(self.origin[axis])) / self.stride();
        let (column, row) = (at(0).round(), at(1).round());
        let is_within = column >= 0.0 && row >= 0.0 && column < self.width as f64 && row < self.height as f64;
        is_within.then(|| row as usize * self.width + column as usize)
    }

    fn position(&self, cell: usize) -> [f64; 2] {
        let along = |axis: usize, cells: usize| f64::from(self.origin[axis]) + cells as f64 * self.stride();
        [along(0, cell % self.width), along(1, cell / self.width)]
    }
}

fn is_same_surface(a: f32, b: f32) -> bool {
    (a - b).abs() <= JUMP_M + JUMP_SHARE * a.min(b)
}
