use proptest::prelude::*;

use super::*;

/// Half-pixel-centre bilinear in f64, written from the definition: the independent reference.
fn reference(map: &[f32], from: Size, to: Size) -> Vec<f64> {
    let at = |r: usize, c: usize| f64::from(map[r * from.width as usize + c]);
    let split = |i: u32, inputs: u32, outputs: u32| {
        let p = ((f64::from(i) + 0.5) * f64::from(inputs) / f64::from(outputs) - 0.5).max(0.0);
        let lower = (p.floor() as usize).min(inputs as usize - 1);
        (lower, (lower + 1).min(inputs as usize - 1), p - lower as f64)
    };
    let mut out = Vec::new();
    for y in 0..to.height {
        let (r0, r1, ty) = split(y, from.height, to.height);
        for x in 0..to.width {
            let (c0, c1, tx) = split(x, from.width, to.width);
            let top = at(r0, c0) * (1.0 - tx) + at(r0, c1) * tx;
            let bottom = at(r1, c0) * (1.0 - tx) + at(r1, c1) * tx;
            out.push(top * (1.0 - ty) + bottom * ty);
        }
    }
    out
}

fn min_max(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

fn size(height: u32, width: u32) -> Size {
    Size { height, width }
}

fn picture(up: &Upsampler, map: &[f32], scale: &HeatScale, encoding: HeatmapEncoding) -> HeatImage {
    let mut heat = HeatRows::default();
    up.prepare(map, scale, encoding, &mut heat);
    heat.image()
}

fn golden_map() -> Vec<f32> {
    (0..14 * 14).map(|k| ((3 * (k / 14) + 5 * (k % 14)) % 11) as f32 / 10.0).collect()
}

#[test]
fn upsampling_equals_pytorchs_interpolate() {
    // small = torch.tensor([[((3*i + 5*j) % 11) / 10 for j in range(14)] for i in range(14)])
    // F.interpolate(small[None, None], size=(224, 224), mode="bilinear", align_corners=False)[0, 0, 100, 100] = .465625
    let (map, from, to) = (golden_map(), size(14, 14), size(224, 224));
    let mut up = Upsampler::new(from, to);
    let scale = up.scale(&map).unwrap();
    let mut heat = Vec::new();
    up.render_values(&map, &scale, &mut heat);
    let raw = heat[100 * 224 + 100] * scale.range + scale.low;
    assert!((raw - 0.465625).abs() < 1e-6, "{raw}");
}

#[test]
fn heat_equals_the_definition_in_f64() {
    for to in [size(224, 224), size(480, 640), size(9, 7), size(1, 1), size(3, 1000)] {
        let (map, from) = (golden_map(), size(14, 14));
        let expected = reference(&map, from, to);
        let (low, high) = min_max(&expected);
        let up = Upsampler::new(from, to);
        let scale = up.scale(&map).unwrap();
        let image = picture(&up, &map, &scale, HeatmapEncoding::Float32);
        assert_eq!((image.size, image.data.len()), (to, expected.len() * 4));
        for (found, raw) in image.data.as_chunks::<4>().0.iter().zip(&expected) {
            let expected = (raw - low) / (high - low + 1e-10);
            let found = f64::from(f32::from_le_bytes(*found));
            assert!((found - expected).abs() < 2e-6, "{to:?}: expected {expected}, found {found}");
        }
    }
}

#[test]
fn mono8_is_the_heat_rounded_to_nearest() {
    let (map, from, to) = (golden_map(), size(14, 14), size(480, 640));
    let mut up = Upsampler::new(from, to);
    let scale = up.scale(&map).unwrap();
    let (mono, mut values) = (picture(&up, &map, &scale, HeatmapEncoding::Mono8), Vec::new());
    up.render_values(&map, &scale, &mut values);
    for (byte, heat) in mono.data.iter().zip(&values) {
        // Half a level, and what float rounding may add to it.
        assert!((f32::from(*byte) - heat * 255.0).abs() < 0.5001);
    }
    assert_eq!(mono.data.iter().max(), Some(&255));
    assert_eq!(mono.data.iter().min(), Some(&0));
}

#[test]
fn a_flat_map_is_cold_everywhere() {
    for value in [0.0, 0.1, -7.3e8] {
        let up = Upsampler::new(size(14, 14), size(48, 64));
        let map = [value; 196];
        let scale = up.scale(&map).unwrap();
        assert_eq!((scale.range, scale.peak), (0.0, 0.0));
        let image = picture(&up, &map, &scale, HeatmapEncoding::Mono8);
        assert!(image.data.iter().all(|b| *b == 0));
    }
}

#[test]
fn maps_without_meaning_are_inference_errors() {
    let up = Upsampler::new(size(2, 2), size(8, 8));
    for map in [[0.0, f32::NAN, 0.0, 1.0], [f32::INFINITY, 0.0, 0.0, 0.0], [f32::MAX, -f32::MAX, 0.0, 0.0]] {
        let error = up.scale(&map).unwrap_err();
        assert_eq!(error.reason(), crate::perceive::RejectReason::Inference, "{error}");
    }
}

#[test]
fn the_peak_lies_where_the_hottest_cell_is() {
    let mut map = [0.0; 14 * 14];
    map[3 * 14 + 9] = 1.0;
    let up = Upsampler::new(size(14, 14), size(480, 640));
    let [x, y] = up.scale(&map).unwrap().peak_at.map(|v| v as f32);
    // The cell's centre in source pixels, to half a pixel.
    assert!((x - (9.5 * 640.0 / 14.0 - 0.5)).abs() <= 0.5, "{x}");
    assert!((y - (3.5 * 480.0 / 14.0 - 0.5)).abs() <= 0.5, "{y}");
}

prop_compose! {
    fn any_map()(h in 1_u32..6, w in 1_u32..6)(
        map in prop::collection::vec(-5.0_f32..5.0, (h * w) as usize), h in Just(h), w in Just(w)
    ) -> (Vec<f32>, Size) {
        (map, size(h, w))
    }
}

proptest! {
    #[test]
    fn extremes_of_cell_corners_are_those_of_the_whole_map((map, from) in any_map(), h in 1_u32..40, w in 1_u32..40) {
        let values = reference(&map, from, size(h, w));
        let (low, high) = min_max(&values);
        let scale = Upsampler::new(from, size(h, w)).scale(&map).unwrap();
        prop_assert!((f64::from(scale.low) - low).abs() < 1e-5);
        prop_assert!((f64::from(scale.range) - (high - low)).abs() < 1e-5);
        let [x, y] = scale.peak_at;
        prop_assert!((values[y * w as usize + x] - high).abs() < 1e-5);
    }

    #[test]
    fn the_combined_map_is_the_pixelwise_maximum(
        maps in prop::collection::vec(prop::collection::vec(-5.0_f32..5.0, 12), 1..6),
        h in 1_u32..40, w in 1_u32..40, float in any::<bool>(),
    ) {
        let encoding = if float { HeatmapEncoding::Float32 } else { HeatmapEncoding::Mono8 };
        let mut up = Upsampler::new(size(3, 4), size(h, w));
        let scaled: Vec<_> = maps.iter().map(|m| (&m[..], up.scale(m).unwrap())).collect();
        let mut combined = HeatImage { encoding, ..HeatImage::default() };
        up.render_max(&scaled, &mut combined);
        let mut expected = Vec::new();
        for (map, scale) in &scaled {
            let single = picture(&up, map, scale, encoding);
            // Heat is never negative, so its bits as a big-endian number order as the heat does.
            let units: Vec<u32> = match encoding {
                HeatmapEncoding::Mono8 => single.data.iter().map(|b| u32::from(*b)).collect(),
                HeatmapEncoding::Float32 =>
                    single.data.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
            };
            expected.resize(units.len(), 0);
            for (e, u) in expected.iter_mut().zip(units) { *e = u.max(*e); }
        }
        let bytes: Vec<u8> = match encoding {
            HeatmapEncoding::Mono8 => expected.iter().map(|v| *v as u8).collect(),
            HeatmapEncoding::Float32 => expected.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        prop_assert_eq!(combined.data, bytes);
    }

    #[test]
    fn any_finite_map_gives_heat_in_range(map in prop::collection::vec(prop::num::f32::NORMAL, 12)) {
        let mut up = Upsampler::new(size(3, 4), size(17, 23));
        if let Ok(scale) = up.scale(&map) {
            let mut heat = Vec::new();
            up.render_values(&map, &scale, &mut heat);
            prop_assert!(heat.iter().all(|v| (0.0..=1.000001).contains(v)));
        }
    }
}
