#![allow(missing_docs, clippy::unwrap_used)]
use looptrans_ros::{
    contract::Size,
    perceive::{grasp::*, heatmap::*},
};
use std::{sync::Arc, time::Instant};
fn med(mut f: impl FnMut()) -> f64 {
    for _ in 0..5 {
        f();
    }
    let mut v: Vec<f64> = (0..101)
        .map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    v.sort_by(f64::total_cmp);
    v[50]
}
fn main() {
    let map_size = Size { height: 14, width: 14 };
    // smooth-ish random maps
    let mut s = 1u64;
    let mut rnd = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as f32 / (1u64 << 24) as f32
    };
    let raw: Vec<Vec<f32>> = (0..36).map(|_| (0..196).map(|_| rnd()).collect()).collect();
    let smooth: Vec<Vec<f32>> = raw
        .iter()
        .map(|m| {
            (0..196)
                .map(|k: usize| {
                    let (x, y) = (k % 14, k / 14);
                    let mut a = 0.0;
                    let mut n = 0.0;
                    for dy in -2i32..=2 {
                        for dx in -2i32..=2 {
                            let (u, v) = (x as i32 + dx, y as i32 + dy);
                            if (0..14).contains(&u) && (0..14).contains(&v) {
                                a += m[(v * 14 + u) as usize];
                                n += 1.0;
                            }
                        }
                    }
                    a / n
                })
                .collect()
        })
        .collect();
    for (label, maps) in [("random", &raw), ("smooth", &smooth)] {
        for source in [Size { height: 480, width: 640 }, Size { height: 1080, width: 1920 }] {
            let mut up = Upsampler::new(map_size, source);
            let mut image = HeatImage::default();
            let mut fimage = HeatImage { encoding: HeatmapEncoding::Float32, ..HeatImage::default() };
            let scales: Vec<_> = maps.iter().map(|m| (&m[..], up.scale(m).unwrap())).collect();
            println!(
                "{label} {source:?}: scale {:.4} mono8 {:.3} f32 {:.3} max1 {:.3} max3 {:.3} max36 {:.3}",
                med(|| {
                    std::hint::black_box(up.scale(&maps[0]).unwrap());
                }),
                med(|| up.render(&maps[0], &scales[0].1, &mut image)),
                med(|| up.render(&maps[0], &scales[0].1, &mut fimage)),
                med(|| up.render_max(&scales[..1], &mut image)),
                med(|| up.render_max(&scales[..3], &mut image)),
                med(|| up.render_max(&scales, &mut image))
            );
            let name: Arc<str> = "x".into();
            let am: Vec<_> = scales
                .iter()
                .map(|(m, s)| AffordanceMap { class_id: 0, affordance: &name, presence: 0.9, map: m, scale: *s })
                .collect();
            let st = RegionSettings {
                heat_threshold: 0.5,
                min_region_score: 0.3,
                min_region_area: 0.0005,
                max_regions: 16,
                max_contour_points: 64,
            };
            let mut f = RegionFinder::new(map_size, Size { height: 224, width: 224 });
            let mut out = Vec::new();
            for n in [1, 3, 36] {
                let t = med(|| f.find(&am[..n], source, &st, &mut out));
                println!(
                    "  regions {n}: {t:.3} ms, {} regions, points {:?}",
                    out.len(),
                    out.iter().map(|r| r.contour.len()).collect::<Vec<_>>()
                );
            }
        }
    }
}
