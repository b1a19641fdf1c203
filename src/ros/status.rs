//! `~/status` every second, and what `~/label_info` says: how the node is doing and what the labels mean.

use std::time::{Duration, Instant};

use r2r::{
    Publisher,
    looptrans_ros::msg::{CameraStatus, LabelInfo, NodeStatus},
    std_msgs,
};

use super::{
    NodeError,
    managed::{ModelFacts, Workplace},
    publish, qos, regions,
    spin::Works,
};
use crate::{
    message::{
        image::Header,
        text::{MAX_LOG_BYTES, clean_prefix},
    },
    perceive::Stamp,
    robot::{FAILURES_UNTIL_BROKEN, HealthSnapshot, InputFacts, SilenceLevel, SilenceWatch, lifecycle::State},
};

/// How often `~/status` is published.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Watches over the node and tells.
#[derive(Debug)]
pub struct Reporter {
    publisher: Publisher<NodeStatus>,
    silence: SilenceWatch,
    input_timeout: Duration,
    published: Option<Instant>,
    /// Why the last transition did not succeed.
    trouble: Option<String>,
}

/// The node at one moment.
struct Moment<'a> {
    state: State,
    model: Option<&'a ModelFacts>,
    health: &'a HealthSnapshot,
    facts: &'a InputFacts,
    depth_trouble: Option<String>,
}

