//! What the receiving side, the loop and the status publisher share: counts, rates, ages, the last trouble.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    accounting::{Counts, Outcome},
    statistics::{Percentiles, RateMeter},
    watchdog::Pulse,
    windows::{FrameFigures, Windows},
};

/// From this many failures of the model in a row on, the model counts as broken.
pub const FAILURES_UNTIL_BROKEN: u32 = 3;

/// Counters and figures of one camera.
#[derive(Debug)]
pub struct Health {
    camera: String,
    inner: Mutex<Inner>,
    /// The model's work on its frames.
    pulse: Arc<Pulse>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub counts: Counts,
    /// Dropped frames of which a result has told.
    drops_told: u64,
    started: Instant,
    last_arrived: Option<Instant>,
    last_processed: Option<Instant>,
    counts_when_processed: Counts,
    last_trouble: Option<String>,
    pub inference_failures_in_a_row: u32,
    pub arrivals: RateMeter,
    pub results: RateMeter,
    pub windows: Windows,
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
    /// Time since a frame last arrived, or since the start.
    pub empty_for: Duration,
    /// Time since a frame was last processed, or since the start.
    pub quiet_for: Duration,
    /// Was a frame processed since the start?
    pub has_processed: bool,
    /// What arrived and ended since a frame was last processed, or since the start.
    pub since_processed: Counts,
    /// Why the last frame that was not processed was rejected or dropped (but for a newer one); None once one is
    /// processed.
    pub last_trouble: Option<String>,
    /// The model failed [`FAILURES_UNTIL_BROKEN`] times in a row or more, and has not worked since.
    pub inference_broken: bool,
    /// How long the model has been at work on the frame at hand; None while it is not.
    pub running_for: Option<Duration>,
}

impl Default for Health {
    fn default() -> Self {
        Self::started_at(Instant::now())
    }
}

impl Health {
    /// One that has counted nothing. `now` is where its first silence begins.
    pub fn started_at(now: Instant) -> Self {
        Self::of_camera("", now)
    }

    /// The same of one of several cameras.
    pub fn of_camera(name: &str, now: Instant) -> Self {
        Self { camera: name.to_owned(), inner: Mutex::new(Inner::started_at(now)), pulse: Arc::default() }
    }

    /// Its camera's name; empty = the only camera.
    pub fn camera(&self) -> &str {
        &self.camera
    }

    /// What is said about its camera, with the camera's name where it has one.
    pub fn say(&self, sentence: &str) -> String {
        if self.camera.is_empty() { sentence.to_owned() } else { format!("camera {}: {sentence}", self.camera) }
    }

    /// Beats while the model is at work on a frame.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// The node begins to look for frames (again): a silence counts from now on, and so do the model's failures.
    pub fn resumed(&self, now: Instant) {
        let mut inner = self.lock();
        inner.started = now;
        inner.last_arrived = None;
        inner.last_processed = None;
        inner.counts_when_processed = inner.counts.clone();
        inner.last_trouble = None;
        inner.inference_failures_in_a_row = 0;
    }

    /// Another model works from now on: what the one before failed at says nothing of it.
    pub(crate) fn model_changed(&self) {
        self.lock().inference_failures_in_a_row = 0;
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
        inner.last_arrived = Some(now);
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
        inner.windows.push(figures);
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
            age_seconds: inner.windows.ages_seconds.percentiles(),
            latency_millis: inner.windows.latencies_millis.percentiles(),
            stages_millis: inner.windows.stages_millis(),
            empty_for: now.saturating_duration_since(inner.last_arrived.unwrap_or(inner.started)),
            quiet_for: now.saturating_duration_since(inner.last_processed.unwrap_or(inner.started)),
            has_processed: inner.last_processed.is_some(),
            since_processed: inner.counts.since(&inner.counts_when_processed),
            last_trouble: inner.last_trouble.clone(),
            inference_broken: inner.inference_failures_in_a_row >= FAILURES_UNTIL_BROKEN,
            running_for: self.pulse.busy_for(now),
        }
    }

    // A panic while the lock is held cannot leave counts half-changed in a way that matters more than going on.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn started_at(now: Instant) -> Self {
        Self {
            counts: Counts::default(),
            drops_told: 0,
            started: now,
            last_arrived: None,
            last_processed: None,
            counts_when_processed: Counts::default(),
            last_trouble: None,
            inference_failures_in_a_row: 0,
            arrivals: RateMeter::default(),
            results: RateMeter::default(),
            windows: Windows::default(),
        }
    }
}
