//! Covers: frames through decode, resize, model, heat, regions and overlay, on a model whose answer one can foresee.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).

#![allow(clippy::unwrap_used)]

mod models;

use looptrans_ros::{
    contract::Size,
    perceive::{
        Frame, Pixels, RejectReason, Stamp,
        heatmap::{HeatmapEncoding, HeatmapSize},
        infer::{InferSettings, Model},
        pipeline::{Perception, Pipeline, PipelineSettings, Wanted},
    },
};
use models::{COLOURS_INPUT, colours, colours_model, on_cpu, settings};

const SOURCE: Size = Size { height: 240, width: 320 };
const ALL: Wanted = Wanted { heatmap: true, heatmaps: true, overlay: true };
/// The red square's place in [`picture`].
const RED: [std::ops::Range<u32>; 2] = [180..240, 60..120];

/// A red square on dark green.
fn picture() -> Vec<u8> {
    let at = |k: u32| {
        let (x, y) = (k % SOURCE.width, k / SOURCE.width);
        if RED[0].contains(&x) && RED[1].contains(&y) { [220, 0, 0] } else { [0, 60, 0] }
    };
    (0..SOURCE.width * SOURCE.height).flat_map(at).collect()
}

fn frame<'a>(data: &'a [u8], size: Size, encoding: &'a str) -> Frame<'a> {
    let stride_bytes = size.width * 3;
    let Size { height, width } = size;
    let pixels = Pixels::Raw { width, height, encoding, is_bigendian: false, stride_bytes, data };
    Frame { stamp: Stamp::default(), frame_id: "camera", pixels }
}

fn pipeline(settings: PipelineSettings) -> Pipeline {
    Pipeline::new(colours_model(), settings).unwrap()
}

#[test]
fn a_red_square_is_where_red_is() {
    let mut pipeline = pipeline(settings());
    let picture = picture();
    let seen = pipeline.process(&frame(&picture, SOURCE, "rgb8"), ALL).unwrap();
    assert_eq!(seen.source, SOURCE);
    let names: Vec<&str> = seen.heatmaps.iter().map(|h| &*h.affordance).collect();
    assert_eq!(names, ["red", "green", "blue"]);

    let is_red = |x: f32, y: f32| RED[0].contains(&(x as u32)) && RED[1].contains(&(y as u32));
    let red = &seen.heatmaps[0];
    assert!(is_red(red.peak_x, red.peak_y) && red.peak > 0.999, "{red:?}");
    assert_eq!((red.heat.size(), red.scale_x, red.scale_y), (SOURCE, 1.0, 1.0));
    // Blue is nowhere: a flat map is cold, not normalised noise.
    assert!(seen.heatmaps[2].peak == 0.0 && seen.heatmaps[2].heat.image().data.iter().all(|v| *v == 0));

    let region = seen.regions.iter().find(|r| &*r.affordance == "red").unwrap();
    assert!(is_red(region.point[0], region.point[1]), "{region:?}");
    // 60 px of red, blurred to cells of 53x60 px: its centre stays.
    assert!((region.center[0] - 209.5).abs() < 15.0 && (region.center[1] - 89.5).abs() < 15.0, "{region:?}");
    assert!(seen.regions.iter().all(|r| &*r.affordance != "blue"));
    let overlay = seen.overlay.as_ref().unwrap();
    assert_eq!(overlay.dimensions(), (SOURCE.width, SOURCE.height));
    assert_ne!(overlay.as_raw(), &picture);
}

#[test]
fn the_combined_map_is_the_maximum_of_the_single_ones() {
    let mut pipeline = pipeline(settings());
    let picture = picture();
    let seen = pipeline.process(&frame(&picture, SOURCE, "rgb8"), ALL).unwrap();
    let combined = seen.combined.as_ref().unwrap();
    let single: Vec<_> = seen.heatmaps.iter().map(|h| h.heat.image()).collect();
    for (i, value) in combined.data.iter().enumerate() {
        assert_eq!(*value, single.iter().map(|image| image.data[i]).max().unwrap(), "pixel {i}");
    }
}

#[test]
fn the_same_picture_in_another_channel_order_gives_the_same_heat() {
    let mut pipeline = pipeline(settings());
    let rgb = picture();
    let bgr: Vec<u8> = rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
    let heat = |seen: &Perception| (seen.heatmaps.clone(), seen.regions.clone());
    let from_rgb = heat(pipeline.process(&frame(&rgb, SOURCE, "rgb8"), ALL).unwrap());
    let from_bgr = heat(pipeline.process(&frame(&bgr, SOURCE, "bgr8"), ALL).unwrap());
    assert_eq!(from_rgb, from_bgr);
}

#[test]
fn heat_at_network_size_keeps_its_place_in_the_source() {
    let settings = PipelineSettings {
        heatmap_size: HeatmapSize::Network,
        heatmap_encoding: HeatmapEncoding::Float32,
        ..settings()
    };
    let mut pipeline = pipeline(settings);
    let picture = picture();
    let seen = pipeline.process(&frame(&picture, SOURCE, "rgb8"), ALL).unwrap();
    let red = &seen.heatmaps[0];
    assert_eq!((red.heat.size(), red.heat.image().data.len()), (COLOURS_INPUT, 32 * 48 * 4));
    assert_eq!((red.scale_x, red.scale_y), (320.0 / 48.0, 240.0 / 32.0));
    assert!(RED[0].contains(&(red.peak_x as u32)) && RED[1].contains(&(red.peak_y as u32)), "{red:?}");
    assert_eq!(seen.overlay.as_ref().unwrap().dimensions(), (SOURCE.width, SOURCE.height));
}

