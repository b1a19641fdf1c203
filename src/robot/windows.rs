//! What is kept of the last frames: ages and times, of which percentiles are told.

use std::{collections::BTreeMap, time::Duration};

use super::statistics::{Percentiles, Window};
use crate::perceive::pipeline::StageTimings;

/// One frame's way through the loop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FrameFigures {
    /// Publication minus stamp, where the stamp can be trusted.
    pub age: Option<Duration>,
    /// Publication minus reception.
    pub latency: Duration,
    pub stages: StageTimings,
    pub publish: Duration,
}

/// The last frames' figures, of one camera or of several together.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows {
    pub ages_seconds: Window,
    pub latencies_millis: Window,
    pub ages_beside_run_millis: Window,
    stages_millis: StageWindows,
}

#[derive(Debug, Clone, Default)]
struct StageWindows {
    decode: Window,
    resize: Window,
    run: Window,
    upsample: Window,
    regions: Window,
    overlay: Window,
    publish: Window,
}

impl Windows {
    pub fn push(&mut self, figures: &FrameFigures) {
        if let Some(age) = figures.age {
            self.ages_seconds.push(age.as_secs_f32());
            self.ages_beside_run_millis.push(millis(age.saturating_sub(figures.stages.run)));
        }
        self.latencies_millis.push(millis(figures.latency));
        let (stages, of) = (&mut self.stages_millis, &figures.stages);
        stages.decode.push(millis(of.decode));
        stages.resize.push(millis(of.resize));
        stages.run.push(millis(of.run));
        stages.upsample.push(millis(of.upsample));
        stages.regions.push(millis(of.regions));
        stages.overlay.push(millis(of.overlay));
        stages.publish.push(millis(figures.publish));
    }

    /// Adds what another camera's hold. Percentiles are then those of all frames together: only for telling, since the
    /// sum holds more than a window does.
    pub fn absorb(&mut self, other: &Self) {
        self.ages_seconds.absorb(&other.ages_seconds);
        self.latencies_millis.absorb(&other.latencies_millis);
        self.ages_beside_run_millis.absorb(&other.ages_beside_run_millis);
        let (stages, others) = (&mut self.stages_millis, &other.stages_millis);
        for (window, other) in [
            (&mut stages.decode, &others.decode),
            (&mut stages.resize, &others.resize),
            (&mut stages.run, &others.run),
            (&mut stages.upsample, &others.upsample),
            (&mut stages.regions, &others.regions),
            (&mut stages.overlay, &others.overlay),
            (&mut stages.publish, &others.publish),
        ] {
            window.absorb(other);
        }
    }

    /// Each stage's name and time [ms], in their order.
    pub fn stages_millis(&self) -> [(&'static str, Percentiles); 7] {
        let stages = &self.stages_millis;
        [
            ("decode", &stages.decode),
            ("resize", &stages.resize),
            ("run", &stages.run),
            ("upsample", &stages.upsample),
            ("regions", &stages.regions),
            ("overlay", &stages.overlay),
            ("publish", &stages.publish),
        ]
        .map(|(name, window)| (name, window.percentiles()))
    }

    /// Each stage's median [ms], by its name.
    pub fn stage_medians_millis(&self) -> BTreeMap<&'static str, Option<f32>> {
        self.stages_millis().into_iter().map(|(name, times)| (name, times.p50)).collect()
    }

    /// From stamp to publication [ms].
    pub fn ages_millis(&self) -> Percentiles {
        let ages = self.ages_seconds.percentiles();
        let to_millis = |seconds: Option<f32>| seconds.map(|s| s * 1e3);
        Percentiles { p50: to_millis(ages.p50), p99: to_millis(ages.p99) }
    }
}

fn millis(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e3
}
