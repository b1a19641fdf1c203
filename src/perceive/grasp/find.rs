//! From heat to regions: threshold, components, the best by score, then shape of those alone.

use std::{f32::consts::FRAC_PI_2, sync::Arc};

use super::{
    GraspRegion, LOW_CONTRAST, LOW_CONTRAST_SCORE, TOUCHES_BORDER,
    contact::{ContactFinder, GridRegion},
    contour::{HeatGrid, Simplifier},
    label::{self, Component, Labels},
    shape,
};
use crate::{
    contract::Size,
    perceive::heatmap::{HeatScale, Upsampler},
};

/// Grid pixels per class map cell and axis, where the network's input has as many. Between grid pixels the outline is
/// interpolated, and within a cell the heat is bilinear: a finer grid moves outlines by less than a twentieth of a
/// cell, and costs its square.
const PIXELS_PER_CELL: u32 = 8;
/// Simplification every outline gets, in grid pixels: below what the interpolation resolves.
const OUTLINE_TOLERANCE: f32 = 0.1;
/// How far inside its outline a contact point must lie, in grid pixels.
const CONTACT_MARGIN: f32 = 0.02;

/// Which regions to report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionSettings {
    /// Heat in [0, 1] from which a pixel belongs to a region.
    pub heat_threshold: f32,
    /// Regions below this score are left out.
    pub min_region_score: f32,
    /// Regions smaller than this fraction of the image are left out.
    pub min_region_area: f32,
    /// The most regions, the best by score over all affordances.
    pub max_regions: usize,
    /// The most points of one outline, at least [`Self::FEWEST_CONTOUR_POINTS`].
    pub max_contour_points: usize,
}

impl RegionSettings {
    /// A rectangle's: what a region falls back to when its outline can't be drawn with the points allowed.
    pub const FEWEST_CONTOUR_POINTS: usize = 4;
}

/// One affordance's class map with what heat means on it.
#[derive(Debug, Clone, Copy)]
pub struct AffordanceMap<'a> {
    /// Index into the contract's actions.
    pub class_id: u16,
    /// The action's name.
    pub affordance: &'a Arc<str>,
    /// In [0, 1].
    pub presence: f32,
    /// Class map, f32 [h, w] row by row.
    pub map: &'a [f32],
    /// Its heat.
    pub scale: HeatScale,
}

/// Finds grasp regions; keeps its buffers from frame to frame.
#[derive(Debug)]
pub struct RegionFinder {
    grid: Upsampler,
    heat: Vec<f32>,
    labels: Labels,
    candidates: Vec<Candidate>,
    outline: Vec<[f32; 2]>,
    hull: Vec<[f32; 2]>,
    simplifier: Simplifier,
    contact: ContactFinder,
}

/// A component that may be reported.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Index into the maps given.
    map: usize,
    component: usize,
    score: f32,
    /// Mean class score of the region less that of the rest of the picture.
    contrast: f32,
}

impl RegionFinder {
    /// For class maps of size `map` and a network input of size `network`.
    pub fn new(map: Size, network: Size) -> Self {
        let side = |cells: u32, input: u32| cells.saturating_mul(PIXELS_PER_CELL).min(input).max(cells);
        let grid = Size { height: side(map.height, network.height), width: side(map.width, network.width) };
        Self {
            grid: Upsampler::new(map, grid),
            heat: Vec::new(),
            labels: Labels::default(),
            candidates: Vec::new(),
            outline: Vec::new(),
            hull: Vec::new(),
            simplifier: Simplifier::default(),
            contact: ContactFinder::default(),
        }
    }

    /// Replaces `out` by the regions of one picture of size `source`, best first. Flat maps have none.
    pub fn find(
        &mut self,
        maps: &[AffordanceMap<'_>],
        source: Size,
        settings: &RegionSettings,
        out: &mut Vec<GraspRegion>,
    ) {
        out.clear();
        self.candidates.clear();
        let mut labelled = None;
        for (index, map) in maps.iter().enumerate() {
            // The mean heat is at most 1, so a score is at most the presence.
            if map.presence >= settings.min_region_score && map.scale.range > 0.0 {
                self.label(map, settings.heat_threshold);
                labelled = Some(index);
                self.collect_candidates(index, map, settings);
            }
        }
        let rank = |c: &Candidate| (c.map, c.component);
        self.candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(rank(a).cmp(&rank(b))));
        self.candidates.truncate(settings.max_regions);
        // One labelling serves all regions of a map.
        self.candidates.sort_unstable_by_key(rank);
        for i in 0..self.candidates.len() {
            let candidate = self.candidates[i];
            let map = &maps[candidate.map];
            if labelled != Some(candidate.map) {
                self.label(map, settings.heat_threshold);
                labelled = Some(candidate.map);
            }
            let region = self.describe(&candidate, map, source, settings);
            out.push(region);
        }
        out.sort_by(|a, b| b.score.total_cmp(&a.score));
    }

