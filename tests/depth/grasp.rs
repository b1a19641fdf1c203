//! Widths, places and poses against the truth.

use std::f64::consts::{FRAC_PI_2, PI};

use looptrans_ros::{
    contract::Size,
    perceive::depth::{
        CameraModel, DEPTH_EDGE, DEPTH_SPARSE, GraspMeasurer, MetricGrasp, NORMAL_UNSTABLE, Rectification, RegionDepth,
        RegionOfInterest, Scene, TOO_NARROW, TOO_WIDE,
    },
};
use proptest::prelude::*;

use crate::{
    SETTINGS,
    scene::{Camera, Depth, Lens, Shape, Vec3, add, axes, cross, dot, image, outline, region, scale, sub, unit, vga},
};

const RATIONAL: Lens = Lens::Rational([0.30, -0.10, 0.001, -0.0007, 0.02, 0.62, -0.05, 0.01]);
const FISHEYE: Lens = Lens::Equidistant([-0.02, 0.004, -0.001, 0.0002]);

/// How thick a usual board is [m].
pub const THICK: f64 = 0.008;

/// What is true of a grasp.
pub struct Truth {
    pub position: Vec3,
    pub width: f64,
    /// Towards the camera.
    pub normal: Vec3,
}

/// Checks a grasp: width within 5 % or 2 mm, position within 1 % of the range, and a pose that is one.
pub fn check(name: &str, depth: &RegionDepth, truth: &Truth) -> MetricGrasp {
    let grasp = depth.grasp.unwrap_or_else(|| panic!("{name}: no grasp: {depth:?}"));
    let (width, range) = (grasp.width_m, dot(truth.position, truth.position).sqrt());
    let allowed = (0.05 * truth.width).max(0.002);
    assert!((width - truth.width).abs() <= allowed, "{name}: width {width} for {}", truth.width);
    let miss = sub(grasp.position_m, truth.position);
    assert!(dot(miss, miss).sqrt() <= 0.01 * range, "{name}: {:?} for {:?}", grasp.position_m, truth.position);
    let lean = dot(grasp.surface_normal, truth.normal).acos().to_degrees();
    assert!(lean < 6.0, "{name}: the normal is {lean} degrees off");
    check_pose(name, &grasp);
    grasp
}

fn check_pose(name: &str, grasp: &MetricGrasp) {
    let [x, y, z] = axes(grasp.orientation_xyzw);
    let norm: f64 = grasp.orientation_xyzw.iter().map(|q| q * q).sum();
    assert!((norm - 1.0).abs() < 1e-9, "{name}: {:?}", grasp.orientation_xyzw);
    let n = grasp.surface_normal;
    assert!((dot(z, n) + 1.0).abs() < 1e-9, "{name}: +z is not the approach");
    assert!(dot(n, grasp.position_m) < 0.0, "{name}: the normal does not point to the camera");
    assert!(dot(cross(x, y), z) > 0.999, "{name}: left-handed");
    assert!(grasp.width_stddev_m.is_finite() && grasp.width_stddev_m > 0.0, "{name}");
}

/// A cylinder across the picture at `turn` [rad] from upright, seen by the camera, with a region cut out of it that is
/// `margin` times as wide. Before a wall, so that a wider region straddles an edge.
fn cylinder(camera: &Camera, radius: f64, centre: Vec3, turn: f64, margin: f64) -> (Vec<Shape>, Truth, Vec<[f64; 2]>) {
    let axis = [turn.sin(), turn.cos(), 0.0];
    // The silhouette of what the camera sees: perpendicular to the axis and to the way to it.
    let towards = unit(sub(centre, scale(axis, dot(centre, axis))));
    let side = cross(axis, towards);
    let distance = dot(centre, towards);
    let cut = radius * radius / distance;
    let half = (radius * radius - cut * cut).sqrt();
    let silhouette = sub(centre, scale(towards, cut));
    let shapes = vec![
        Shape::Cylinder { centre, axis, radius, half_length: 0.15 },
        Shape::Plane { normal: [0.0, 0.0, 1.0], offset: centre[2] + 0.5 },
    ];
    let contour = outline(camera, silhouette, scale(side, half * margin), scale(axis, 0.05));
    // The nearest point of the axis to the centre of the region, on the surface towards the camera.
    let ray = camera.ray(camera.pixel(silhouette));
    let surface = surface_point(&shapes[..1], camera, camera.pixel(silhouette));
    assert!(surface[2] > 0.0 && ray[2] == 1.0);
    (shapes, Truth { position: surface, width: 2.0 * radius, normal: scale(towards, -1.0) }, contour)
}

