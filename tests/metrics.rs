//! KLD, SIM and NSS against the numbers of the published code, their properties, and what they refuse.

#![allow(clippy::unwrap_used)]

use looptrans_ros::metrics::{MetricError, Protocol, Scores, kld, nss, resize, score, sim};
use ndarray::{Array2, array, aview2};
use proptest::prelude::*;

/// Of the published numbers' own size; the maps are sampled with f32 weights.
const RELATIVE: f64 = 1e-5;

fn assert_near(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs();
    println!("{what:24} {found:.9} relative error {error:.1e}");
    assert!(error <= RELATIVE, "{what}: {found}, expected {expected}");
}

/// small[i, j] = ((3i + 5j) mod 11) / 10
fn class_map() -> Array2<f32> {
    Array2::from_shape_fn((14, 14), |(i, j)| ((3 * i + 5 * j) % 11) as f32 / 10.0)
}

fn blob((rows, columns): (usize, usize), (x0, y0): (f64, f64), twice_variance: f64) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        255.0 * (-((x as f64 - x0).powi(2) + (y as f64 - y0).powi(2)) / twice_variance).exp()
    })
}

/// As it is read from a PNG.
fn picture() -> Array2<u8> {
    blob((300, 500), (320.0, 120.0), 2450.0).mapv(|value| value.floor() as u8)
}

#[test]
fn resizing_up_and_down_is_opencvs_and_pytorchs() {
    assert_near("up[100, 100]", resize(class_map().view(), (224, 224)).unwrap()[[100, 100]], 0.465625);
    let down = resize(picture().mapv(|value| f64::from(value) / 255.0).view(), (224, 224)).unwrap();
    assert_near("sum of a 300x500 truth", down.sum(), 2537.557204);
    assert_near("max of a 300x500 truth", down.iter().copied().fold(0.0, f64::max), 0.9972448);
}

#[test]
fn a_ground_truth_of_the_tests_size_scores_as_published() {
    let truth = blob((224, 224), (150.0, 80.0), 800.0) / 255.0;
    let Scores { kld, sim, nss } = Protocol::default().score(class_map().view(), truth.view()).unwrap();
    assert_near("A KLD", kld, 2.0543200);
    assert_near("A SIM", sim, 0.1963276);
    assert_near("A NSS", nss.unwrap(), -0.0369918);
}

#[test]
fn a_ground_truth_picture_of_another_size_scores_as_published() {
    let Scores { kld, sim, nss } = Protocol::default().score(class_map().view(), picture().view()).unwrap();
    assert_near("B KLD", kld, 2.1352259);
    assert_near("B SIM", sim, 0.1908749);
    assert_near("B NSS", nss.unwrap(), -0.0432060);
}

#[test]
fn a_ground_truth_scores_itself_best() {
    let truth = resize(picture().view(), (224, 224)).unwrap();
    let Scores { kld, sim, nss } = score(truth.view(), truth.view()).unwrap();
    // Printed with three digits; epsilon, not a divergence.
    assert!((kld - -1.44e-8).abs() < 0.005e-8, "{kld}");
    assert_near("self SIM", sim, 1.0);
    assert_near("self NSS", nss.unwrap(), 2.2512550);
}

#[test]
fn resizing_to_the_same_size_changes_nothing_and_a_constant_stays_one() {
    let map = class_map().mapv(f64::from);
    assert_eq!(resize(map.view(), (14, 14)).unwrap(), map);
    let constant = Array2::from_elem((3, 5), 0.25_f32);
    for size in [(1, 1), (7, 2), (300, 500)] {
        assert_eq!(resize(constant.view(), size).unwrap(), Array2::from_elem(size, 0.25));
    }
    // One pixel: the mean of the two in the middle.
    assert_eq!(resize(array![[0.0, 1.0, 3.0, 9.0]].view(), (1, 1)).unwrap(), array![[2.0]]);
}

