//! `~/label_info` once and `~/status` every second: what the labels mean and how the node is doing.

use std::time::Duration;

use r2r::{
    looptrans_ros::msg::{LabelInfo, NodeStatus},
    std_msgs,
};

use super::{
    image_message::Header,
    publish::{self, Latched},
    regions,
    text::{MAX_LOG_BYTES, clean_prefix},
};
use crate::{
    contract::ModelContract,
    perceive::{Stamp, infer::ProviderInUse},
    robot::{FAILURES_UNTIL_BROKEN, HealthSnapshot, InputFacts, SilenceLevel, SilenceWatch},
};

/// How often `~/status` is published.
pub const PERIOD: Duration = Duration::from_secs(1);
/// lifecycle_msgs/State.PRIMARY_STATE_ACTIVE: a node that runs at all is active.
const ACTIVE: u8 = 3;

/// What the status says and does not change while the node runs.
#[derive(Debug)]
pub struct Reporter {
    latched: Latched,
    model_id: String,
    provider: ProviderInUse,
    silence: SilenceWatch,
}

impl Reporter {
    /// Reports silences longer than `input_timeout`.
    pub fn new(latched: Latched, model_id: String, provider: ProviderInUse, input_timeout: Duration) -> Self {
        Self { latched, model_id, provider, silence: SilenceWatch::new(input_timeout) }
    }

    /// Publishes the labels, for those who subscribe now and later.
    pub fn publish_labels(&self, now: Stamp, contract: &ModelContract, threshold: f32) {
        let labels = LabelInfo {
            header: header(now),
            model_id: self.model_id.clone(),
            affordances: contract.actions.clone(),
            threshold,
        };
        warn_if_failed(publish::publish(&self.latched.label_info, "~/label_info", &labels));
    }

    /// Logs the begin, the cause and the end of a silence.
    pub fn watch_silence(&mut self, health: &HealthSnapshot, facts: impl FnOnce() -> InputFacts) {
        if let Some(report) = self.silence.check(health, facts) {
            match report.level {
                SilenceLevel::Over => tracing::info!("{}", report.sentence),
                SilenceLevel::Warn => tracing::warn!("{}", report.sentence),
                SilenceLevel::Error => tracing::error!("{}", report.sentence),
            }
        }
    }

    /// Publishes how the node is doing.
    pub fn publish_status(&self, now: Stamp, health: &HealthSnapshot, facts: &InputFacts) {
        let status = self.status(now, health, facts);
        warn_if_failed(publish::publish(&self.latched.status, "~/status", &status));
    }

    fn status(&self, now: Stamp, health: &HealthSnapshot, facts: &InputFacts) -> NodeStatus {
        let mut reasons = Vec::new();
        if self.provider.is_degraded() {
            let (used, failed) = (self.provider.used.name(), self.provider.failed.join("; "));
            reasons.push(format!("execution provider {used} stands in: {failed}"));
        }
        if health.inference_broken {
            reasons.push(format!("the model failed {FAILURES_UNTIL_BROKEN} times in a row or more"));
        }
        reasons.extend(self.silence.reason(health, facts));
        let counts = &health.counts;
        NodeStatus {
            header: header(now),
            state: ACTIVE,
            model_id: self.model_id.clone(),
            execution_provider: self.provider.used.name().to_owned(),
            requested_provider: self.provider.requested.name().to_owned(),
            degraded: !reasons.is_empty(),
            reasons: reasons.iter().map(|r| clean_prefix(r.as_bytes(), MAX_LOG_BYTES).to_owned()).collect(),
            fps_in: health.fps_in,
            fps_out: health.fps_out,
            age_p50: health.age_seconds.p50.unwrap_or(f32::NAN),
            age_p99: health.age_seconds.p99.unwrap_or(f32::NAN),
            // A frame at work has not ended: it counts as arrived once it has.
            frames_in: counts.frames_in - counts.waiting,
            processed: counts.processed,
            dropped: counts.dropped,
            rejected: counts.rejected,
        }
    }
}

/// The latched topics belong to no frame.
fn header(now: Stamp) -> std_msgs::msg::Header {
    regions::header(Header { stamp: now, frame_id: "" })
}

fn warn_if_failed(result: Result<(), crate::robot::PublishError>) {
    if let Err(error) = result {
        tracing::warn!("{error}");
    }
}
