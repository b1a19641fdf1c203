//! How wide and long the measured part of a region is, along lines through the contact point.

use nalgebra::Vector3;

use super::{
    CameraModel,
    patch::{Place, RegionPatch},
};

/// Where the lines lie beside the contact point [m]: half of them within a finger's width of 2 cm.
const LINES_M: [f64; 5] = [0.0, -0.004, 0.004, -0.008, 0.008];
/// Step along a line, in cells.
const STEP: f64 = 0.25;
/// Cells without depth that a line steps over. Where a third of all pixels has none, eight in a row are rare.
const LONGEST_GAP: f64 = 8.0;
/// Longest way along a line, in cells: past every patch.
const LONGEST: f64 = 4096.0;
/// Samples for the length.
const LENGTH_SAMPLES: usize = 1500;
/// Standard deviation of a border that is known to a cell.
const CELL_SIGMA: f64 = 0.289;

/// The grasp's frame, at the contact point [m], in the optical frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    pub origin: Vector3<f64>,
    /// The closing direction.
    pub x: Vector3<f64>,
    /// Across it, on the surface.
    pub y: Vector3<f64>,
}

/// Extents [m].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub width: f64,
    pub width_sigma: f64,
    pub length: f64,
}

/// The surface in front of a camera.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ruler<'a> {
    pub patch: &'a RegionPatch,
    pub camera: &'a CameraModel,
    /// Standard deviation of depth [m].
    pub depth_sigma_m: f64,
}

/// One end of the surface along a line.
struct End {
    point: Vector3<f64>,
    /// Standard deviation of its place along the line [m].
    sigma: f64,
}

impl Ruler<'_> {
    /// Width: between the ends of the surface along the closing direction, the median of lines within a finger's width
    /// of the contact point. A line's ends are where the fingers will touch; what the region does further away does not
    /// matter, and a rectangle around a whole oblong region would grow with each degree by which it is turned wrong.
    ///
    /// Ends of a rounded thing lie deeper than its middle, and a thing is touched beside it: the distance between the ends
    /// counts, along and into the picture, but not along y. Where a side face is seen too, that is more than what the jaws
    /// must span: see [`Self::line`]. Length: of the whole surface along y.
    pub fn measure(&self, axes: &Axes) -> Option<Extent> {
        let mut widths = Vec::with_capacity(LINES_M.len());
        let mut variance: Option<f64> = None;
        for offset in LINES_M {
            let Some((width, of_line)) = self.line(axes, axes.origin + axes.y * offset) else {
                continue;
            };
            widths.push(width);
            variance = variance.or(Some(of_line));
        }
        widths.sort_unstable_by(f64::total_cmp);
        let width = *widths.get(widths.len() / 2)?;
        let scatter = widths.iter().map(|w| (w - width).powi(2)).sum::<f64>() / widths.len() as f64;
        let width_sigma = (variance.unwrap_or_default() + scatter).sqrt();
        Some(Extent { width, width_sigma, length: self.length(axes)? })
    }

    /// Width along x through a point near the surface, and its variance. What the ends are apart but not along x may be
    /// the far side of a rounded thing, which counts, or a side face, which does not: depth of the visible ends alone
    /// can't tell, so it is in the variance.
    fn line(&self, axes: &Axes, through: Vector3<f64>) -> Option<(f64, f64)> {
        let start = self.camera.project(through.into())?;
        // A millimetre gives the direction of the line in the picture.
        let ahead = self.camera.project((through + axes.x * 1e-3).into())?;
        let [dx, dy] = [ahead[0] - start[0], ahead[1] - start[1]];
        let length = dx.hypot(dy);
        if length.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater)
            || !matches!(self.patch.at(start), Place::Surface(_))
        {
            return None;
        }
        let along = [dx / length, dy / length];
        let a = self.end(start, along.map(|c| -c), axes)?;
        let b = self.end(start, along, axes)?;
        let chord = b.point - a.point;
        let chord = chord - axes.y * chord.dot(&axes.y);
        let width = chord.norm();
        let beyond_x = width - chord.dot(&axes.x).abs();
        Some((width, a.sigma.powi(2) + b.sigma.powi(2) + beyond_x.powi(2)))
    }

    /// Follows the line to the last pixel of the surface.
    fn end(&self, start: [f64; 2], along: [f64; 2], axes: &Axes) -> Option<End> {
        let cell = self.patch.stride();
        let place = |way: f64| [start[0] + along[0] * way * cell, start[1] + along[1] * way * cell];
        let (mut last, mut way) = (0.0, 0.0);
        // The last cells, the nearest to the border first.
        let mut cells: [Option<([f64; 2], f64)>; 3] = [None; 3];
        let mut gap_is_open = false;
        while way < LONGEST && way - last <= LONGEST_GAP {
            match self.patch.at(place(way)) {
                Place::Surface(depth) => {
                    let centre = self.patch.centre(place(way));
                    if cells[0].is_none_or(|(before, _)| before != centre) {
                        cells = [Some((centre, f64::from(depth))), cells[0], cells[1]];
                    }
                    (last, gap_is_open) = (way, false);
                }
                Place::Unknown => gap_is_open = true,
                Place::Elsewhere => break,
            }
            way += STEP;
        }
        // Up to the border the surface goes on as the grasp's plane does, at the median distance of the last cells from
        // it (in inverse depth): one mixed pixel at the border does not matter. Their mere depth would be that of a place
        // further inside, and the border of a slanted surface would be drawn in.
        let normal = axes.x.cross(&axes.y);
        let inverse = |ray: &Vector3<f64>| normal.dot(ray) / normal.dot(&axes.origin);
        let ray = |pixel: [f64; 2]| self.camera.ray(pixel).map(Vector3::from);
        let shifts = cells.iter().flatten().filter_map(|(pixel, depth)| Some(1.0 / depth - inverse(&ray(*pixel)?)));
        let mut shifts: Vec<f64> = shifts.collect();
        shifts.sort_unstable_by(f64::total_cmp);
        let shift = *shifts.get(shifts.len() / 2)?;
        let point = |way: f64| {
            let ray = ray(place(way))?;
            let depth = 1.0 / (inverse(&ray) + shift);
            (depth.is_finite() && depth > 0.0).then_some(ray * depth)
        };
        // The border lies within a step after the last place inside.
        let border = point(last + STEP / 2.0)?;
        let cell_m = (point(last + 1.0)? - point(last)?).norm();
        // Where depth is missing up to the region's border, the surface may end anywhere in it.
        let gap = if gap_is_open { CELL_SIGMA * (way - last) } else { 0.0 };
        let from_depth = self.depth_sigma_m * border.dot(&axes.x).abs() / border.z;
        Some(End { point: border, sigma: from_depth.hypot((CELL_SIGMA + gap) * cell_m) })
    }

    fn length(&self, axes: &Axes) -> Option<f64> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut footprint = 0.0_f64;
        for (pixel, depth) in self.patch.whole_surface(LENGTH_SAMPLES) {
            let Some(ray) = self.camera.ray(pixel) else {
                continue;
            };
            let along = (Vector3::from(ray) * depth - axes.origin).dot(&axes.y);
            (low, high) = (low.min(along), high.max(along));
            footprint = footprint.max(self.patch.stride() * depth / self.camera.focal_px());
        }
        // From pixel centres to pixel borders.
        (high >= low).then_some(high - low + footprint)
    }
}