#[test]
fn a_constant_prediction_has_no_nss_but_both_other_scores() {
    let truth = array![[0.0, 1.0], [0.0, 0.0]];
    let scores = score(Array2::ones((2, 2)).view(), truth.view()).unwrap();
    assert_eq!(scores.nss, None);
    assert_near("KLD of uniform", scores.kld, 4.0_f64.ln());
    assert_near("SIM of uniform", scores.sim, 0.25);
    // A flat class map is zero everywhere after min-max: nothing is where it should be, and no score is NaN.
    let scores = Protocol::default().score(Array2::from_elem((14, 14), -3.0_f32).view(), truth.view()).unwrap();
    assert_eq!((scores.sim, scores.nss), (0.0, None));
    assert!(scores.kld.is_finite() && scores.kld > 15.0, "{}", scores.kld);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_place() {
    let (ones, zeros) = (Array2::<f64>::ones((2, 3)), Array2::<f64>::zeros((2, 3)));
    let with = |value: f64| {
        let mut map = ones.clone();
        map[[1, 2]] = value;
        map
    };
    let refused = |prediction: &Array2<f64>, truth: &Array2<f64>| {
        let (prediction, truth) = (prediction.view(), truth.view());
        let error = score(prediction, truth).unwrap_err().to_string();
        assert_eq!(kld(prediction, truth).unwrap_err().to_string(), error);
        assert_eq!(sim(prediction, truth).unwrap_err().to_string(), error);
        assert_eq!(nss(prediction, truth).unwrap_err().to_string(), error);
        error
    };
    let empty = Array2::<f64>::zeros((0, 3));
    assert_eq!(refused(&empty, &empty), "metrics: prediction has no pixels: 0x3");
    assert_eq!(refused(&ones, &empty), "metrics: ground truth has no pixels: 0x3");
    let error = refused(&ones, &ones.t().to_owned());
    assert_eq!(error, "metrics: prediction of 2x3 pixels, ground truth of 3x2: resize one first");
    assert_eq!(refused(&with(f64::NAN), &ones), "metrics: prediction holds NaN at row 1, column 2");
    assert_eq!(refused(&ones, &with(f64::INFINITY)), "metrics: ground truth holds inf at row 1, column 2");
    assert_eq!(refused(&with(-0.5), &ones), "metrics: prediction holds -0.5 at row 1, column 2: expected at least 0");
    assert_eq!(refused(&ones, &zeros), "metrics: the ground truth is zero everywhere");

    let small = class_map();
    let error = Protocol { rows: 0, columns: 4 }.score(small.view(), small.view()).unwrap_err();
    assert_eq!(error, MetricError::Empty { what: "the size to resize to", rows: 0, columns: 4 });
    assert!(matches!(resize(empty.view(), (4, 4)), Err(MetricError::Empty { rows: 0, .. })));
    assert!(matches!(resize(aview2(&[[f32::NAN]]), (4, 4)), Err(MetricError::NotFinite { at: (0, 0), .. })));
    let error = Protocol::default().score(small.view(), Array2::<u8>::zeros((9, 9)).view()).unwrap_err();
    assert_eq!(error, MetricError::NoTruth);
}

proptest! {
    #[test]
    fn scores_keep_their_bounds_and_ignore_scale(
        values in proptest::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 12),
        (p_scale, t_scale) in (-200.0..200.0_f64, -200.0..200.0_f64),
    ) {
        let prediction = Array2::from_shape_vec((3, 4), values.iter().map(|(p, _)| p + 0.01).collect()).unwrap();
        let truth = Array2::from_shape_vec((3, 4), values.iter().map(|(_, t)| t + 0.01).collect()).unwrap();
        let scores = score(prediction.view(), truth.view()).unwrap();
        prop_assert!(scores.kld > -1e-6 && (0.0..=1.0 + 1e-9).contains(&scores.sim));

        let (scaled_p, scaled_t) = (&prediction * 10_f64.powf(p_scale), &truth * 10_f64.powf(t_scale));
        let scaled = score(scaled_p.view(), scaled_t.view()).unwrap();
        prop_assert!((scaled.kld - scores.kld).abs() < 1e-6 && (scaled.sim - scores.sim).abs() < 1e-6);
        prop_assert!((scaled.nss.unwrap() - scores.nss.unwrap()).abs() < 1e-6);
    }
}