    fn label(&mut self, map: &AffordanceMap<'_>, threshold: f32) {
        self.grid.render_values(map.map, &map.scale, &mut self.heat);
        self.labels.label(&self.heat, self.grid.output().width as usize, threshold);
    }

    fn collect_candidates(&mut self, index: usize, map: &AffordanceMap<'_>, settings: &RegionSettings) {
        let pixels = self.heat.len() as f64;
        let total: f64 = self.heat.chunks(1024).map(label::sum).sum();
        for (component, c) in self.labels.components.iter().enumerate() {
            let area = c.area as f64;
            let mean = c.heat_sum / area;
            let score = (mean as f32).min(1.0) * map.presence;
            if area >= f64::from(settings.min_region_area) * pixels && score >= settings.min_region_score {
                let elsewhere = if area < pixels { (total - c.heat_sum) / (pixels - area) } else { mean };
                let contrast = (mean - elsewhere) as f32 * map.scale.range;
                self.candidates.push(Candidate { map: index, component, score, contrast });
            }
        }
    }

    /// Works out the shape of a component of the map labelled last.
    fn describe(
        &mut self,
        candidate: &Candidate,
        map: &AffordanceMap<'_>,
        source: Size,
        settings: &RegionSettings,
    ) -> GraspRegion {
        let Size { height, width } = self.grid.output();
        let scale = [source.width as f32 / width as f32, source.height as f32 / height as f32];
        let source_from_grid = |[u, v]: [f32; 2]| [(u + 0.5) * scale[0] - 0.5, (v + 0.5) * scale[1] - 0.5];
        let (width, height) = (width as usize, height as usize);
        let component = self.labels.components[candidate.component];

        let grid = HeatGrid { heat: &self.heat, width, height, threshold: settings.heat_threshold };
        grid.trace(component.first, &mut self.outline);
        self.outline.iter_mut().for_each(|p| *p = source_from_grid(*p));
        let pixel = scale[0].min(scale[1]);
        let mut contour = Vec::with_capacity(settings.max_contour_points.min(self.outline.len()));
        let cut = self.simplifier.simplify(
            &self.outline,
            OUTLINE_TOLERANCE * pixel,
            settings.max_contour_points,
            &mut contour,
        );
        let rectangle = shape::min_area_rectangle(&mut self.outline, &mut self.hull);

        let region =
            GridRegion { labels: &self.labels, component: candidate.component, heat: &self.heat, width, scale };
        let is_sound = contour.len() >= 3 && !(cut && shape::crosses_itself(&contour));
        let margin = CONTACT_MARGIN * pixel;
        let to_source = |[x, y]: [usize; 2]| source_from_grid([x as f32, y as f32]);
        let inside = |p| is_sound && shape::is_inside(&contour, to_source(p), margin);
        let point = self.contact.find(&region, inside).or_else(|| {
            // Too few points for this shape. The rectangle holds every pixel of the region.
            contour = rectangle.corners().to_vec();
            self.contact.find(&region, |_| true)
        });
        GraspRegion {
            class_id: map.class_id,
            affordance: Arc::clone(map.affordance),
            score: candidate.score,
            score_peak: component.peak,
            contour,
            center: rectangle.center,
            size: rectangle.size,
            theta_rad: rectangle.theta_rad,
            point: to_source(point.unwrap_or([component.first.0, component.first.1])),
            closing_angle_rad: shape::line_angle(rectangle.theta_rad + FRAC_PI_2),
            flags: flags(&component, [width, height], candidate.contrast),
        }
    }
}

fn flags(component: &Component, [width, height]: [usize; 2], contrast: f32) -> u16 {
    let cut_off =
        component.columns.0 == 0 || component.rows.0 == 0 || component.columns.1 == width || component.rows.1 == height;
    let border = if cut_off { TOUCHES_BORDER } else { 0 };
    border | if contrast < LOW_CONTRAST_SCORE { LOW_CONTRAST } else { 0 }
}
