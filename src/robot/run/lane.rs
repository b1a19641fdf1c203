//! One camera's way through the loop.

use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::engine::{Engine, EngineBatch};
use crate::{
    config::NodeSettings,
    perceive::{
        Frame, FrameError, Stamp,
        decode::DecodeNotes,
        pipeline::{Perception, Pipeline, Wanted},
    },
    robot::{
        Admission, AdmissionSettings, Admitted, DropReason, FAILURES_UNTIL_BROKEN, FrameTimes, Health, Incoming,
        PublishFacts, Sink, Verdict, accounting::Outcome, log_limit::LogLimit, watchdog::Beat, windows::FrameFigures,
    },
};

/// Lines about frames of one kind: one at once, then one per this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What lasts from one frame of a camera to the next.
pub(super) struct Lane<'a, S> {
    health: &'a Health,
    sink: &'a mut S,
    admission: Admission,
    clock: &'a dyn Fn() -> i64,
    log: LogLimit,
}

/// A frame that is to be processed.
pub(super) struct Work<'f> {
    /// With the stamp to publish.
    pub frame: Frame<'f>,
    admitted: Admitted,
    times: FrameTimes,
}

impl<'a, S: Sink> Lane<'a, S> {
    pub fn new(health: &'a Health, sink: &'a mut S, settings: &NodeSettings, clock: &'a dyn Fn() -> i64) -> Self {
        let admission = Admission::new(AdmissionSettings::from(settings));
        Self { health, sink, admission, clock, log: LogLimit::new(LOG_INTERVAL) }
    }

    pub fn apply(&mut self, settings: &NodeSettings) {
        self.admission.apply(AdmissionSettings::from(settings));
        self.sink.apply(settings);
    }

    /// The same model may have been loaded anew: that alone mends nothing.
    pub fn model_changed(&mut self, before: &str, model_id: &str) {
        if before != model_id {
            self.health.model_changed();
        }
        self.sink.model_changed(model_id);
    }

    /// Forgets what was learnt of the stream.
    pub fn reset(&mut self, settings: &NodeSettings) {
        self.admission = Admission::new(AdmissionSettings::from(settings));
        self.log = LogLimit::new(LOG_INTERVAL);
        self.health.reset(Instant::now());
    }

    /// What happened to the last frame that was not processed.
    pub fn trouble(&self) -> Option<String> {
        self.health.snapshot(Instant::now()).last_trouble
    }