fn surface_point(shapes: &[Shape], camera: &Camera, pixel: [f64; 2]) -> Vec3 {
    let one = Camera {
        size: Size { height: 1, width: 1 },
        centre: [camera.centre[0] - pixel[0], camera.centre[1] - pixel[1]],
        ..*camera
    };
    scale(camera.ray(pixel), f64::from(one.render(shapes).metres[0]))
}

/// The image angle of the way from `at` along `direction`, in (-pi/2, pi/2].
pub fn image_angle(camera: &Camera, at: Vec3, direction: Vec3) -> f64 {
    let (a, b) = (camera.pixel(at), camera.pixel(add(at, scale(direction, 1e-4))));
    let angle = (b[1] - a[1]).atan2(b[0] - a[0]).rem_euclid(PI);
    if angle > FRAC_PI_2 { angle - PI } else { angle }
}

#[test]
fn cylinders_have_their_diameter_wherever_they_stand() {
    let camera = vga();
    let model = camera.model();
    for (radius, z, turn, margin) in [
        (0.03, 0.4, 0.0, 1.0),
        (0.03, 0.6, 0.4, 1.3),
        (0.04, 0.8, -0.7, 1.6),
        (0.015, 0.5, FRAC_PI_2, 1.0),
        (0.05, 1.2, 1.1, 1.5),
        (0.045, 2.0, 0.2, 1.2),
    ] {
        for [x, y] in [[0.0, 0.0], [0.25, -0.1], [-0.3, 0.2]] {
            let name = format!("radius {radius} at {z}, turned {turn}, region {margin} wide, place {x} {y}");
            let (shapes, truth, contour) = cylinder(&camera, radius, [x * z, y * z, z], turn, margin);
            let axis = [turn.sin(), turn.cos(), 0.0];
            let closing = cross(axis, scale(truth.normal, -1.0));
            let depth = camera.render_around(&shapes, &contour);
            let region = region(contour, camera.pixel(truth.position), image_angle(&camera, truth.position, closing));
            let measured = depth.measure(&model, &region);
            let grasp = check(&name, &measured, &truth);
            assert!(dot(axes(grasp.orientation_xyzw)[0], closing).abs() > 0.99, "{name}: +x is not across");
            assert_eq!(measured.flags & DEPTH_EDGE != 0, margin > 1.0, "{name}: {:b}", measured.flags);
            assert_eq!(measured.flags & (TOO_WIDE | TOO_NARROW | DEPTH_SPARSE), 0, "{name}: {:b}", measured.flags);
            assert!((grasp.length_m - 0.1).abs() < 0.01, "{name}: length {}", grasp.length_m);
        }
    }
}

/// A board of `width` by 0.2 m, so `thick`, leaning by `tilt` about the picture's x and y, turned by `turn` in its plane.
pub fn board(
    camera: &Camera,
    [width, thick]: [f64; 2],
    centre: Vec3,
    tilt: [f64; 2],
    turn: f64,
) -> (Vec<Shape>, Truth, Vec<[f64; 2]>, Vec3) {
    let normal = unit([tilt[1].tan(), tilt[0].tan(), -1.0]);
    let right = unit(cross([0.0, 1.0, 0.0], normal));
    let down = cross(normal, right);
    let closing = add(scale(right, turn.cos()), scale(down, turn.sin()));
    let long = cross(normal, closing);
    let shapes = vec![
        Shape::Cuboid {
            centre: sub(centre, scale(normal, thick / 2.0)),
            axes: [closing, long, normal],
            half: [width / 2.0, 0.1, thick / 2.0],
        },
        Shape::Plane { normal: [0.0, 0.0, 1.0], offset: centre[2] + 0.4 },
    ];
    let contour = outline(camera, centre, scale(closing, width / 2.0 + 0.01), scale(long, 0.06));
    (shapes, Truth { position: centre, width, normal }, contour, closing)
}

