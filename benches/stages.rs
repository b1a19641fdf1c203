//! Median time of each stage of a frame, on a seeded ViT-S/16 bundle: `cargo bench --bench stages`.
//!
//! The cases take turns frame by frame, so that a busy machine slows all of them alike: compare within one run.
//! The least region score is 0, so that no affordance is skipped: the worst case for the regions stage.
//! Not measured here: what ROS adds, taking the message and publishing.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).

#![allow(clippy::unwrap_used)]

#[path = "../tests/models/mod.rs"]
mod models;

use std::time::Duration;

use looptrans_ros::{
    affordance::AGD20K_SEEN,
    contract::Size,
    perceive::{
        Frame, Pixels, Stamp,
        infer::{InferSettings, Model},
        pipeline::{Pipeline, PipelineSettings, StageTimings, Wanted},
    },
};
use models::{on_cpu, seeded, settings};

const ARCHITECTURE: &str = "vit_small_16";
const SIZES: [Size; 2] = [Size { height: 480, width: 640 }, Size { height: 1080, width: 1920 }];
const AFFORDANCES: [usize; 3] = [1, 3, 36];
const WARM_UP: usize = 2;
const FRAMES: usize = 21;
/// What may be subscribed, from nothing but regions to everything.
const WANTED: [(&str, Wanted); 3] = [
    ("regions", Wanted { heatmap: false, heatmaps: false, overlay: false }),
    ("+ heatmap", Wanted { heatmap: true, heatmaps: false, overlay: false }),
    ("+ heatmaps, overlay", Wanted { heatmap: true, heatmaps: true, overlay: true }),
];

struct Case {
    size: Size,
    affordances: usize,
    wanted: (&'static str, Wanted),
    timings: Vec<StageTimings>,
    regions: usize,
}

fn main() {
    let bundle = seeded(ARCHITECTURE);
    // As a robot runs it: all cores.
    let infer = InferSettings { intra_op_threads: 0, ..on_cpu() };
    println!("{ARCHITECTURE}, CPU; medians of {FRAMES} frames in ms; rgb8\n");
    let pipelines = AFFORDANCES.map(|count| {
        let affordances = AGD20K_SEEN[..count].iter().map(|&name| name.to_owned()).collect();
        let settings = PipelineSettings { affordances, ..settings() };
        Pipeline::new(Model::load(&bundle, &infer).unwrap(), settings).unwrap()
    });
    let mut cases = Vec::new();
    for (size, affordances) in SIZES.iter().flat_map(|size| AFFORDANCES.map(|count| (*size, count))) {
        cases.extend(WANTED.map(|wanted| Case { size, affordances, wanted, timings: Vec::new(), regions: 0 }));
    }
    let pictures = SIZES.map(|size| (size, picture(size)));
    let mut pipelines = AFFORDANCES.into_iter().zip(pipelines).collect::<Vec<_>>();
    for frame in 0..WARM_UP + FRAMES {
        for case in &mut cases {
            let (_, pipeline) = pipelines.iter_mut().find(|(count, _)| *count == case.affordances).unwrap();
            let (_, picture) = pictures.iter().find(|(size, _)| *size == case.size).unwrap();
            measure(pipeline, picture, case, frame >= WARM_UP);
        }
    }
    report(&cases);
}

/// Coloured tiles and a gradient: edges and plains, as in a room.
fn picture(size: Size) -> Vec<u8> {
    let at = |x: u32, y: u32| {
        let tile = (x * 8 / size.width) * 5 + (y * 6 / size.height) * 3;
        [tile * 37 % 200 + x * 50 / size.width, tile * 71 % 200 + y * 50 / size.height, tile * 113 % 250]
            .map(|v| v as u8)
    };
    (0..size.height).flat_map(|y| (0..size.width).flat_map(move |x| at(x, y))).collect()
}

fn measure(pipeline: &mut Pipeline, data: &[u8], case: &mut Case, keep: bool) {
    let Size { height, width } = case.size;
    let stride_bytes = width * 3;
    let pixels = Pixels::Raw { width, height, encoding: "rgb8", is_bigendian: false, stride_bytes, data };
    let seen = pipeline.process(&Frame { stamp: Stamp::default(), frame_id: "camera", pixels }, case.wanted.1).unwrap();
    case.regions = seen.regions.len();
    if keep {
        case.timings.push(seen.timings);
    }
}

fn report(cases: &[Case]) {
    println!(
        "| image | affordances | wanted | decode | resize | run | upsample | regions | overlay | all but run | regions found |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for case in cases {
        let median = |of: &dyn Fn(&StageTimings) -> Duration| {
            let mut times: Vec<Duration> = case.timings.iter().map(of).collect();
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e3
        };
        println!(
            "| {}x{} | {} | {} | {:.3} | {:.3} | {:.1} | {:.3} | {:.3} | {:.3} | {:.3} | {} |",
            case.size.width,
            case.size.height,
            case.affordances,
            case.wanted.0,
            median(&|t| t.decode),
            median(&|t| t.resize),
            median(&|t| t.run),
            median(&|t| t.upsample),
            median(&|t| t.regions),
            median(&|t| t.overlay),
            median(&|t| t.decode + t.resize + t.upsample + t.regions + t.overlay),
            case.regions,
        );
    }
}
