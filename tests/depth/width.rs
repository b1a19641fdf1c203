//! Widths and normals of slanted surfaces against the truth.

use std::f64::consts::FRAC_PI_2;

use looptrans_ros::perceive::depth::{MetricGrasp, NORMAL_UNSTABLE};

use crate::{
    grasp::{THICK, board, check, image_angle},
    scene::{Shape, Vec3, axes, cross, dot, outline, region, sub, vga},
};

#[test]
fn boards_have_their_width_and_normal_at_any_slant() {
    let camera = vga();
    for (width, z, tilt, turn) in [
        (0.06, 0.5, [0.0, 0.0], 0.0),
        (0.06, 0.6, [0.5, 0.0], 0.3),
        (0.08, 0.9, [0.0, -0.7], -0.6),
        (0.05, 0.7, [0.5, 0.5], 1.2),
        (0.10, 1.5, [-0.4, 0.6], 0.8),
    ] {
        let name = format!("board {width} at {z}, tilt {tilt:?}, turn {turn}");
        let (shapes, truth, contour, closing) = board(&camera, [width, THICK], [0.1 * z, -0.05 * z, z], tilt, turn);
        // The picture's right angle to the long side is not the board's: that is for the code to see.
        let long = cross(truth.normal, closing);
        let across = image_angle(&camera, truth.position, long) + FRAC_PI_2;
        let region = region(contour, camera.pixel(truth.position), across);
        let measured = camera.render(&shapes).measure(&camera.model(), &region);
        let grasp = check(&name, &measured, &truth);
        assert!(dot(axes(grasp.orientation_xyzw)[0], closing).abs() > 0.995, "{name}: +x is not across the board");
        assert_eq!(measured.flags & NORMAL_UNSTABLE, 0, "{name}");
    }
}

/// What is measured of boards leaning by `tilt` about y, too thin for a side face that would go on where the front ends.
/// They stand up to `reach` of their distance `z` beside the middle.
fn thin_boards(width: f64, z: f64, tilt: f64, reach: f64) -> Vec<MetricGrasp> {
    let camera = vga();
    let places = (0..12).map(|i| reach * (f64::from(i) / 5.5 - 1.0));
    let grasps = places.map(|x| {
        let centre: Vec3 = [x * z, 0.02 * z, z];
        let (shapes, truth, contour, closing) = board(&camera, [width, 2e-4], centre, [0.0, tilt], 0.0);
        let across = image_angle(&camera, truth.position, cross(truth.normal, closing)) + FRAC_PI_2;
        let depth = camera.render_around(&shapes, &contour);
        depth.measure(&camera.model(), &region(contour, camera.pixel(truth.position), across)).grasp.unwrap()
    });
    grasps.collect()
}

#[test]
fn a_slanted_surface_is_measured_to_its_border() {
    for (width, z, tilt) in [(0.04, 1.0, 0.8), (0.04, 1.0, 1.0), (0.08, 1.0, 1.0), (0.02, 0.5, 1.0), (0.08, 1.0, 1.15)]
    {
        let mut widths: Vec<f64> = thin_boards(width, z, tilt, 0.2).iter().map(|grasp| grasp.width_m / width).collect();
        widths.sort_by(f64::total_cmp);
        let median = widths[widths.len() / 2];
        assert!((median - 1.0).abs() < 0.04, "{width} at {z}, tilt {tilt}: {widths:?}");
    }
}

#[test]
fn a_slanted_surface_s_border_is_as_unsure_as_its_pixels_are_long() {
    for tilt in [0.0_f64, 0.8, 1.15] {
        // Two borders, each known to a pixel of 1/600 m at 1 m.
        let expected = 2.0_f64.sqrt() * 0.289 / 600.0 / tilt.cos();
        for grasp in thin_boards(0.08, 1.0, tilt, 0.01) {
            let found = grasp.width_stddev_m;
            assert!((0.8 * expected..2.0 * expected).contains(&found), "{tilt}: {found} for {expected}");
        }
    }
}

#[test]
fn a_side_face_that_is_seen_widens_the_deviation_with_the_width() {
    let camera = vga();
    let half = [0.03, 0.1, 0.02];
    for x in [0.0, 0.25] {
        let centre = [x, 0.0, 0.6 + half[2]];
        let front = sub(centre, [0.0, 0.0, half[2]]);
        let shapes = [
            Shape::Cuboid { centre, axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], half },
            Shape::Plane { normal: [0.0, 0.0, 1.0], offset: 1.2 },
        ];
        let contour = outline(&camera, front, [half[0] + 0.02, 0.0, 0.0], [0.0, 0.05, 0.0]);
        let depth = camera.render_around(&shapes, &contour);
        let grasp = depth.measure(&camera.model(), &region(contour, camera.pixel(front), 0.0)).grasp.unwrap();
        let excess = grasp.width_m - 2.0 * half[0];
        assert_eq!(excess > 0.005, x > 0.0, "{x}: {grasp:?}");
        assert_eq!(grasp.width_stddev_m > 0.005, x > 0.0, "{x}: {grasp:?}");
        assert!(excess < 1.2 * grasp.width_stddev_m, "{x}: {grasp:?}");
    }
}
