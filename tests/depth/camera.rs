//! Calibrations: what they mean, and which are refused.

use looptrans_ros::{
    contract::Size,
    perceive::depth::{Calibration, CalibrationError, CameraModel, Rectification, RegionOfInterest},
};
use proptest::prelude::*;

use crate::scene::{Camera, Lens, vga};

const SIZE: Size = Size { height: 480, width: 640 };

fn raw(calibration: &Calibration) -> Result<CameraModel, CalibrationError> {
    CameraModel::new(calibration, Rectification::Raw, SIZE)
}

#[test]
fn rays_and_pixels_agree_with_a_camera_written_apart() {
    for lens in [
        Lens::Pinhole,
        Lens::Rational([0.30, -0.10, 0.001, -0.0007, 0.02, 0.62, -0.05, 0.01]),
        Lens::Rational([-0.28, 0.07, 0.0002, 0.0001, 0.0, 0.0, 0.0, 0.0]),
        Lens::Equidistant([-0.02, 0.004, -0.001, 0.0002]),
    ] {
        let camera = Camera { lens, ..vga() };
        let model = camera.model();
        for u in (0..640).step_by(71) {
            for v in (0..480).step_by(53) {
                let pixel = [f64::from(u), f64::from(v)];
                let (ray, truth) = (model.ray(pixel).unwrap(), camera.ray(pixel));
                assert!((ray[0] - truth[0]).abs() < 1e-6 && (ray[1] - truth[1]).abs() < 1e-6, "{ray:?} {truth:?}");
                let back = model.project(ray.map(|c| c * 0.7)).unwrap();
                assert!((back[0] - pixel[0]).abs() < 1e-5 && (back[1] - pixel[1]).abs() < 1e-5, "{back:?} {pixel:?}");
            }
        }
    }
}

#[test]
fn plumb_bob_is_the_rational_model_s_beginning() {
    let mut calibration = vga().calibration();
    calibration.d = vec![-0.28, 0.07, 0.0002, 0.0001, 0.01];
    let plumb_bob = raw(&calibration).unwrap();
    calibration.distortion_model = "rational_polynomial".to_owned();
    calibration.d.extend([0.0; 3]);
    assert_eq!(raw(&calibration).unwrap(), plumb_bob);
}

