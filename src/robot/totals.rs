//! What several cameras come to together.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{Counts, Health, HealthSnapshot, health::Inner, statistics::Percentiles, windows::Windows};

/// All cameras at one moment. Percentiles are those of all cameras' last frames together, not means of percentiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// Frames since the start.
    pub counts: Counts,
    /// Frames that arrive [Hz].
    pub fps_in: f32,
    /// Frames that are processed [Hz].
    pub fps_out: f32,
    /// Age of a frame when its result is published [s].
    pub age_seconds: Percentiles,
    /// Each stage's name and time [ms], in their order.
    pub stages_millis: [(&'static str, Percentiles); 7],
    /// The model failed several times in a row for a camera, and has not worked for it since.
    pub inference_broken: bool,
}

/// What frames came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrameSummary {
    /// Frames since the start.
    #[serde(flatten)]
    pub counts: Counts,
    /// From reception to publication [ms].
    pub latency_ms: Percentiles,
    /// From stamp to publication [ms].
    pub age_ms: Percentiles,
    /// The same less the frame's own `session.run` [ms]. The aim: under one camera period.
    pub age_beside_run_ms: Percentiles,
    /// Median of each stage [ms]; null before the first.
    pub stages_ms: BTreeMap<&'static str, Option<f32>>,
}

/// What a run came to: one JSON object, for the log, the demo and the bench.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The model that was used: "<name>:<first 12 hex digits of its sha256>".
    pub model_id: String,
    /// The execution provider in use.
    pub provider: String,
    /// All frames.
    #[serde(flatten)]
    pub frames: FrameSummary,
    /// Each camera's, by its name; absent where there is only one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cameras: BTreeMap<String, FrameSummary>,
}

impl Totals {
    /// At the moment of the snapshots: beside these, counts and rates are their sums, however much has come since. Percentiles
    /// alone are those of now.
    pub fn of<'a>(cameras: impl IntoIterator<Item = (&'a HealthSnapshot, &'a Health)>) -> Self {
        let (mut counts, mut windows) = (Counts::default(), Windows::default());
        let (mut fps_in, mut fps_out, mut inference_broken) = (0.0, 0.0, false);
        for (snapshot, health) in cameras {
            counts.add(&snapshot.counts);
            windows.absorb(&health.lock().windows);
            fps_in += snapshot.fps_in;
            fps_out += snapshot.fps_out;
            inference_broken |= snapshot.inference_broken;
        }
        let (age_seconds, stages_millis) = (windows.ages_seconds.percentiles(), windows.stages_millis());
        Self { counts, fps_in, fps_out, age_seconds, stages_millis, inference_broken }
    }
}

impl FrameSummary {
    fn new(counts: Counts, windows: &Windows) -> Self {
        Self {
            counts,
            latency_ms: windows.latencies_millis.percentiles(),
            age_ms: windows.ages_millis(),
            age_beside_run_ms: windows.ages_beside_run_millis.percentiles(),
            stages_ms: windows.stage_medians_millis(),
        }
    }

    fn of(inner: &Inner) -> Self {
        Self::new(inner.counts.clone(), &inner.windows)
    }
}

impl Summary {
    /// The final word on a run.
    pub fn of(cameras: &[Arc<Health>], model_id: String, provider: String) -> Self {
        let (mut counts, mut windows) = (Counts::default(), Windows::default());
        let mut each = BTreeMap::new();
        for health in cameras {
            let inner = health.lock();
            counts.add(&inner.counts);
            windows.absorb(&inner.windows);
            if cameras.len() > 1 {
                each.insert(health.camera().to_owned(), FrameSummary::of(&inner));
            }
        }
        Self { model_id, provider, frames: FrameSummary::new(counts, &windows), cameras: each }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        perceive::RejectReason,
        robot::{
            accounting::{DropReason, Outcome},
            windows::FrameFigures,
        },
    };

    /// A camera that processed frames of these ages, dropped one and rejected one.
    fn camera(name: &str, started: Instant, ages_ms: impl Iterator<Item = u64>) -> Arc<Health> {
        let health = Health::of_camera(name, started);
        for (n, age) in (1..).zip(ages_ms) {
            let now = started + Duration::from_millis(100) * n;
            health.arrived(now);
            let age = Some(Duration::from_millis(age));
            health.processed(now, &FrameFigures { age, ..FrameFigures::default() });
        }
        (0..2).for_each(|_| health.arrived(started));
        health.ended(Outcome::Dropped(DropReason::TooOld));
        health.failed(Outcome::Rejected(RejectReason::BadImage), "step 0");
        Arc::new(health)
    }

    #[test]
    fn percentiles_are_those_of_all_frames_and_counts_and_rates_are_sums() {
        let started = Instant::now();
        // The median of each alone is 10 and 200 ms; of all together it is 10.
        let cameras = [camera("left", started, (0..30).map(|_| 10)), camera("right", started, (0..10).map(|_| 200))];
        let snapshots = cameras.each_ref().map(|camera| camera.snapshot(started + Duration::from_millis(1000)));
        // What comes while the totals are made belongs to the next ones, as it does for each camera.
        cameras.iter().for_each(|camera| camera.arrived(started + Duration::from_millis(1000)));
        let totals = Totals::of(snapshots.iter().zip(cameras.iter().map(AsRef::as_ref)));
        assert_eq!((totals.counts.frames_in, totals.counts.processed), (44, 40));
        assert_eq!((totals.counts.dropped_by["too_old"], totals.counts.rejected_by["bad_image"]), (2, 2));
        assert_eq!((totals.age_seconds.p50, totals.age_seconds.p99), (Some(0.01), Some(0.2)));
        let sum = |rate: fn(&HealthSnapshot) -> f32| snapshots.iter().map(rate).sum::<f32>();
        assert_eq!((totals.fps_in, totals.fps_out), (sum(|one| one.fps_in), sum(|one| one.fps_out)));
    }

    #[test]
    fn a_summary_names_cameras_only_where_there_are_several() {
        let started = Instant::now();
        let cameras = [camera("left", started, 1..4), camera("right", started, 1..2)];
        let told = serde_json::to_value(Summary::of(&cameras, "m".to_owned(), "cpu".to_owned())).unwrap();
        assert_eq!((&told["frames_in"], &told["dropped"], &told["age_ms"]["p99"]), (&8.into(), &2.into(), &3.0.into()));
        assert_eq!(
            (&told["cameras"]["left"]["frames_in"], &told["cameras"]["right"]["frames_in"]),
            (&5.into(), &3.into())
        );
        let only = [camera("", started, 1..4)];
        let told = serde_json::to_value(Summary::of(&only, "m".to_owned(), "cpu".to_owned())).unwrap();
        assert_eq!((&told["processed"], told.get("cameras")), (&3.into(), None));
    }
}