    /// Reads a message and decides on it: see [`Admission::decide`]. None: it is dropped or rejected, and counted.
    pub fn admit<'f>(&mut self, incoming: &'f impl Incoming, is_asked: bool) -> Option<Work<'f>> {
        let frame = match incoming.frame() {
            Ok(frame) => frame,
            Err(error) => {
                self.reject(&error);
                return None;
            }
        };
        let times = FrameTimes {
            stamp: frame.stamp,
            received: incoming.received(),
            now: Instant::now(),
            ros_now_nanos: (self.clock)(),
        };
        match self.admission.decide(&times, is_asked) {
            Verdict::Process(admitted) => {
                self.remark_stamp(frame.stamp, &admitted);
                Some(Work { frame: Frame { stamp: admitted.stamp, ..frame }, admitted, times })
            }
            Verdict::Drop(reason) => {
                self.drop(reason, &times);
                None
            }
            Verdict::Reject(error) => {
                self.reject(&error);
                None
            }
        }
    }

    /// Perceives, publishes and counts. `also` is made beside what has subscribers.
    ///
    /// # Errors
    /// What went wrong, which is counted and logged by then.
    pub fn look(&mut self, work: &Work<'_>, engine: &mut Engine, also: Wanted) -> Result<PublishFacts, String> {
        let wanted = self.sink.wanted().and(also);
        let started = match self.perceive(work, engine, wanted) {
            Ok(started) => started,
            Err(error) => {
                self.reject(&error);
                return Err(error.to_string());
            }
        };
        self.publish(work, engine.pipeline.perception(), started)
    }

    /// [`Self::look`] at a frame that went through the model with others; [`Self::begin`] came before that.
    pub fn look_at_next(&mut self, work: &Work<'_>, batch: &mut EngineBatch<'_>) {
        let wanted = self.sink.wanted();
        let beat = self.health.pulse().begin();
        let seen = batch.next(wanted);
        drop(beat);
        match seen {
            Some(Ok(perception)) => {
                let started = Instant::now();
                self.sink.complete(&work.frame, perception);
                // What went wrong is counted and logged.
                let _ = self.publish(work, perception, started);
            }
            Some(Err(error)) => self.reject(&error),
            None => {}
        }
    }

    /// Work on a frame begins.
    pub fn begin(&mut self, work: &Work<'_>) -> Beat<'a> {
        self.sink.begin(work.admitted.age_known.then_some(work.frame.stamp));
        self.health.pulse().begin()
    }

    fn publish(&mut self, work: &Work<'_>, perception: &Perception, started: Instant) -> Result<PublishFacts, String> {
        self.remark_notes(&perception.notes);
        let dropped = self.health.untold_drops();
        let facts = PublishFacts { frames_dropped: u32::try_from(dropped).unwrap_or(u32::MAX), ..self.facts(work) };
        match self.sink.publish(&work.frame, perception, &facts) {
            Ok(beside) if beside.is_empty() => {}
            // The result is out, so no frame is lost by it.
            Ok(beside) => {
                let troubles: Vec<String> = beside.iter().map(ToString::to_string).collect();
                self.warn_bounded("not_published_beside", &troubles.join("; "));
            }
            Err(error) => {
                let trouble = error.to_string();
                self.health.failed(Outcome::Dropped(DropReason::NotPublished), &trouble);
                self.warn_bounded(DropReason::NotPublished.name(), &trouble);
                return Err(trouble);
            }
        }
        self.health.told_drops(dropped);
        let now = Instant::now();
        let age = Duration::from_nanos(u64::try_from(facts.age_nanos).unwrap_or(0));
        let figures = FrameFigures {
            age: work.admitted.age_known.then_some(age),
            latency: now.saturating_duration_since(work.times.received),
            stages: perception.timings,
            publish: now.saturating_duration_since(started),
        };
        let failures_before = self.health.processed(now, &figures);
        if failures_before >= FAILURES_UNTIL_BROKEN {
            info!("{}", self.health.say(&format!("the model works again after {failures_before} failures in a row")));
        }
        Ok(facts)
    }

    /// Perceives a frame that was counted before.
    ///
    /// # Errors
    /// What went wrong.
    pub fn look_aside(&mut self, work: &Work<'_>, engine: &mut Engine, wanted: Wanted) -> Result<PublishFacts, String> {
        self.perceive(work, engine, wanted).map_err(|error| error.to_string())?;
        Ok(self.facts(work))
    }

    /// What the pipeline has seen of the frame, as an answer.
    pub fn answer(&mut self, work: &Work<'_>, pipeline: &Pipeline, facts: &PublishFacts, wanted: Wanted) -> S::Answer {
        self.sink.answer(&work.frame, pipeline.perception(), facts, wanted)
    }

    /// When the pipeline was done and the sink's work began.
    fn perceive(&mut self, work: &Work<'_>, engine: &mut Engine, wanted: Wanted) -> Result<Instant, FrameError> {
        let beat = self.begin(work);
        let perception = engine.process(&work.frame, wanted)?;
        drop(beat);
        let started = Instant::now();
        self.sink.complete(&work.frame, perception);
        Ok(started)
    }

    fn facts(&self, work: &Work<'_>) -> PublishFacts {
        PublishFacts { age_nanos: (self.clock)().saturating_sub(work.frame.stamp.nanos()), frames_dropped: 0 }
    }

    fn reject(&mut self, error: &FrameError) {
        let reason = error.reason();
        let trouble = error.to_string();
        let failures = self.health.failed(Outcome::Rejected(reason), &trouble);
        if reason == crate::perceive::RejectReason::Inference && failures == FAILURES_UNTIL_BROKEN {
            let text = format!("the model failed {failures} times in a row, the last time: {trouble}");
            error!("{}", self.health.say(&text));
        } else {
            self.warn_bounded(reason.name(), &format!("frame rejected: {trouble}"));
        }
    }

    fn drop(&mut self, reason: DropReason, times: &FrameTimes) {
        let stamp = times.stamp;
        let trouble = match reason {
            DropReason::TooOld => {
                let age_seconds = times.ros_now_nanos.saturating_sub(stamp.nanos()) as f64 * 1e-9;
                let waited = times.now.saturating_duration_since(times.received).as_secs_f64();
                format!(
                    "stamp {} is {age_seconds:.3} s old, of which it waited {waited:.3} s here, over max_input_age (is a bag playing without use_sim_time? \
                     are the clocks of the two machines synchronised?)",
                    written(stamp)
                )
            }
            DropReason::Duplicate => format!("stamp {} came again", written(stamp)),
            DropReason::NoClock => "no /clock message has come, and use_sim_time is on".to_owned(),
            // What the user asked for: nothing to say.
            DropReason::RateLimit
            | DropReason::Superseded
            | DropReason::NotPublished
            | DropReason::Disabled
            | DropReason::Stopped => return self.health.ended(Outcome::Dropped(reason)),
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
    fn remark_notes(&mut self, notes: &DecodeNotes) {
        let now = Instant::now();
        if notes.stride_was_zero && self.log.once("stride_was_zero", now) {
            let text = "images have step 0; taken as rows without padding, since the data is exactly that long";
            warn!("{}", self.health.say(text));
        }
        if notes.extra_bytes > 0 && self.log.once("extra_bytes", now) {
            let text = format!("images have {} bytes after their last row; they are ignored", notes.extra_bytes);
            warn!("{}", self.health.say(&text));
        }
    }

    fn warn_bounded(&mut self, kind: &'static str, text: &str) {
        match self.log.note(kind, Instant::now()) {
            Some(0) => warn!("{}", self.health.say(text)),
            Some(suppressed) => warn!("{} ({suppressed} more since the last such line)", self.health.say(text)),
            None => debug!("{}", self.health.say(text)),
        }
    }
}

fn written(stamp: Stamp) -> String {
    format!("{}.{:09}", stamp.sec, stamp.nanosec)
}
