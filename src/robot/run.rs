//! The loop: takes the newest frame, decides, perceives, publishes, counts. Blocking; give it a thread of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::{
    Admission, AdmissionSettings, Admitted, DropReason, FAILURES_UNTIL_BROKEN, FrameTimes, Health, Incoming, Intake,
    PublishFacts, Sink, Summary, Verdict, accounting::Outcome, health::FrameFigures, log_limit::LogLimit,
};
use crate::{
    config::NodeSettings,
    perceive::{
        Frame, FrameError, Stamp,
        pipeline::{Perception, Pipeline, PipelineSettings},
    },
};

/// Lines about frames of one kind: one at once, then one per this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Processes the newest frame of `intake`, again and again, until [`Intake::stop`]. A bad frame is counted and logged
/// at a bounded rate; nothing about a frame ends the loop.
///
/// `settings` may change at any time: what changed takes effect before the next frame, never within one.
///
/// `clock` gives the ROS time [ns since its epoch], 0 while it has not started.
pub fn run<I: Incoming, S: Sink>(
    intake: &Intake<I>,
    pipeline: &mut Pipeline,
    sink: &mut S,
    mut settings: watch::Receiver<Arc<NodeSettings>>,
    clock: &dyn Fn() -> i64,
) -> Summary {
    let health = intake.health();
    let current = settings.borrow_and_update().clone();
    let mut lap = Lap {
        health,
        admission: Admission::new(AdmissionSettings::from(&*current)),
        clock,
        log: LogLimit::new(LOG_INTERVAL),
    };
    lap.apply(&current, pipeline, sink);
    while let Some(incoming) = intake.take() {
        // An error means that nobody can change them any more.
        if settings.has_changed().unwrap_or(false) {
            let changed = settings.borrow_and_update().clone();
            lap.apply(&changed, pipeline, sink);
        }
        lap.frame(&incoming, pipeline, sink);
    }
    health.summary(pipeline.contract().model_id(), pipeline.provider().used.name().to_owned())
}

/// What lasts from frame to frame.
struct Lap<'a> {
    health: &'a Health,
    admission: Admission,
    clock: &'a dyn Fn() -> i64,
    log: LogLimit,
}

