//! Where to touch a region.

use super::{label::Component, label::Labels};

/// Chooses contact points; keeps its buffer.
#[derive(Debug, Default)]
pub(super) struct ContactFinder {
    /// Distance to the nearest pixel outside the region, over the region's bounding box and one pixel around it.
    clearance: Vec<f32>,
}

/// A region on its grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct GridRegion<'a> {
    pub labels: &'a Labels,
    pub component: usize,
    pub heat: &'a [f32],
    pub width: usize,
    /// Source pixels per grid pixel (x, y).
    pub scale: [f32; 2],
}

impl ContactFinder {
    /// The grid pixel (x, y) of the region with the largest heat times clearance (distance in source pixels to the
    /// nearest pixel outside the region), of those that `accept` takes.
    ///
    /// Heat alone would choose points at a region's edge, where a gripper slips off; clearance alone (the pole of
    /// inaccessibility) would ignore what the model says. Unlike a centroid, it can't fall into a hole or a bay.
    pub fn find(&mut self, region: &GridRegion<'_>, accept: impl Fn([usize; 2]) -> bool) -> Option<[usize; 2]> {
        let Component { columns, rows, .. } = region.labels.components[region.component];
        let box_width = columns.1 - columns.0 + 2;
        self.measure_clearance(region, box_width, rows.1 - rows.0 + 2);
        // Nearly always the best of all will do; to ask for each better one on the way there would cost far more.
        let best = self.best(region, box_width, |_| true);
        if best.is_some_and(&accept) { best } else { self.best(region, box_width, accept) }
    }

    fn best(
        &self,
        region: &GridRegion<'_>,
        box_width: usize,
        accept: impl Fn([usize; 2]) -> bool,
    ) -> Option<[usize; 2]> {
        let Component { columns, rows, .. } = region.labels.components[region.component];
        let mut best: Option<(f32, [usize; 2])> = None;
        for run in region.labels.runs.iter().filter(|run| run.component == region.component) {
            let clearances = &self.clearance[(run.y - rows.0 + 1) * box_width + run.start - columns.0 + 1..];
            let heats = &region.heat[run.y * region.width..][run.start..run.end];
            for (i, (heat, clearance)) in heats.iter().zip(clearances).enumerate() {
                // A pixel of heat 0 (threshold 0) is still a pixel to touch.
                let worth = heat.max(f32::MIN_POSITIVE) * clearance;
                if best.is_none_or(|(most, _)| worth > most) && accept([run.start + i, run.y]) {
                    best = Some((worth, [run.start + i, run.y]));
                }
            }
        }
        best.map(|(_, pixel)| pixel)
    }

    /// Chamfer distance with the grid's own pixel shape: exact along rows, columns and diagonals.
    ///
    /// A shortest way out may go up or down first and along the row last. So every pixel starts with its exact distance
    /// along the row, and the two passes need to look at the neighbouring row only: they vectorise.
    fn measure_clearance(&mut self, region: &GridRegion<'_>, width: usize, height: usize) {
        let Component { columns, rows, .. } = region.labels.components[region.component];
        let [along_x, along_y] = region.scale;
        self.clearance.clear();
        self.clearance.resize(width * height, 0.0);
        for run in region.labels.runs.iter().filter(|run| run.component == region.component) {
            let row = &mut self.clearance[(run.y - rows.0 + 1) * width..][..width];
            let row = &mut row[run.start - columns.0 + 1..run.end - columns.0 + 1];
            let length = row.len();
            for (i, distance) in row.iter_mut().enumerate() {
                *distance = (i + 1).min(length - i) as f32 * along_x;
            }
        }
        let diagonal = along_x.hypot(along_y);
        for y in 1..height {
            let (above, here) = self.clearance.split_at_mut(y * width);
            shorten(&above[(y - 1) * width..], &mut here[..width], along_y, diagonal);
        }
        for y in (1..height).rev() {
            let (above, here) = self.clearance.split_at_mut(y * width);
            shorten(&here[..width], &mut above[(y - 1) * width..], along_y, diagonal);
        }
    }
}

/// Shortens the distances of one row by ways through its neighbour row.
fn shorten(from: &[f32], to: &mut [f32], straight: f32, diagonal: f32) {
    let min = |a: f32, b: f32| if a < b { a } else { b };
    for (o, near) in to[1..].iter_mut().zip(from.windows(3)) {
        *o = min(*o, min(near[1] + straight, min(near[0], near[2]) + diagonal));
    }
}
