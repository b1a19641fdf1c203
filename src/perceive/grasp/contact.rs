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
        let mut best: Option<(f32, [usize; 2])> = None;
        for run in region.labels.runs.iter().filter(|run| run.component == region.component) {
            for x in run.start..run.end {
                let clearance = self.clearance[(run.y - rows.0 + 1) * box_width + x - columns.0 + 1];
                // A pixel of heat 0 (threshold 0) is still a pixel to touch.
                let worth = region.heat[run.y * region.width + x].max(f32::MIN_POSITIVE) * clearance;
                if best.is_none_or(|(most, _)| worth > most) && accept([x, run.y]) {
                    best = Some((worth, [x, run.y]));
                }
            }
        }
        best.map(|(_, pixel)| pixel)
    }

    /// Two-pass chamfer distance with the grid's own pixel shape: exact along rows, columns and diagonals.
    fn measure_clearance(&mut self, region: &GridRegion<'_>, width: usize, height: usize) {
        let Component { columns, rows, .. } = region.labels.components[region.component];
        self.clearance.clear();
        self.clearance.resize(width * height, 0.0);
        for run in region.labels.runs.iter().filter(|run| run.component == region.component) {
            let row = &mut self.clearance[(run.y - rows.0 + 1) * width..][..width];
            row[run.start - columns.0 + 1..run.end - columns.0 + 1].fill(f32::INFINITY);
        }
        let [along_x, along_y] = region.scale;
        let diagonal = along_x.hypot(along_y);
        let d = &mut self.clearance;
        for y in 1..height - 1 {
            for i in y * width + 1..(y + 1) * width - 1 {
                let above = (d[i - width - 1] + diagonal).min(d[i - width] + along_y).min(d[i - width + 1] + diagonal);
                d[i] = d[i].min(d[i - 1] + along_x).min(above);
            }
        }
        for y in (1..height - 1).rev() {
            for i in (y * width + 1..(y + 1) * width - 1).rev() {
                let below = (d[i + width - 1] + diagonal).min(d[i + width] + along_y).min(d[i + width + 1] + diagonal);
                d[i] = d[i].min(d[i + 1] + along_x).min(below);
            }
        }
    }
}