#[test]
fn a_rectified_picture_has_p_and_no_distortion() {
    let mut calibration = vga().calibration();
    calibration.d = vec![-0.3, 0.1, 0.0, 0.0, 0.0];
    calibration.p = vec![500.0, 0.0, 300.0, -60.0, 0.0, 510.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let model = CameraModel::new(&calibration, Rectification::Rectified, SIZE).unwrap();
    assert_eq!(model.ray([300.0, 200.0]), Some([0.0, 0.0, 1.0]));
    assert_eq!(model.ray([550.0, 710.0]), Some([0.5, 1.0, 1.0]));
    assert_ne!(raw(&calibration).unwrap().ray([550.0, 450.0]), model.ray([550.0, 450.0]));
}

#[test]
fn uncalibrated_cameras_are_named() {
    let cases: [fn(&mut Calibration); 5] = [
        |c| c.k.fill(0.0),
        |c| c.k[0] = f64::NAN,
        |c| c.k[0] = -600.0,
        |c| c.k[4] = f64::INFINITY,
        |c| c.k[2] = f64::NAN,
    ];
    for spoil in cases {
        let mut calibration = vga().calibration();
        spoil(&mut calibration);
        let error = raw(&calibration).unwrap_err();
        assert!(matches!(error, CalibrationError::Uncalibrated { matrix: "K", .. }), "{error}");
        // The rectified camera is another.
        assert!(CameraModel::new(&calibration, Rectification::Rectified, SIZE).is_ok());
    }
    let short = Calibration { k: vec![600.0; 8], ..vga().calibration() };
    assert_eq!(raw(&short).unwrap_err(), CalibrationError::Shape { matrix: "K", expected: 9, found: 8 });
}

#[test]
fn unknown_lenses_are_never_taken_for_pinholes() {
    for model in ["fisheye62", "equi", "PLUMB_BOB", "none"] {
        for d in [vec![], vec![0.0; 5], vec![0.1; 5]] {
            let calibration = Calibration { distortion_model: model.to_owned(), d, ..vga().calibration() };
            let error = raw(&calibration).unwrap_err();
            assert!(error.to_string().contains(model) && error.to_string().contains("equidistant"), "{error}");
        }
    }
    let unnamed = Calibration { distortion_model: String::new(), d: vec![0.1, 0.0], ..vga().calibration() };
    assert!(matches!(raw(&unnamed), Err(CalibrationError::UnknownModel { .. })));
    let none = Calibration { distortion_model: String::new(), d: vec![], ..vga().calibration() };
    assert_eq!(raw(&none), raw(&vga().calibration()));
}

#[test]
fn wrong_coefficients_are_refused() {
    for (model, d) in [
        ("plumb_bob", vec![0.1; 3]),
        ("plumb_bob", vec![0.1; 8]),
        ("plumb_bob", vec![0.1, f64::NAN, 0.0, 0.0, 0.0]),
        ("rational_polynomial", vec![0.1; 5]),
        ("rational_polynomial", vec![0.01; 14]),
        ("equidistant", vec![]),
        ("equidistant", vec![0.1; 5]),
        ("equidistant", vec![f64::INFINITY; 4]),
    ] {
        let calibration = Calibration { distortion_model: model.to_owned(), d: d.clone(), ..vga().calibration() };
        let error = raw(&calibration).unwrap_err();
        assert!(matches!(error, CalibrationError::Coefficients { .. }), "{model} {d:?}: {error}");
        assert!(error.to_string().contains(model), "{error}");
    }
}

#[test]
fn where_a_lens_folds_the_picture_there_is_no_ray() {
    // r (1 - r^2) is largest, 0.385, at r = 0.577: beyond it the picture comes back.
    let camera = Camera { lens: Lens::Rational([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), ..vga() };
    let model = camera.model();
    assert!(model.ray([camera.centre[0] + 0.35 * 600.0, camera.centre[1]]).is_some());
    assert_eq!(model.ray([camera.centre[0] + 0.40 * 600.0, camera.centre[1]]), None);
    let folded = Camera { lens: Lens::Equidistant([-0.5, 0.0, 0.0, 0.0]), focal: [300.0; 2], ..vga() }.model();
    assert_eq!(folded.ray([639.0, 238.0]), None);
}

#[test]
fn another_size_is_refused_with_both() {
    let calibration = Calibration { size: Size { height: 720, width: 1280 }, ..vga().calibration() };
    let text = raw(&calibration).unwrap_err().to_string();
    assert!(text.contains("640x480") && text.contains("1280x720"), "{text}");
    let binned = Calibration { binning: [2, 2], ..vga().calibration() };
    assert!(raw(&binned).unwrap_err().to_string().contains("320x240"));
    assert!(CameraModel::new(&Calibration::default(), Rectification::Raw, Size::default()).is_err());
}

#[test]
fn a_window_beyond_the_sensor_is_refused() {
    for roi in [
        RegionOfInterest { x_offset: 1, y_offset: 0, width: 640, height: 480 },
        RegionOfInterest { x_offset: 0, y_offset: u32::MAX, width: 640, height: 480 },
        RegionOfInterest { x_offset: 0, y_offset: 0, width: 1 << 31, height: 480 },
    ] {
        let calibration = Calibration { roi, ..vga().calibration() };
        assert!(matches!(raw(&calibration), Err(CalibrationError::RegionOfInterest { .. })), "{roi:?}");
    }
}

proptest! {
    #[test]
    fn any_calibration_is_refused_or_gives_finite_rays(
        numbers in proptest::collection::vec(prop_oneof![any::<f64>(), -2.0..2.0_f64, 100.0..900.0_f64], 12),
        d in proptest::collection::vec(prop_oneof![9 => -2.0..2.0_f64, 1 => any::<f64>()], 0..15),
        model in prop_oneof![Just("plumb_bob"), Just("rational_polynomial"), Just("equidistant"), Just("")],
        binning in (0..5_u32, any::<u32>()),
        roi in (any::<u32>(), any::<u32>(), 0..700_u32, 0..700_u32),
        use_roi in any::<bool>(),
        pixel in (any::<f64>(), -10.0..700.0_f64),
    ) {
        let roi = RegionOfInterest { x_offset: roi.0, y_offset: roi.1, width: roi.2, height: roi.3 };
        let calibration = Calibration {
            size: SIZE,
            distortion_model: model.to_owned(),
            d,
            k: numbers[..9].to_vec(),
            p: numbers,
            binning: if use_roi { binning.into() } else { [0, 1] },
            roi: if use_roi { roi } else { RegionOfInterest::default() },
        };
        for rectification in [Rectification::Raw, Rectification::Rectified] {
            let Ok(camera) = CameraModel::new(&calibration, rectification, SIZE) else { continue };
            if let Some(ray) = camera.ray(pixel.into()) {
                prop_assert!(ray.iter().all(|c| c.is_finite()));
            }
            let _ = camera.ray([pixel.1, pixel.1]);
        }
    }
}