impl Lap<'_> {
    /// The one place where a change of settings reaches what works with them.
    fn apply<S: Sink>(&mut self, settings: &NodeSettings, pipeline: &mut Pipeline, sink: &mut S) {
        self.admission.apply(AdmissionSettings::from(settings));
        sink.apply(settings);
        if let Err(error) = pipeline.apply(&PipelineSettings::from(settings)) {
            warn!("the settings before stay in force: {error}");
        }
    }

    fn frame<I: Incoming, S: Sink>(&mut self, incoming: &I, pipeline: &mut Pipeline, sink: &mut S) {
        let frame = match incoming.frame() {
            Ok(frame) => frame,
            Err(error) => return self.reject(&error),
        };
        let times = FrameTimes {
            stamp: frame.stamp,
            received: incoming.received(),
            now: Instant::now(),
            ros_now_nanos: (self.clock)(),
        };
        let admitted = match self.admission.decide(&times) {
            Verdict::Process(admitted) => admitted,
            Verdict::Drop(reason) => return self.drop(reason, &times),
            Verdict::Reject(error) => return self.reject(&error),
        };
        self.remark_stamp(frame.stamp, &admitted);
        let frame = Frame { stamp: admitted.stamp, ..frame };
        sink.begin(frame.stamp);
        let wanted = sink.wanted();
        match pipeline.process(&frame, wanted) {
            Ok(perception) => {
                self.remark_notes(perception);
                self.publish(&frame, perception, (&admitted, &times), sink);
            }
            Err(error) => self.reject(&error),
        }
    }

    fn publish<S: Sink>(
        &mut self,
        frame: &Frame<'_>,
        perception: &Perception,
        (admitted, times): (&Admitted, &FrameTimes),
        sink: &mut S,
    ) {
        let started = Instant::now();
        sink.complete(frame, perception);
        let dropped = self.health.untold_drops();
        let age_nanos = (self.clock)().saturating_sub(frame.stamp.nanos());
        let facts = PublishFacts { age_nanos, frames_dropped: u32::try_from(dropped).unwrap_or(u32::MAX) };
        if let Err(error) = sink.publish(frame, perception, &facts) {
            let trouble = error.to_string();
            self.health.failed(Outcome::Dropped(DropReason::NotPublished), &trouble);
            return self.warn_bounded(DropReason::NotPublished.name(), &trouble);
        }
        self.health.told_drops(dropped);
        let now = Instant::now();
        let figures = FrameFigures {
            age: admitted.age_known.then(|| Duration::from_nanos(u64::try_from(age_nanos).unwrap_or(0))),
            latency: now.saturating_duration_since(times.received),
            stages: perception.timings,
            publish: now.saturating_duration_since(started),
        };
        let failures_before = self.health.processed(now, &figures);
        if failures_before >= FAILURES_UNTIL_BROKEN {
            info!("the model works again after {failures_before} failures in a row");
        }
    }

    fn reject(&mut self, error: &FrameError) {
        let reason = error.reason();
        let trouble = error.to_string();
        let failures = self.health.failed(Outcome::Rejected(reason), &trouble);
        if reason == crate::perceive::RejectReason::Inference && failures == FAILURES_UNTIL_BROKEN {
            error!("the model failed {failures} times in a row, the last time: {trouble}");
        } else {
            self.warn_bounded(reason.name(), &format!("frame rejected: {trouble}"));
        }
    }

    fn drop(&mut self, reason: DropReason, times: &FrameTimes) {
        let stamp = times.stamp;
        let trouble = match reason {
            DropReason::TooOld => {
                let age_seconds = times.ros_now_nanos.saturating_sub(stamp.nanos()) as f64 * 1e-9;
                format!(
                    "stamp {} is {age_seconds:.3} s old, over max_input_age (is a bag playing without use_sim_time? \
                     are the clocks of the two machines synchronised?)",
                    written(stamp)
                )
            }
            DropReason::Duplicate => format!("stamp {} came again", written(stamp)),
            DropReason::NoClock => "no /clock message has come, and use_sim_time is on".to_owned(),
            // What the user asked for: nothing to say.
            DropReason::RateLimit | DropReason::Superseded | DropReason::NotPublished | DropReason::Stopped => {
                return self.health.ended(Outcome::Dropped(reason));
            }
        };
        self.health.failed(Outcome::Dropped(reason), &trouble);
        self.warn_bounded(reason.name(), &format!("frame dropped: {trouble}"));
    }

    fn remark_stamp(&mut self, stamp: Stamp, admitted: &Admitted) {
        if let Some(fault) = admitted.fault {
            let instead = if admitted.age_known { "the time of reception is published" } else { "it is published" };
            let text = format!("stamp {}: {fault}; {instead}, as stamp_policy says", written(stamp));
            self.warn_bounded("stamp_let_pass", &text);
        }
        if admitted.went_back {
            let text = format!("stamps went back to {}: a bag or a simulation began anew", written(stamp));
            self.warn_bounded("stamp_went_back", &text);
        }
    }

    /// Oddities of a camera that do no harm: one warning each, not one a frame.
    fn remark_notes(&mut self, perception: &Perception) {
        let notes = &perception.notes;
        let now = Instant::now();
        if notes.stride_was_zero && self.log.once("stride_was_zero", now) {
            warn!("images have step 0; taken as rows without padding, since the data is exactly that long");
        }
        if notes.extra_bytes > 0 && self.log.once("extra_bytes", now) {
            warn!("images have {} bytes after their last row; they are ignored", notes.extra_bytes);
        }
    }

    fn warn_bounded(&mut self, kind: &'static str, text: &str) {
        match self.log.note(kind, Instant::now()) {
            Some(0) => warn!("{text}"),
            Some(suppressed) => warn!("{text} ({suppressed} more since the last such line)"),
            None => debug!("{text}"),
        }
    }
}

fn written(stamp: Stamp) -> String {
    format!("{}.{:09}", stamp.sec, stamp.nanosec)
}
