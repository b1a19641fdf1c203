use std::sync::Arc;

use super::*;

const GREY: u8 = 90;

fn region(point: [f32; 2]) -> GraspRegion {
    let [x, y] = point;
    GraspRegion {
        class_id: 1,
        affordance: Arc::from("hold"),
        score: 0.834,
        score_peak: 1.0,
        contour: vec![[x - 40.0, y - 10.0], [x + 40.0, y - 10.0], [x + 40.0, y + 10.0], [x - 40.0, y + 10.0]],
        center: point,
        size: [80.0, 20.0],
        theta_rad: 0.0,
        point,
        closing_angle_rad: std::f32::consts::FRAC_PI_2,
        flags: 0,
    }
}

/// Draws over an even grey picture.
fn drawn(alpha: f32, size: Size, heat: HeatLayer<'_>, regions: &[GraspRegion]) -> RgbImage {
    let grey = vec![GREY; 3 * (size.width * size.height) as usize];
    let mut out = RgbImage::new(7, 3);
    Overlay::new(alpha).draw(RgbView { size, data: &grey }, heat, regions, &mut out).unwrap();
    assert_eq!((out.width(), out.height()), (size.width, size.height));
    out
}

const SIZE: Size = Size { height: 240, width: 320 };

fn drawn_cold(regions: &[GraspRegion]) -> RgbImage {
    let levels = vec![0; (SIZE.width * SIZE.height) as usize];
    drawn(0.5, SIZE, HeatLayer { size: SIZE, levels: &levels }, regions)
}

#[test]
fn turbo_is_the_published_map() {
    // Made with opencv-python 5.0.0 (the table; the polynomials are least-squares fits that miss it by up to 24 levels here):
    //   cv2.applyColorMap(np.uint8([[32, 64, 128, 192, 255]]), cv2.COLORMAP_TURBO)[0, :, ::-1]
    let expected: [[u8; 3]; 5] = [[70, 107, 227], [40, 188, 235], [164, 252, 60], [251, 126, 33], [122, 4, 3]];
    for (level, expected) in [32u8, 64, 128, 192, 255].into_iter().zip(expected) {
        let found = colours::turbo(f32::from(level) / 255.0);
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 24), "{level}: {found:?} {expected:?}");
    }
}

#[test]
fn opacity_is_heat_times_alpha() {
    let size = Size { height: 1, width: 3 };
    let heat = HeatLayer { size, levels: &[0, 102, 255] };
    for alpha in [0.0, 0.5, 1.0] {
        let out = drawn(alpha, size, heat, &[]);
        for (x, level) in [0u8, 102, 255].into_iter().enumerate() {
            let heat = f32::from(level) / 255.0;
            let over = colours::turbo(colours::HOTTEST * heat);
            let expected = over.map(|c| f32::from(GREY) + alpha * heat * (f32::from(c) - f32::from(GREY)));
            let found = out.get_pixel(x as u32, 0).0;
            assert!(found.iter().zip(expected).all(|(a, b)| (f32::from(*a) - b).abs() < 1.5), "{found:?} {expected:?}");
        }
    }
}

#[test]
fn heat_of_another_size_is_stretched_over_the_picture() {
    let heat = HeatLayer { size: Size { height: 1, width: 2 }, levels: &[0, 255] };
    let out = drawn(1.0, Size { height: 10, width: 20 }, heat, &[]);
    assert_eq!(out.get_pixel(0, 9).0, [GREY; 3]);
    assert_eq!(out.get_pixel(19, 0).0, colours::turbo(colours::HOTTEST));
    let middle = drawn(1.0, Size { height: 10, width: 20 }, heat, &[]).get_pixel(10, 5).0;
    assert!(middle != [GREY; 3] && middle != colours::turbo(colours::HOTTEST));
}

#[test]
fn a_region_shows_its_point_outline_and_jaws_where_they_are() {
    let out = drawn_cold(&[region([160.0, 120.0])]);
    let at = |x, y| out.get_pixel(x, y).0;
    assert_eq!(at(160, 120), colours::of_class(1), "contact point");
    assert_eq!(at(130, 110), colours::of_class(1), "upper side of the outline");
    assert_eq!(at(120, 115), colours::of_class(1), "left side of the outline");
    // Jaws close along y: a bar 3 pixels above and below the sides, and an arrow from further out.
    for y in [107, 133] {
        assert_eq!(at(163, y), colours::WHITE, "bar at {y}");
    }
    for y in [100, 140] {
        assert_eq!(at(160, y), colours::WHITE, "shaft at {y}");
    }
    assert_eq!(at(60, 120), [GREY; 3], "elsewhere the picture is as it was");
}

#[test]
fn the_rectangle_turns_with_theta() {
    let turned = GraspRegion { theta_rad: std::f32::consts::FRAC_PI_2, ..region([100.0, 50.0]) };
    let mut corners: Vec<[i32; 2]> = corners(&turned).iter().map(|c| c.map(|v| v.round() as i32)).collect();
    corners.sort_unstable();
    assert_eq!(corners, [[90, 10], [90, 90], [110, 10], [110, 90]]);
}

#[test]
fn labels_stay_in_the_picture_and_apart() {
    let mut picture = RgbImage::new(320, 240);
    let canvas = Canvas::new(&mut picture);
    let mut taken: Vec<label::Area> = Vec::new();
    for point in [[160.0, 120.0], [160.0, 121.0], [165.0, 119.0], [0.0, 0.0], [319.0, 239.0], [319.0, 0.0]] {
        let area = Label::place(&region(point), [point[1] - 10.0, point[1] + 10.0], &canvas, &taken).area;
        assert!(area.left >= 0.0 && area.top >= 0.0, "{area:?}");
        assert!(area.left + area.width <= 320.0 && area.top + area.height <= 240.0, "{area:?}");
        for other in &taken {
            let apart = area.left + area.width <= other.left
                || other.left + other.width <= area.left
                || area.top + area.height <= other.top
                || other.top + other.height <= area.top;
            assert!(apart, "{area:?} {other:?}");
        }
        taken.push(area);
    }
}

#[test]
fn regions_without_sense_and_tiny_pictures_do_no_harm() {
    let names = ["", "\0\n", "ünïcödé", &"long".repeat(1000)];
    for size in [(1, 1), (3, 40), (200, 2)].map(|(width, height)| Size { height, width }) {
        let levels = vec![255; (size.width * size.height) as usize];
        for value in [f32::NAN, f32::INFINITY, -1e30, 0.0, 1e9] {
            for name in names {
                let strange = GraspRegion {
                    affordance: Arc::from(name),
                    contour: vec![[value, 1.0], [2.0, value], [value; 2]],
                    center: [value; 2],
                    size: [value; 2],
                    theta_rad: value,
                    score: value,
                    ..region([value; 2])
                };
                let empty = GraspRegion { contour: vec![], ..strange.clone() };
                drawn(1.0, size, HeatLayer { size, levels: &levels }, &[strange, empty]);
            }
        }
    }
}

#[test]
fn views_of_wrong_length_are_errors() {
    let mut overlay = Overlay::new(0.5);
    let source = RgbView { size: SIZE, data: &[0; 30] };
    let heat = HeatLayer { size: Size { height: 2, width: 2 }, levels: &[0; 3] };
    assert!(overlay.draw(source, heat, &[], &mut RgbImage::default()).is_err());
}
