//! What the receiving side, the loop and the status publisher share: counts, rates, ages, the last trouble.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    accounting::{Counts, Outcome},
    statistics::{Percentiles, RateMeter, Window},
};
use crate::perceive::pipeline::StageTimings;

/// From this many failures of the model in a row on, the model counts as broken.
pub const FAILURES_UNTIL_BROKEN: u32 = 3;

/// Counters and figures of one running node.
#[derive(Debug)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    counts: Counts,
    /// Dropped frames of which a result has told.
    drops_told: u64,
    started: Instant,
    last_processed: Option<Instant>,
    counts_when_processed: Counts,
    last_trouble: Option<String>,
    inference_failures_in_a_row: u32,
    arrivals: RateMeter,
    results: RateMeter,
    ages_seconds: Window,
    latencies_millis: Window,
    ages_beside_run_millis: Window,
    stages_millis: StageWindows,
}

#[derive(Debug, Default)]
struct StageWindows {
    decode: Window,
    resize: Window,
    run: Window,
    upsample: Window,
    regions: Window,
    overlay: Window,
    publish: Window,
}

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

/// [`Health`] at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSnapshot {
    /// Frames since the start.
    pub counts: Counts,
    /// Frames that arrive [Hz].
    pub fps_in: f32,
    /// Frames that are processed [Hz].
    pub fps_out: f32,
    /// Age of a frame when its result is published [s].
    pub age_seconds: Percentiles,
    /// From reception to publication [ms].
    pub latency_millis: Percentiles,
    /// Each stage's name and time [ms], in their order.
    pub stages_millis: [(&'static str, Percentiles); 7],
    /// Time since a frame was last processed, or since the start.
    pub quiet_for: Duration,
    /// What arrived and ended since a frame was last processed, or since the start.
    pub since_processed: Counts,
    /// Why the last frame that was not processed was rejected or dropped (but for a newer one); None once one is
    /// processed.
    pub last_trouble: Option<String>,
    /// The model failed [`FAILURES_UNTIL_BROKEN`] times in a row or more, and has not worked since.
    pub inference_broken: bool,
}

/// What a run came to: one JSON object, for the log, the demo and the bench.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The model that was used: "<name>:<first 12 hex digits of its sha256>".
    pub model_id: String,
    /// The execution provider in use.
    pub provider: String,
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

impl Default for Health {
    fn default() -> Self {
        Self::started_at(Instant::now())
    }
}

impl Health {
    /// One that has counted nothing. `now` is where its first silence begins.
    pub fn started_at(now: Instant) -> Self {
        Self { inner: Mutex::new(Inner::started_at(now)) }
    }

    /// The node begins to look for frames (again): a silence counts from now on.
    pub fn resumed(&self, now: Instant) {
        let mut inner = self.lock();
        inner.started = now;
        inner.last_processed = None;
        inner.counts_when_processed = inner.counts.clone();
        inner.last_trouble = None;
    }

    /// Counts from nothing, as [`Self::started_at`] does. Frames that have not ended count as arrived.
    pub(crate) fn reset(&self, now: Instant) {
        let mut inner = self.lock();
        let waiting = inner.counts.waiting;
        *inner = Inner::started_at(now);
        inner.counts.frames_in = waiting;
        inner.counts.waiting = waiting;
    }

    /// A frame arrived.
    pub(crate) fn arrived(&self, now: Instant) {
        let mut inner = self.lock();
        inner.counts.arrived();
        inner.arrivals.tick(now);
    }

    /// A frame ended without a word to say about it.
    pub(crate) fn ended(&self, outcome: Outcome) {
        self.lock().counts.ended(outcome);
    }

    /// A frame was not processed, and this is why. Returns how often the model has failed in a row.
    pub(crate) fn failed(&self, outcome: Outcome, trouble: &str) -> u32 {
        let mut inner = self.lock();
        inner.counts.ended(outcome);
        inner.last_trouble = Some(trouble.to_owned());
        if outcome == Outcome::Rejected(crate::perceive::RejectReason::Inference) {
            inner.inference_failures_in_a_row = inner.inference_failures_in_a_row.saturating_add(1);
        }
        inner.inference_failures_in_a_row
    }

    /// A frame was processed and published. Returns how often the model had failed in a row before.
    pub(crate) fn processed(&self, now: Instant, figures: &FrameFigures) -> u32 {
        let mut inner = self.lock();
        inner.counts.ended(Outcome::Processed);
        inner.results.tick(now);
        inner.last_processed = Some(now);
        inner.counts_when_processed = inner.counts.clone();
        inner.last_trouble = None;
        if let Some(age) = figures.age {
            inner.ages_seconds.push(age.as_secs_f32());
            inner.ages_beside_run_millis.push(millis(age.saturating_sub(figures.stages.run)));
        }
        inner.latencies_millis.push(millis(figures.latency));
        inner.stages_millis.push(figures);
        std::mem::take(&mut inner.inference_failures_in_a_row)
    }

    /// Frames dropped since the last result, of which the next one tells.
    pub(crate) fn untold_drops(&self) -> u64 {
        let inner = self.lock();
        inner.counts.dropped.saturating_sub(inner.drops_told)
    }

    /// A result told of so many dropped frames.
    pub(crate) fn told_drops(&self, count: u64) {
        let mut inner = self.lock();
        inner.drops_told = inner.drops_told.saturating_add(count);
    }

    /// Everything at the moment `now`.
    pub fn snapshot(&self, now: Instant) -> HealthSnapshot {
        let inner = self.lock();
        HealthSnapshot {
            counts: inner.counts.clone(),
            fps_in: inner.arrivals.hz(now),
            fps_out: inner.results.hz(now),
            age_seconds: inner.ages_seconds.percentiles(),
            latency_millis: inner.latencies_millis.percentiles(),
            stages_millis: inner.stages_millis.percentiles(),
            quiet_for: now.saturating_duration_since(inner.last_processed.unwrap_or(inner.started)),
            since_processed: inner.counts.since(&inner.counts_when_processed),
            last_trouble: inner.last_trouble.clone(),
            inference_broken: inner.inference_failures_in_a_row >= FAILURES_UNTIL_BROKEN,
        }
    }

    /// The final word on a run.
    pub fn summary(&self, model_id: String, provider: String) -> Summary {
        let inner = self.lock();
        let ages = inner.ages_seconds.percentiles();
        let to_millis = |seconds: Option<f32>| seconds.map(|s| s * 1e3);
        Summary {
            model_id,
            provider,
            counts: inner.counts.clone(),
            latency_ms: inner.latencies_millis.percentiles(),
            age_ms: Percentiles { p50: to_millis(ages.p50), p99: to_millis(ages.p99) },
            age_beside_run_ms: inner.ages_beside_run_millis.percentiles(),
            stages_ms: inner.stages_millis.medians(),
        }
    }

    // A panic while the lock is held cannot leave counts half-changed in a way that matters more than going on.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn started_at(now: Instant) -> Self {
        Self {
            counts: Counts::default(),
            drops_told: 0,
            started: now,
            last_processed: None,
            counts_when_processed: Counts::default(),
            last_trouble: None,
            inference_failures_in_a_row: 0,
            arrivals: RateMeter::default(),
            results: RateMeter::default(),
            ages_seconds: Window::default(),
            latencies_millis: Window::default(),
            ages_beside_run_millis: Window::default(),
            stages_millis: StageWindows::default(),
        }
    }
}

impl StageWindows {
    fn push(&mut self, figures: &FrameFigures) {
        let stages = &figures.stages;
        self.decode.push(millis(stages.decode));
        self.resize.push(millis(stages.resize));
        self.run.push(millis(stages.run));
        self.upsample.push(millis(stages.upsample));
        self.regions.push(millis(stages.regions));
        self.overlay.push(millis(stages.overlay));
        self.publish.push(millis(figures.publish));
    }

    fn named(&self) -> [(&'static str, &Window); 7] {
        [
            ("decode", &self.decode),
            ("resize", &self.resize),
            ("run", &self.run),
            ("upsample", &self.upsample),
            ("regions", &self.regions),
            ("overlay", &self.overlay),
            ("publish", &self.publish),
        ]
    }

    fn percentiles(&self) -> [(&'static str, Percentiles); 7] {
        self.named().map(|(name, window)| (name, window.percentiles()))
    }

    fn medians(&self) -> BTreeMap<&'static str, Option<f32>> {
        self.named().into_iter().map(|(name, window)| (name, window.percentiles().p50)).collect()
    }
}

fn millis(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e3
}