#[test]
fn x_points_to_where_the_closing_angle_points() {
    let camera = vga();
    let (shapes, truth, contour, _) = board(&camera, [0.06, THICK], [0.0, 0.0, 0.6], [0.0, 0.0], 0.0);
    for angle in [-1.2, -0.4, 0.0, 0.9, 1.5] {
        let region = region(contour.clone(), camera.pixel(truth.position), angle);
        let grasp = camera.render(&shapes).measure(&camera.model(), &region).grasp.unwrap();
        let x = axes(grasp.orientation_xyzw)[0];
        assert!(dot(x, [angle.cos(), angle.sin(), 0.0]) > 0.999, "{angle}: {x:?}");
    }
}

#[test]
fn noise_and_holes_leave_the_grasp_within_bounds() {
    let camera = vga();
    let (shapes, truth, contour) = cylinder(&camera, 0.035, [0.05, 0.03, 0.7], 0.3, 1.3);
    let closing =
        image_angle(&camera, truth.position, cross([0.3_f64.sin(), 0.3_f64.cos(), 0.0], scale(truth.normal, -1.0)));
    let region = region(contour, camera.pixel(truth.position), closing);
    let clean = camera.render(&shapes);
    let exact = clean.measure(&camera.model(), &region).grasp.unwrap();
    for seed in 0..8 {
        let noisy = clean.clone().with_noise(0.004, seed).with_holes(0.3, seed + 100);
        let measured = noisy.measure(&camera.model(), &region);
        let grasp = check(&format!("seed {seed}"), &measured, &truth);
        assert!((measured.valid_ratio - 0.7).abs() < 0.03, "{}", measured.valid_ratio);
        assert!(grasp.width_stddev_m > exact.width_stddev_m, "noise widens the deviation");
        assert!((grasp.width_m - truth.width).abs() < 4.0 * grasp.width_stddev_m, "{grasp:?}");
    }
}

#[test]
fn the_foreground_is_measured_and_never_an_average() {
    let camera = vga();
    // Foreground on a part of the region only, the contact point on the wall behind.
    let (shapes, truth, contour, _) = board(&camera, [0.05, THICK], [0.0, 0.0, 0.6], [0.0, 0.0], 0.0);
    let wide: Vec<[f64; 2]> =
        contour.iter().map(|[u, v]| [camera.centre[0] + 1.5 * (u - camera.centre[0]), *v]).collect();
    let behind = camera.pixel([0.045, 0.0, 0.6]);
    let measured = camera.render(&shapes).measure(&camera.model(), &region(wide, behind, 0.0));
    let grasp = measured.grasp.unwrap();
    assert!((grasp.position_m[2] - 0.6).abs() < 0.001, "{grasp:?}");
    assert!((grasp.width_m - truth.width).abs() < 0.002, "{grasp:?}");
    assert!(grasp.position_m[0] > 0.015, "the nearest place of the foreground: {grasp:?}");
    assert_ne!(measured.flags & DEPTH_EDGE, 0);
}

#[test]
fn a_far_wall_beyond_the_range_is_an_edge_too() {
    let camera = vga();
    let (mut shapes, _, contour) = cylinder(&camera, 0.03, [0.0, 0.0, 0.6], 0.0, 1.5);
    shapes[1] = Shape::Plane { normal: [0.0, 0.0, 1.0], offset: 8.0 };
    let measured = camera.render(&shapes).measure(&camera.model(), &region(contour, camera.centre, 0.0));
    assert_ne!(measured.flags & DEPTH_EDGE, 0);
    assert!(measured.grasp.is_some());
}

#[test]
fn single_wrong_pixels_are_no_edge_and_no_foreground() {
    let camera = vga();
    let (shapes, truth, _, _) = board(&camera, [0.08, THICK], [0.0, 0.0, 0.6], [0.0, 0.0], 0.0);
    let mut depth = camera.render(&shapes);
    for index in (0..depth.metres.len()).step_by(97) {
        depth.metres[index] *= 0.5;
    }
    let contour = outline(&camera, truth.position, [0.038, 0.0, 0.0], [0.0, 0.05, 0.0]);
    let measured = depth.measure(&camera.model(), &region(contour, camera.pixel(truth.position), 0.0));
    check("flying pixels", &measured, &Truth { width: 0.076, ..truth });
    assert_eq!(measured.flags, 0, "{:b}", measured.flags);
}

