//! Covers: memory per frame. Alone in its file, and one test, because it counts the whole process's allocations.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH). Not counted: what ONNX Runtime allocates for itself.

#![allow(clippy::unwrap_used)]

mod models;

use looptrans_ros::{
    contract::Size,
    message::{
        bulk::{self, HeatmapsHead},
        image::Header,
    },
    perceive::{
        Frame, Pixels, Stamp,
        pipeline::{Pipeline, Wanted},
    },
};
use models::{colours_model, settings};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FRAMES: u64 = 20;

#[test]
fn a_frame_allocates_nothing_of_the_images_size() {
    let (width, height) = (1280, 960);
    let mut pipeline = Pipeline::new(colours_model(), settings()).unwrap();
    // bgr8 has to be converted; coloured tiles give regions.
    let tile = |k: u32| (k % width / 320 + k / width / 240) % 3;
    let data: Vec<u8> =
        (0..width * height).flat_map(|k| [0, 1, 2].map(|c| if tile(k) == c { 200 } else { 20 })).collect();
    let pixels =
        Pixels::Raw { width, height, encoding: "bgr8", is_bigendian: false, stride_bytes: width * 3, data: &data };
    let frame = Frame { stamp: Stamp::default(), frame_id: "camera", pixels };
    let everything = Wanted { heatmap: true, heatmaps: true, overlay: true };
    let cases = [everything, Wanted::default(), Wanted { overlay: true, ..Wanted::default() }];
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut message = Vec::new();
    let head = HeatmapsHead { header: Header::from(&frame), model_id: "colours", source: Size { width, height } };
    for wanted in cases {
        let seen = pipeline.process(&frame, wanted).unwrap();
        bulk::write_heatmaps(&mut message, &head, &seen.heatmaps).unwrap();
    }
    let before = dhat::HeapStats::get().total_bytes;
    for i in 0..FRAMES {
        let seen = pipeline.process(&frame, cases[i as usize % cases.len()]).unwrap();
        assert!(!seen.regions.is_empty(), "the frame must give the later stages work");
        bulk::write_heatmaps(&mut message, &head, &seen.heatmaps).unwrap();
    }
    let per_frame = (dhat::HeapStats::get().total_bytes - before) / FRAMES;
    // One byte per pixel is the smallest picture anyone could allocate.
    assert!(per_frame < u64::from(width * height) / 16, "{per_frame} bytes per frame");
}
