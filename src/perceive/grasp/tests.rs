use std::{
    f32::consts::{FRAC_PI_2, PI},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{contract::Size, perceive::heatmap::Upsampler};

const SETTINGS: RegionSettings = RegionSettings {
    heat_threshold: 0.5,
    min_region_score: 0.3,
    min_region_area: 0.0005,
    max_regions: 16,
    max_contour_points: 64,
};

fn size(height: u32, width: u32) -> Size {
    Size { height, width }
}

/// Regions of one map of presence 1.
fn regions_of(map: &[f32], map_size: Size, source: Size, settings: &RegionSettings) -> Vec<GraspRegion> {
    let affordance: Arc<str> = "hold".into();
    let network = size(map_size.height * 16, map_size.width * 16);
    let scale = Upsampler::new(map_size, source).scale(map).unwrap();
    let maps = [AffordanceMap { class_id: 3, affordance: &affordance, presence: 1.0, map, scale }];
    let mut out = Vec::new();
    RegionFinder::new(map_size, network).find(&maps, source, settings, &mut out);
    out
}

/// A 14x14 map: 1 where `hot`, 0 elsewhere.
fn painted(hot: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    (0..14 * 14).map(|k| if hot(k % 14, k / 14) { 1.0 } else { 0.0 }).collect()
}

/// Crossing number, written apart from the code under test.
fn contains(polygon: &[[f32; 2]], [x, y]: [f32; 2]) -> bool {
    let edges = polygon.iter().zip(polygon.iter().cycle().skip(1));
    edges
        .filter(|(a, b)| {
            (a[1] <= y) != (b[1] <= y) && {
                let t = (y - a[1]) / (b[1] - a[1]);
                a[0] + t * (b[0] - a[0]) > x
            }
        })
        .count()
        % 2
        == 1
}

/// The heat of the map at a source position, from the definition.
fn heat_at(map: &[f32], from: Size, source: Size, [x, y]: [f32; 2]) -> f32 {
    let split = |p: f32, inputs: u32, outputs: u32| {
        let q = ((p + 0.5) * inputs as f32 / outputs as f32 - 0.5).clamp(0.0, inputs as f32 - 1.0);
        (q as usize, (q as usize + 1).min(inputs as usize - 1), q.fract())
    };
    let (c0, c1, tx) = split(x, from.width, source.width);
    let (r0, r1, ty) = split(y, from.height, source.height);
    let at = |r: usize, c: usize| map[r * from.width as usize + c];
    let (top, bottom) = (at(r0, c0) + tx * (at(r0, c1) - at(r0, c0)), at(r1, c0) + tx * (at(r1, c1) - at(r1, c0)));
    let scale = Upsampler::new(from, source).scale(map).unwrap();
    (top + ty * (bottom - top) - scale.low) * scale.gain
}

fn check_invariants(region: &GraspRegion, settings: &RegionSettings, source: Size) -> Result<(), TestCaseError> {
    prop_assert!((3..=settings.max_contour_points.max(4)).contains(&region.contour.len()));
    prop_assert!(contains(&region.contour, region.point), "{region:?}");
    let half_open = |angle: f32| angle > -FRAC_PI_2 - 1e-6 && angle <= FRAC_PI_2 + 1e-6;
    prop_assert!(half_open(region.theta_rad) && half_open(region.closing_angle_rad));
    let turn = (region.closing_angle_rad - region.theta_rad).rem_euclid(PI);
    prop_assert!((turn - FRAC_PI_2).abs() < 1e-4, "the jaws close across the long side");
    prop_assert!(region.size[0] >= region.size[1] && region.size[1] > 0.0);
    prop_assert!((0.0..=1.0).contains(&region.score) && (0.0..=1.0).contains(&region.score_peak));
    let slack = 1e-4 * (source.width + source.height) as f32;
    let (sin, cos) = region.theta_rad.sin_cos();
    for p in &region.contour {
        let d = [p[0] - region.center[0], p[1] - region.center[1]];
        prop_assert!((d[0] * cos + d[1] * sin).abs() <= region.size[0] / 2.0 + slack);
        prop_assert!((d[1] * cos - d[0] * sin).abs() <= region.size[1] / 2.0 + slack);
        let on_rectangle_only = region.contour.len() == 4;
        prop_assert!(on_rectangle_only || (-0.51..source.width as f32).contains(&p[0]));
        prop_assert!(on_rectangle_only || (-0.51..source.height as f32).contains(&p[1]));
    }
    Ok(())
}

#[test]
fn a_blob_is_found_where_it_is() {
    let source = size(480, 640);
    let map = painted(|x, y| (4..=6).contains(&x) && (8..=9).contains(&y));
    let regions = regions_of(&map, size(14, 14), source, &SETTINGS);
    assert_eq!(regions.len(), 1);
    let region = &regions[0];
    // Cells 4..=6 and 8..=9 reach half way to their cold neighbours: 3 x 2 cells around (5.5, 9.0) cell edges.
    let (cell_x, cell_y) = (640.0 / 14.0, 480.0 / 14.0);
    assert!((region.center[0] - (5.5 * cell_x - 0.5)).abs() < 1.0, "{region:?}");
    assert!((region.center[1] - (9.0 * cell_y - 0.5)).abs() < 1.0, "{region:?}");
    assert!((region.size[0] - 3.0 * cell_x).abs() < 1.0 && (region.size[1] - 2.0 * cell_y).abs() < 1.0, "{region:?}");
    assert!(region.theta_rad.abs() < 0.01);
    assert!((region.closing_angle_rad - FRAC_PI_2).abs() < 0.01);
    assert_eq!((region.class_id, &*region.affordance, region.flags), (3, "hold", 0));
    assert!((region.score_peak - 1.0).abs() < 1e-5);
}

#[test]
fn outlines_lie_where_the_heat_is_the_threshold() {
    // A smooth hill, so that the true outline is a curve.
    let hill = |x: usize, y: usize| (-((x as f32 - 6.3).powi(2) / 9.0 + (y as f32 - 5.8).powi(2) / 5.0)).exp();
    let map: Vec<f32> = (0..196).map(|k| hill(k % 14, k / 14)).collect();
    let source = size(1080, 1920);
    let regions = regions_of(&map, size(14, 14), source, &SETTINGS);
    assert_eq!(regions.len(), 1);
    for p in &regions[0].contour {
        let heat = heat_at(&map, size(14, 14), source, *p);
        assert!((heat - 0.5).abs() < 0.01, "{heat} at {p:?}");
    }
}

#[test]
fn angles_are_measured_in_the_source_picture_not_the_stretched_one() {
    // A bar along the map's diagonal: 45 degrees in the square network picture, atan(480/640) in the source.
    let map = painted(|x, y| x == y && (2..12).contains(&x));
    let regions = regions_of(&map, size(14, 14), size(480, 640), &SETTINGS);
    assert_eq!(regions.len(), 1);
    let expected = (480.0_f32 / 640.0).atan();
    assert!((regions[0].theta_rad - expected).abs() < 0.02, "{:?}", regions[0]);
    assert!((regions[0].closing_angle_rad - (expected - FRAC_PI_2)).abs() < 0.02);
}

#[test]
fn contact_points_lie_on_the_material_of_bent_and_hollow_regions() {
    let source = size(480, 640);
    let c_shape = painted(|x, y| {
        let ring = (3..=10).contains(&x) && (3..=10).contains(&y) && !((5..=8).contains(&x) && (5..=8).contains(&y));
        ring && !(x > 8 && (5..=8).contains(&y))
    });
    let ring = painted(|x, y| {
        (3..=10).contains(&x) && (3..=10).contains(&y) && !((5..=8).contains(&x) && (5..=8).contains(&y))
    });
    for (map, points) in [(&c_shape, 64), (&ring, 64), (&c_shape, 4), (&ring, 4)] {
        let settings = RegionSettings { max_contour_points: points, ..SETTINGS };
        let regions = regions_of(map, size(14, 14), source, &settings);
        assert_eq!(regions.len(), 1);
        let region = &regions[0];
        assert!(region.contour.len() <= points);
        assert!(contains(&region.contour, region.point), "{region:?}");
        assert!(heat_at(map, size(14, 14), source, region.point) > 0.9, "{region:?}");
        assert!(heat_at(map, size(14, 14), source, region.center) < 0.5, "the centre is cold, so it can't serve");
    }
}

#[test]
fn pixels_that_touch_at_a_corner_are_one_region_and_apart_are_two() {
    let joined = painted(|x, y| [(3, 3), (4, 4)].contains(&(x, y)));
    let apart = painted(|x, y| [(3, 3), (9, 9)].contains(&(x, y)));
    let settings = RegionSettings { heat_threshold: 0.45, ..SETTINGS };
    assert_eq!(regions_of(&joined, size(14, 14), size(480, 640), &settings).len(), 1);
    assert_eq!(regions_of(&apart, size(14, 14), size(480, 640), &settings).len(), 2);
}

#[test]
fn regions_cut_off_by_the_border_say_so() {
    let at_border = painted(|x, y| x == 0 && y == 5);
    let within = painted(|x, y| x == 6 && y == 5);
    let flags = |map: &[f32]| regions_of(map, size(14, 14), size(480, 640), &SETTINGS)[0].flags;
    assert_eq!(flags(&at_border), TOUCHES_BORDER);
    assert_eq!(flags(&within), 0);
}

#[test]
fn noise_stretched_to_full_heat_is_of_low_contrast() {
    let faint: Vec<f32> = painted(|x, y| x == 6 && y == 5).iter().map(|v| v * 0.09).collect();
    let clear: Vec<f32> = faint.iter().map(|v| v * 10.0).collect();
    let flags = |map: &[f32]| regions_of(map, size(14, 14), size(480, 640), &SETTINGS)[0].flags;
    assert_eq!(flags(&faint), LOW_CONTRAST);
    assert_eq!(flags(&clear), 0);
}

#[test]
fn flat_maps_and_absent_affordances_have_no_regions() {
    let settings = RegionSettings { heat_threshold: 0.0, min_region_score: 0.0, ..SETTINGS };
    assert!(regions_of(&[0.3; 196], size(14, 14), size(480, 640), &settings).is_empty());

    let (map, affordance): (_, Arc<str>) = (painted(|x, y| x == 6 && y == 5), "hold".into());
    let scale = Upsampler::new(size(14, 14), size(480, 640)).scale(&map).unwrap();
    let mut out = Vec::new();
    let maps = [AffordanceMap { class_id: 0, affordance: &affordance, presence: 0.29, map: &map, scale }];
    RegionFinder::new(size(14, 14), size(224, 224)).find(&maps, size(480, 640), &SETTINGS, &mut out);
    assert!(out.is_empty());
}

#[test]
fn the_best_regions_over_all_affordances_are_kept_in_order() {
    let names: Vec<Arc<str>> = (0..6).map(|i| format!("action{i}").into()).collect();
    let map = painted(|x, y| [(2, 2), (6, 6), (11, 11)].contains(&(x, y)));
    let scale = Upsampler::new(size(14, 14), size(480, 640)).scale(&map).unwrap();
    let presences = [0.5, 0.9, 0.6, 1.0, 0.7, 0.8];
    let maps: Vec<_> = names
        .iter()
        .zip(presences)
        .enumerate()
        .map(|(i, (affordance, presence))| AffordanceMap { class_id: i as u16, affordance, presence, map: &map, scale })
        .collect();
    let settings = RegionSettings { max_regions: 7, ..SETTINGS };
    let mut out = Vec::new();
    RegionFinder::new(size(14, 14), size(224, 224)).find(&maps, size(480, 640), &settings, &mut out);
    let classes: Vec<u16> = out.iter().map(|r| r.class_id).collect();
    assert_eq!(classes, [3, 3, 3, 1, 1, 1, 5]);
    assert!(out.windows(2).all(|pair| pair[0].score >= pair[1].score));
}

prop_compose! {
    /// Maps of few distinct values, so that plateaus, saddles and values at the threshold are common.
    fn any_map()(h in 1_u32..9, w in 1_u32..9, levels in 2_u8..40)(
        cells in prop::collection::vec(0..levels, (h * w) as usize), h in Just(h), w in Just(w), levels in Just(levels)
    ) -> (Vec<f32>, Size) {
        (cells.iter().map(|c| f32::from(*c) / f32::from(levels - 1)).collect(), size(h, w))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn regions_of_any_map_are_sound(
        (map, map_size) in any_map(), h in 1_u32..700, w in 1_u32..700,
        heat_threshold in 0.0_f32..=1.0, max_contour_points in 4_usize..80, max_regions in 1_usize..20,
    ) {
        let settings = RegionSettings {
            heat_threshold, max_contour_points, max_regions, min_region_score: 0.0, min_region_area: 0.0,
        };
        let regions = regions_of(&map, map_size, size(h, w), &settings);
        prop_assert!(regions.len() <= max_regions);
        for region in &regions {
            check_invariants(region, &settings, size(h, w))?;
            let heat = heat_at(&map, map_size, size(h, w), region.point);
            prop_assert!(heat >= heat_threshold - 1e-3, "contact at heat {heat} < {heat_threshold}");
        }
    }

    #[test]
    fn no_finite_map_is_too_wild(map in prop::collection::vec(prop::num::f32::NORMAL, 30)) {
        if Upsampler::new(size(5, 6), size(48, 64)).scale(&map).is_ok() {
            for region in regions_of(&map, size(5, 6), size(48, 64), &SETTINGS) {
                check_invariants(&region, &SETTINGS, size(48, 64))?;
            }
        }
    }
}