#[test]
fn the_gripper_decides_what_is_too_wide_and_too_narrow() {
    let camera = vga();
    for (width, flag) in [(0.15, TOO_WIDE), (0.06, 0), (0.004, TOO_NARROW)] {
        let (shapes, truth, contour, _) = board(&camera, [width, THICK], [0.0, 0.0, 0.4], [0.0, 0.0], 0.0);
        let measured =
            camera.render(&shapes).measure(&camera.model(), &region(contour, camera.pixel(truth.position), 0.0));
        assert_eq!(measured.flags & (TOO_WIDE | TOO_NARROW), flag, "{width}: {measured:?}");
    }
}

#[test]
fn a_box_grasped_at_its_edge_has_no_stable_normal() {
    let camera = vga();
    let (sin, cos) = (PI / 4.0).sin_cos();
    let cuboid = Shape::Cuboid {
        centre: [0.0, 0.0, 0.6],
        axes: [[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]],
        half: [0.04, 0.1, 0.04],
    };
    let front = [0.0, 0.0, 0.6 - 0.04 * 2.0_f64.sqrt()];
    let contour = outline(&camera, front, [0.05, 0.0, 0.0], [0.0, 0.05, 0.0]);
    let measured = camera.render(&[cuboid]).measure(&camera.model(), &region(contour, camera.pixel(front), 0.0));
    assert_ne!(measured.flags & NORMAL_UNSTABLE, 0, "{measured:?}");
    check_pose("edge of a box", &measured.grasp.unwrap());
}

#[test]
fn depth_that_says_nothing_gives_no_grasp() {
    let camera = vga();
    let square = outline(&camera, [0.0, 0.0, 0.6], [0.03, 0.0, 0.0], [0.0, 0.03, 0.0]);
    let region = region(square, camera.centre, 0.0);
    for nothing in [f32::NAN, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.05, 6.0] {
        let depth = Depth { size: camera.size, metres: vec![nothing; 640 * 480] };
        let measured = depth.measure(&camera.model(), &region);
        assert_eq!((measured.grasp, measured.valid_ratio), (None, 0.0), "{nothing}");
        assert_ne!(measured.flags & DEPTH_SPARSE, 0, "{nothing}");
    }
    let few = Depth { size: camera.size, metres: vec![0.6; 640 * 480] }.with_holes(0.9, 7);
    let measured = few.measure(&camera.model(), &region);
    assert_ne!(measured.flags & DEPTH_SPARSE, 0, "{measured:?}");
    assert!((measured.valid_ratio - 0.1).abs() < 0.03);
}

#[test]
fn depth_is_not_called_sparse_where_something_else_prevents_a_grasp() {
    let camera = vga();
    let square = outline(&camera, [0.0, 0.0, 0.6], [0.03, 0.0, 0.0], [0.0, 0.03, 0.0]);
    let depth = Depth { size: camera.size, metres: vec![0.6; 640 * 480] };
    let measured = depth.measure(&camera.model(), &region(square, camera.centre, f64::NAN));
    assert_eq!((measured.grasp, measured.valid_ratio, measured.flags), (None, 1.0, 0));
}

#[test]
fn lenses_are_undone() {
    for (lens, focal) in [(RATIONAL, 600.0), (FISHEYE, 330.0)] {
        let camera = Camera { lens, focal: [focal, focal + 3.0], ..vga() };
        for [x, y] in [[0.0, 0.0], [0.35, -0.2], [-0.4, 0.25]] {
            let name = format!("focal {focal}, place {x} {y}");
            let (shapes, truth, contour) = cylinder(&camera, 0.04, [x * 0.6, y * 0.6, 0.6], 0.2, 1.2);
            let axis = [0.2_f64.sin(), 0.2_f64.cos(), 0.0];
            let closing = image_angle(&camera, truth.position, cross(axis, scale(truth.normal, -1.0)));
            let region = region(contour, camera.pixel(truth.position), closing);
            check(&name, &camera.render(&shapes).measure(&camera.model(), &region), &truth);
        }
    }
}