impl Reporter {
    /// Creates `~/status`. Silences longer than `input_timeout` are reported.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn create(works: &mut Works, input_timeout: Duration) -> Result<Self, NodeError> {
        let publisher = publish::create(&mut works.node, "~/status", qos::latched())?;
        let silence = SilenceWatch::new(input_timeout);
        Ok(Self { publisher, silence, input_timeout, published: None, trouble: None })
    }

    /// Another `input_timeout`.
    pub fn set_input_timeout(&mut self, input_timeout: Duration) {
        self.input_timeout = input_timeout;
        self.silence.set_timeout(input_timeout);
    }

    /// The node is in another state; `trouble` says why, where that was not what was asked for. Publishes it at once.
    pub fn entered(&mut self, state: State, trouble: Option<String>, place: &Workplace) {
        self.trouble = trouble;
        if state == State::Active {
            self.silence = SilenceWatch::new(self.input_timeout);
        }
        self.published = None;
        self.look(state, place);
    }

    /// Logs the begin, the cause and the end of a silence, and publishes the status when it is time. Call it several
    /// times per `input_timeout`.
    pub fn look(&mut self, state: State, place: &Workplace) {
        let now = Instant::now();
        let health = place.camera.health.snapshot(now);
        let facts = place.camera.facts(place.clock.now_nanos() > 0);
        if state == State::Active {
            self.watch_silence(&health, &facts);
        }
        if self.published.is_none_or(|last| now.saturating_duration_since(last) >= PERIOD) {
            self.published = Some(now);
            let model = place.models.loaded();
            let depth_trouble = place.camera.depth_trouble();
            let moment = Moment { state, model: model.as_deref(), health: &health, facts: &facts, depth_trouble };
            let status = self.status(place.clock.now(), &moment);
            if let Err(error) = publish::publish(&self.publisher, "~/status", &status) {
                tracing::warn!("{error}");
            }
        }
    }

    fn watch_silence(&mut self, health: &HealthSnapshot, facts: &InputFacts) {
        if let Some(report) = self.silence.check(health, || facts.clone()) {
            match report.level {
                SilenceLevel::Over => tracing::info!("{}", report.sentence),
                SilenceLevel::Warn => tracing::warn!("{}", report.sentence),
                SilenceLevel::Error => tracing::error!("{}", report.sentence),
            }
        }
    }

    fn status(&self, now: Stamp, moment: &Moment<'_>) -> NodeStatus {
        let Moment { state, model, health, .. } = moment;
        let counts = &health.counts;
        let reasons = self.reasons(moment);
        NodeStatus {
            header: header(now),
            state: state.id(),
            model_id: model.map(|model| model.id.clone()).unwrap_or_default(),
            execution_provider: model.map(|model| model.provider.used.name().to_owned()).unwrap_or_default(),
            requested_provider: model.map(|model| model.provider.requested.name().to_owned()).unwrap_or_default(),
            degraded: !reasons.is_empty(),
            reasons: reasons.iter().map(|r| clean_prefix(r.as_bytes(), MAX_LOG_BYTES).to_owned()).collect(),
            fps_in: health.fps_in,
            fps_out: health.fps_out,
            age_p50: health.age_seconds.p50.unwrap_or(f32::NAN),
            age_p99: health.age_seconds.p99.unwrap_or(f32::NAN),
            stages: health.stages_millis.iter().map(|(name, _)| (*name).to_owned()).collect(),
            stage_p50: health.stages_millis.iter().map(|(_, times)| seconds(times.p50)).collect(),
            stage_p99: health.stages_millis.iter().map(|(_, times)| seconds(times.p99)).collect(),
            // A frame at work has not ended: it counts as arrived once it has.
            frames_in: counts.frames_in - counts.waiting,
            processed: counts.processed,
            dropped: counts.dropped,
            rejected: counts.rejected,
            cameras: vec![self.camera(moment)],
        }
    }

    fn camera(&self, moment: &Moment<'_>) -> CameraStatus {
        let Moment { health, facts, .. } = moment;
        let counts = &health.counts;
        let losses = || counts.dropped_by.iter().chain(&counts.rejected_by);
        CameraStatus {
            name: String::new(),
            image_topic: facts.topic.clone(),
            fps_in: health.fps_in,
            fps_out: health.fps_out,
            age_p50: health.age_seconds.p50.unwrap_or(f32::NAN),
            age_p99: health.age_seconds.p99.unwrap_or(f32::NAN),
            latency_p50: seconds(health.latency_millis.p50),
            latency_p99: seconds(health.latency_millis.p99),
            frames_in: counts.frames_in - counts.waiting,
            processed: counts.processed,
            dropped: counts.dropped,
            rejected: counts.rejected,
            loss_reasons: losses().map(|(reason, _)| (*reason).to_owned()).collect(),
            loss_counts: losses().map(|(_, count)| *count).collect(),
            silence: self.silence.reason(health, facts).unwrap_or_default(),
        }
    }

    fn reasons(&self, moment: &Moment<'_>) -> Vec<String> {
        let Moment { state, model, health, facts, depth_trouble } = moment;
        let mut reasons: Vec<String> = self.trouble.iter().cloned().collect();
        if let Some(provider) = model.map(|model| &model.provider).filter(|provider| provider.is_degraded()) {
            let (used, failed) = (provider.used.name(), provider.failed.join("; "));
            reasons.push(format!("execution provider {used} stands in: {failed}"));
        }
        if *state == State::Active {
            if health.inference_broken {
                reasons.push(format!("the model failed {FAILURES_UNTIL_BROKEN} times in a row or more"));
            }
            reasons.extend(self.silence.reason(health, facts));
            reasons.extend(depth_trouble.clone());
        }
        reasons
    }
}

/// What the model's labels mean; `threshold` None: the model's own.
pub fn labels(now: Stamp, model: &ModelFacts, threshold: Option<f32>) -> LabelInfo {
    LabelInfo {
        header: header(now),
        model_id: model.id.clone(),
        affordances: model.contract.actions.clone(),
        threshold: threshold.unwrap_or(model.contract.heat_threshold),
    }
}

fn seconds(millis: Option<f32>) -> f32 {
    millis.map_or(f32::NAN, |millis| millis * 1e-3)
}

/// The latched topics belong to no frame.
fn header(now: Stamp) -> std_msgs::msg::Header {
    regions::header(Header { stamp: now, frame_id: "" })
}