#[test]
fn nothing_is_rendered_that_nobody_wants() {
    let mut pipeline = pipeline(settings());
    let picture = picture();
    let frame = frame(&picture, SOURCE, "rgb8");
    let all = pipeline.process(&frame, ALL).unwrap().regions.clone();
    let seen = pipeline.process(&frame, Wanted::default()).unwrap();
    assert!(seen.combined.is_none() && seen.heatmaps.is_empty() && seen.overlay.is_none());
    assert_eq!(seen.regions, all, "regions are always computed");
    let only = pipeline.process(&frame, Wanted { overlay: true, ..Wanted::default() }).unwrap();
    assert!(only.overlay.is_some() && only.combined.is_none() && only.heatmaps.is_empty());
}

#[test]
fn only_requested_affordances_are_looked_for() {
    let settings = PipelineSettings { affordances: vec!["green".to_owned(), "red".to_owned()], ..settings() };
    let mut pipeline = pipeline(settings);
    let picture = picture();
    let seen = pipeline.process(&frame(&picture, SOURCE, "rgb8"), ALL).unwrap();
    let ids: Vec<u16> = seen.heatmaps.iter().map(|h| h.class_id).collect();
    assert_eq!(ids, [0, 1], "in class order");
}

#[test]
fn a_bad_frame_is_rejected_and_the_next_of_another_size_is_processed() {
    let mut pipeline = pipeline(settings());
    let picture = picture();
    pipeline.process(&frame(&picture, SOURCE, "rgb8"), ALL).unwrap();
    let black = vec![0; picture.len()];
    let error = pipeline.process(&frame(&black, SOURCE, "rgb8"), ALL).unwrap_err();
    assert_eq!(error.reason(), RejectReason::Inference);
    let error = pipeline.process(&frame(&picture[..99], SOURCE, "rgb8"), ALL).unwrap_err();
    assert_eq!(error.reason(), RejectReason::BadImage);
    let small = Size { height: 48, width: 60 };
    let seen = pipeline.process(&frame(&picture[..48 * 60 * 3], small, "rgb8"), ALL).unwrap();
    assert_eq!((seen.source, seen.heatmaps[0].heat.size()), (small, small));
    assert_eq!(seen.combined.as_ref().unwrap().data.len(), 48 * 60);
}

#[test]
fn settings_the_model_cannot_serve_are_refused_with_expected_and_found() {
    let refusal = |settings| Pipeline::new(colours_model(), settings).err().unwrap().to_string();
    let unknown = refusal(PipelineSettings { affordances: vec!["gren".to_owned()], ..settings() });
    assert_eq!(
        unknown,
        "affordances: expected actions of colours (red, green, blue), found \"gren\"; did you mean green?"
    );
    let nan = refusal(PipelineSettings { heat_threshold: Some(f32::NAN), ..settings() });
    assert_eq!(nan, "heat_threshold: expected 0 to 1, found NaN");
    let points = refusal(PipelineSettings { max_contour_points: 3, ..settings() });
    assert_eq!(points, "max_contour_points: expected 4 or more, found 3");
}

#[test]
fn a_batch_of_different_sizes_gives_what_single_runs_give() {
    let model = Model::load(&colours(), &InferSettings { max_batch: 3, ..on_cpu() }).unwrap();
    let mut pipeline = Pipeline::new(model, settings()).unwrap();
    let large = picture();
    let sizes = [SOURCE, Size { height: 48, width: 96 }, Size { height: 31, width: 17 }];
    let pictures = sizes.map(|size| {
        large
            .chunks_exact(7)
            .flat_map(|c| [c[0], c[3], c[5]])
            .cycle()
            .take((size.width * size.height * 3) as usize)
            .collect::<Vec<u8>>()
    });
    let frames: Vec<Frame<'_>> =
        pictures.iter().zip(sizes).map(|(picture, size)| frame(picture, size, "rgb8")).collect();
    let told = |seen: &Perception| {
        let heat: Vec<_> = seen.heatmaps.iter().map(|map| (map.presence, map.heat.image().data)).collect();
        let regions: Vec<_> = seen.regions.iter().map(|r| (r.affordance.clone(), r.contour.clone())).collect();
        (seen.source, heat, regions)
    };
    let single: Vec<_> = frames.iter().map(|frame| told(pipeline.process(frame, ALL).unwrap())).collect();
    let mut batch = pipeline.run_batch(&frames);
    for (expected, size) in single.iter().zip(sizes) {
        let (source, heat, regions) = told(batch.next(ALL).unwrap().unwrap());
        assert_eq!((source, &regions), (size, &expected.2));
        for ((presence, map), (single_presence, single_map)) in heat.iter().zip(&expected.1) {
            assert!((presence - single_presence).abs() < 1e-5, "{presence} {single_presence}");
            // One step of 255, where rounding falls to the other side.
            assert!(map.iter().zip(single_map).all(|(a, b)| a.abs_diff(*b) <= 1) && map.len() == single_map.len());
        }
    }
    assert!(batch.next(ALL).is_none());
}