#[test]
fn binning_and_a_region_of_interest_give_the_full_frame_s_place_within_a_millimetre() {
    let full = vga();
    let (shapes, truth, contour) = cylinder(&full, 0.04, [0.06, 0.02, 0.5], 0.0, 1.2);
    let point = full.pixel(truth.position);
    let whole = full.render(&shapes).measure(&full.model(), &region(contour.clone(), point, 0.0)).grasp.unwrap();

    let (offset, window) = ([160_u32, 100_u32], Size { height: 320, width: 400 });
    let seen = |[u, v]: [f64; 2]| [(u - 160.0 + 0.5) / 2.0 - 0.5, (v - 100.0 + 0.5) / 2.0 - 0.5];
    // A binned pixel sees what the middle of its sensor pixels sees.
    let binned = Camera {
        size: Size { height: 160, width: 200 },
        focal: full.focal.map(|f| f / 2.0),
        centre: seen(full.centre),
        lens: Lens::Pinhole,
    };
    let mut calibration = full.calibration();
    calibration.binning = [2, 2];
    calibration.roi =
        RegionOfInterest { x_offset: offset[0], y_offset: offset[1], width: window.width, height: window.height };
    for rectification in [Rectification::Raw, Rectification::Rectified] {
        let model = CameraModel::new(&calibration, rectification, binned.size).unwrap();
        let region = region(contour.iter().map(|p| seen(*p)).collect(), seen(point), 0.0);
        let part = binned.render(&shapes).measure(&model, &region).grasp.unwrap();
        for axis in 0..3 {
            let miss = part.position_m[axis] - whole.position_m[axis];
            assert!(miss.abs() < 0.001, "{:?} for {:?}", part.position_m, whole.position_m);
        }
        assert!((part.width_m - truth.width).abs() < 0.004, "{part:?}");
    }
}

#[test]
fn millimetres_and_metres_of_one_scene_give_one_pose() {
    let camera = vga();
    let (shapes, truth, contour) = cylinder(&camera, 0.03, [0.0, 0.0, 0.6], 0.1, 1.2);
    let region = region(contour, camera.pixel(truth.position), -0.1);
    let depth = camera.render(&shapes);
    let (floats, millimetres) = (depth.floats(), depth.millimetres());
    let model = camera.model();
    let of = |encoding, data: &[u8]| {
        let scene = Scene { depth: image(encoding, camera.size, data), camera: &model };
        GraspMeasurer::default().measure(&region, &scene, &SETTINGS).grasp.unwrap()
    };
    let (a, b) = (of("32FC1", &floats), of("16UC1", &millimetres));
    for axis in 0..3 {
        assert!((a.position_m[axis] - b.position_m[axis]).abs() < 0.001, "{a:?} {b:?}");
    }
    assert!((a.width_m - b.width_m).abs() < 0.002, "{a:?} {b:?}");
    assert_eq!(of("mono16", &millimetres), b);
}

/// Numbers of every kind, the odd ones often.
fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -50.0_f32..700.0,
        1 => any::<f32>(),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::MAX),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_panics_and_no_grasp_holds_a_nan(
        contour in proptest::collection::vec([any_number(), any_number()], 0..12),
        point in [any_number(), any_number()],
        angle in any_number(),
        metres in proptest::collection::vec(prop_oneof![5 => 0.3_f32..0.9, 1 => any_number()], 1..40),
        lens in prop_oneof![Just(Lens::Pinhole), Just(RATIONAL), Just(FISHEYE)],
    ) {
        let camera = Camera { size: Size { height: 48, width: 64 }, centre: [31.0, 23.0], focal: [60.0, 60.0], lens };
        let mut region = region(Vec::new(), [0.0, 0.0], 0.0);
        (region.contour, region.point, region.closing_angle_rad) = (contour, point, angle);
        let depth = Depth { size: camera.size, metres: metres.iter().copied().cycle().take(64 * 48).collect() };
        let measured = depth.measure(&camera.model(), &region);
        prop_assert!((0.0..=1.0).contains(&measured.valid_ratio));
        if let Some(grasp) = measured.grasp {
            check_pose("any", &grasp);
            prop_assert!((0.1..=5.5).contains(&grasp.position_m[2]), "{:?}", grasp);
            prop_assert!(grasp.width_m.is_finite() && grasp.length_m.is_finite());
        }
    }
}
