//! Silence explains itself: when no frame could be processed for `input_timeout` (or for two periods of `max_rate`, where that
//! is longer), one sentence says why.

use std::{mem, time::Duration};

use super::{
    HealthSnapshot,
    accounting::DropReason,
    matching::{MatchingQos, Mismatch},
};
use crate::config::NodeSettings;

/// A silence this many times as long is an error, not a warning.
const ERROR_FACTOR: u32 = 5;

/// What the middleware knows about the input topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// Its name before remapping.
    pub input: String,
    /// Its name after remapping.
    pub topic: String,
    /// The message type we subscribe to, as ROS writes it ("sensor_msgs/msg/Image").
    pub message_type: String,
    /// What we ask for.
    pub requested: MatchingQos,
    /// Who publishes on it.
    pub publishers: Vec<PublisherFacts>,
    /// False while use_sim_time is on and no /clock message has come.
    pub clock_started: bool,
}

impl InputFacts {
    /// Who they are, where several publish what belongs to one camera.
    pub fn rivals(&self) -> Option<String> {
        let of_type = self.publishers.iter().filter(|publisher| publisher.message_type == self.message_type);
        let mut nodes: Vec<&str> = of_type.map(|publisher| publisher.node.as_str()).collect();
        nodes.sort_unstable();
        let (topic, several) = (&self.topic, nodes.len() > 1);
        several.then(|| {
            let (count, nodes) = (nodes.len(), nodes.join(", "));
            format!("{count} publishers on {topic}, as if they were one camera: {nodes}")
        })
    }
}

/// One publisher on the input topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherFacts {
    /// The node's fully qualified name.
    pub node: String,
    /// Its message type.
    pub message_type: String,
    /// What it offers.
    pub offered: MatchingQos,
}

/// How bad a silence is, or that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceLevel {
    /// Frames are processed again.
    Over,
    /// Longer than [`timeout`].
    Warn,
    /// Longer than five times that.
    Error,
}

/// One sentence about a silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceReport {
    /// How bad it is.
    pub level: SilenceLevel,
    /// Why.
    pub sentence: String,
}

/// Notices silences. Pure: it knows what it is shown.
#[derive(Debug)]
pub struct SilenceWatch {
    timeout: Duration,
    /// What was said last, and why.
    said: Option<(SilenceLevel, Cause)>,
    quiet_before: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    NoClock,
    AllRejected,
    AllDropped,
    NoPublisher,
    WrongType,
    Incompatible,
    NothingSent,
}

impl SilenceWatch {
    /// Reports silences longer than `timeout`: see [`timeout`].
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, said: None, quiet_before: Duration::ZERO }
    }

    /// Another one, from the next check on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Call it several times per timeout. Returns a sentence when a silence begins, gets worse, changes its
    /// cause or ends, and None while there is nothing new to say. `facts` is asked only during a silence.
    pub fn check(&mut self, health: &HealthSnapshot, facts: impl FnOnce() -> InputFacts) -> Option<SilenceReport> {
        let before = mem::replace(&mut self.quiet_before, health.quiet_for);
        if health.quiet_for < self.timeout {
            self.said.take()?;
            // A reset, a rest and a longer timeout end a silence as well, but process nothing.
            let is_over = health.has_processed && health.quiet_for < before;
            let sentence = || format!("frames are processed again after {:.1} s", before.as_secs_f64());
            return is_over.then(|| SilenceReport { level: SilenceLevel::Over, sentence: sentence() });
        }
        if self.is_busy(health) {
            return None;
        }
        let facts = facts();
        let (cause, reason) = self.explain(health, &facts);
        let level = if self.is_long(health) { SilenceLevel::Error } else { SilenceLevel::Warn };
        if self.said == Some((level, cause)) {
            return None;
        }
        self.said = Some((level, cause));
        let sentence = format!("no frame processed for {:.1} s: {reason}", health.quiet_for.as_secs_f64());
        Some(SilenceReport { level, sentence })
    }

    /// Is this silence as long as one that is an error?
    pub fn is_long(&self, health: &HealthSnapshot) -> bool {
        health.quiet_for >= self.timeout * ERROR_FACTOR
    }

    /// Why it is silent now, for the status; None while it is not.
    pub fn reason(&self, health: &HealthSnapshot, facts: &InputFacts) -> Option<String> {
        (health.quiet_for >= self.timeout && !self.is_busy(health)).then(|| self.explain(health, facts).1)
    }

    /// Is a frame being worked on, or does a new one wait for whoever may ask? Not where something went wrong since the last
    /// result, nor where what waits is all that ever came.
    fn is_busy(&self, health: &HealthSnapshot) -> bool {
        let is_waiting = health.counts.waiting > 0 && !self.is_empty(health);
        health.last_trouble.is_none() && (health.running_for.is_some() || is_waiting)
    }

    /// Has nothing come for so long that it would be a silence by itself?
    pub fn is_empty(&self, health: &HealthSnapshot) -> bool {
        health.empty_for >= self.timeout
    }

    fn explain(&self, health: &HealthSnapshot, facts: &InputFacts) -> (Cause, String) {
        let since = &health.since_processed;
        let no_clock = since.dropped_by.contains_key(DropReason::NoClock.name());
        if !facts.clock_started || no_clock && since.rejected == 0 && since.dropped_by.len() == 1 {
            return (Cause::NoClock, "waiting for /clock, since use_sim_time is on".to_owned());
        }
        let displaced_only = health.last_trouble.is_none();
        if since.rejected + since.dropped == 0 || displaced_only && self.is_empty(health) {
            return explain_nothing_came(facts);
        }
        let last = health.last_trouble.as_deref().unwrap_or("a newer one came each time, or max_rate let none through");
        if since.dropped == 0 {
            (Cause::AllRejected, format!("{} frames came, all rejected; the last: {last}", since.rejected))
        } else {
            let (dropped, rejected) = (since.dropped, since.rejected);
            let came = dropped + rejected;
            (Cause::AllDropped, format!("{came} frames came, {dropped} dropped, {rejected} rejected; the last: {last}"))
        }
    }
}

/// How long a silence lasts before it is told: `input_timeout`, but no less than two periods of `max_rate`.
pub fn timeout(settings: &NodeSettings) -> Duration {
    let periods =
        settings.max_rate_hz.map(|hz| Duration::try_from_secs_f64(2.0 / hz).unwrap_or(Duration::MAX / ERROR_FACTOR));
    settings.input_timeout.max(periods.unwrap_or_default()).min(Duration::MAX / ERROR_FACTOR)
}

fn explain_nothing_came(facts: &InputFacts) -> (Cause, String) {
    let InputFacts { input, topic, message_type, requested, publishers, .. } = facts;
    let Some(first) = publishers.first() else {
        return (Cause::NoPublisher, format!("no publisher on {topic} (remap it: -r {input}:=/your/camera/image)"));
    };
    let mut typed = publishers.iter().filter(|publisher| publisher.message_type == *message_type).peekable();
    let Some(any) = typed.peek().copied() else {
        let found = &first.message_type;
        let reason = format!("publisher {} sends {found} on {topic}, we expect {message_type}", first.node);
        return (Cause::WrongType, reason);
    };
    let mismatch = |publisher: &PublisherFacts| requested.mismatch(&publisher.offered);
    match (mismatch(any), typed.find(|publisher| mismatch(publisher).is_none())) {
        (Some(mismatch), None) => (Cause::Incompatible, incompatible(topic, &any.node, &mismatch)),
        (_, suitable) => {
            let node = &suitable.unwrap_or(any).node;
            (Cause::NothingSent, format!("publisher {node} is there, but nothing comes on {topic}"))
        }
    }
}

fn incompatible(topic: &str, node: &str, mismatch: &Mismatch) -> String {
    let Mismatch { policy, offered, requested } = mismatch;
    let own = if *policy == "reliability" { "input_reliability or " } else { "" };
    format!(
        "publisher {node} on {topic} offers {offered} and we ask for {requested} (parameter {own}qos_overrides.{topic}\
         .subscription.{policy})"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        config::{Durability, Reliability},
        perceive::RejectReason,
        robot::{Health, accounting::Outcome, windows::FrameFigures},
    };

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn facts(publishers: Vec<PublisherFacts>) -> InputFacts {
        InputFacts {
            input: "image".to_owned(),
            topic: "/camera/image".to_owned(),
            message_type: "sensor_msgs/msg/Image".to_owned(),
            requested: MatchingQos::default(),
            publishers,
            clock_started: true,
        }
    }

    fn camera() -> PublisherFacts {
        PublisherFacts {
            node: "/camera".to_owned(),
            message_type: "sensor_msgs/msg/Image".to_owned(),
            offered: MatchingQos::default(),
        }
    }

    fn sentence(health: &Health, started: Instant, facts: InputFacts) -> String {
        let snapshot = health.snapshot(started + TIMEOUT);
        SilenceWatch::new(TIMEOUT).check(&snapshot, || facts).unwrap().sentence
    }

    #[test]
    fn each_cause_has_its_sentence() {
        let started = Instant::now();
        let health = Health::started_at(started);
        let say = |facts| sentence(&health, started, facts);
        assert_eq!(
            say(facts(vec![])),
            "no frame processed for 2.0 s: no publisher on /camera/image (remap it: -r image:=/your/camera/image)"
        );
        let asking = |requested| InputFacts { requested, ..facts(vec![camera()]) };
        assert_eq!(
            say(asking(MatchingQos { reliability: Reliability::Reliable, ..MatchingQos::default() })),
            "no frame processed for 2.0 s: publisher /camera on /camera/image offers best_effort and we ask for \
             reliable (parameter input_reliability or qos_overrides./camera/image.subscription.reliability)"
        );
        assert_eq!(
            say(asking(MatchingQos { durability: Durability::TransientLocal, ..MatchingQos::default() })),
            "no frame processed for 2.0 s: publisher /camera on /camera/image offers volatile and we ask for \
             transient_local (parameter qos_overrides./camera/image.subscription.durability)"
        );
        let depth = PublisherFacts { message_type: "sensor_msgs/msg/PointCloud2".to_owned(), ..camera() };
        assert!(say(facts(vec![depth])).ends_with(
            "publisher /camera sends sensor_msgs/msg/PointCloud2 on /camera/image, we expect sensor_msgs/msg/Image"
        ));
        assert!(say(facts(vec![camera()])).ends_with("publisher /camera is there, but nothing comes on /camera/image"));
        let left = InputFacts { input: "left/image".to_owned(), ..facts(vec![]) };
        assert!(say(left).ends_with("(remap it: -r left/image:=/your/camera/image)"));
        let no_clock = InputFacts { clock_started: false, ..facts(vec![camera()]) };
        assert!(say(no_clock).ends_with("waiting for /clock, since use_sim_time is on"));
    }

    #[test]
    fn frames_that_were_all_rejected_are_named_with_the_last_reason() {
        let started = Instant::now();
        let health = Health::started_at(started);
        for _ in 0..12 {
            health.arrived(started + TIMEOUT / 2);
            health.failed(Outcome::Rejected(RejectReason::BadImage), "step 0");
        }
        assert_eq!(
            sentence(&health, started, facts(vec![camera()])),
            "no frame processed for 2.0 s: 12 frames came, all rejected; the last: step 0"
        );
    }

    #[test]
    fn a_silence_is_told_once_per_level_and_cause_and_when_it_ends() {
        let started = Instant::now();
        let health = Health::started_at(started);
        let mut watch = SilenceWatch::new(TIMEOUT);
        let mut check = |seconds: f64, publishers: Vec<PublisherFacts>| {
            let snapshot = health.snapshot(started + Duration::from_secs_f64(seconds));
            watch.check(&snapshot, || facts(publishers)).map(|report| report.level)
        };
        assert_eq!(check(1.9, vec![]), None);
        assert_eq!(check(2.0, vec![]), Some(SilenceLevel::Warn));
        assert_eq!(check(3.0, vec![]), None, "the same again");
        assert_eq!(check(4.0, vec![camera()]), Some(SilenceLevel::Warn), "another cause");
        assert_eq!(check(10.0, vec![camera()]), Some(SilenceLevel::Error), "five times the timeout");
        assert_eq!(check(11.0, vec![camera()]), None);
        health.arrived(started);
        health.processed(started + Duration::from_secs(12), &FrameFigures::default());
        assert_eq!(check(12.1, vec![camera()]), Some(SilenceLevel::Over));
        assert_eq!(check(12.2, vec![camera()]), None);
        assert_eq!(check(14.0, vec![camera()]), Some(SilenceLevel::Warn), "the next silence");
    }

    #[test]
    fn only_a_processed_frame_is_told_as_the_end_of_a_silence() {
        let started = Instant::now();
        let health = Health::started_at(started);
        let at = |seconds: f64| started + Duration::from_secs_f64(seconds);
        let mut watch = SilenceWatch::new(TIMEOUT);
        let level = |watch: &mut SilenceWatch, seconds: f64| {
            watch.check(&health.snapshot(at(seconds)), || facts(vec![])).map(|report| report.level)
        };
        assert_eq!(level(&mut watch, 3.5), Some(SilenceLevel::Warn));
        health.reset(at(3.6));
        assert_eq!(level(&mut watch, 3.7), None, "a reset");
        assert_eq!(level(&mut watch, 5.6), Some(SilenceLevel::Warn), "the silence since the reset");
        health.resumed(at(5.7));
        assert_eq!(level(&mut watch, 5.8), None, "off and on");

        health.arrived(at(6.0));
        health.processed(at(6.0), &FrameFigures::default());
        assert_eq!(level(&mut watch, 8.0), Some(SilenceLevel::Warn));
        watch.set_timeout(TIMEOUT * 2);
        assert_eq!(level(&mut watch, 8.1), None, "another timeout");
        assert_eq!(level(&mut watch, 10.0), Some(SilenceLevel::Warn), "it lasts");
        health.arrived(at(10.1));
        health.processed(at(10.1), &FrameFigures::default());
        assert_eq!(level(&mut watch, 10.2), Some(SilenceLevel::Over));
    }

    #[test]
    fn a_frame_that_takes_long_is_not_a_silence() {
        let started = Instant::now();
        let health = Health::started_at(started);
        health.arrived(started);
        let beat = health.pulse().begin();
        let check =
            || SilenceWatch::new(TIMEOUT).check(&health.snapshot(started + TIMEOUT * 2), || facts(vec![camera()]));
        assert_eq!(check(), None);
        drop(beat);
        assert!(check().is_some(), "nobody works on it, and no newer one has come");
    }

    #[test]
    fn frames_that_nobody_asks_for_are_no_silence_while_they_come() {
        let started = Instant::now();
        let health = Health::started_at(started);
        let at = |second: u32| started + Duration::from_secs(second.into());
        for second in 0..10 {
            if second > 0 {
                health.ended(Outcome::Dropped(DropReason::Superseded));
            }
            health.arrived(at(second));
        }
        let mut watch = SilenceWatch::new(TIMEOUT);
        assert_eq!(watch.reason(&health.snapshot(at(10)), &facts(vec![camera()])), None);
        let report = watch.check(&health.snapshot(at(11)), || facts(vec![])).unwrap();
        assert!(report.sentence.contains("no publisher on /camera/image"), "{}", report.sentence);
    }

    #[test]
    fn a_low_rate_is_no_silence() {
        let settings = |max_rate_hz| NodeSettings { max_rate_hz, input_timeout: TIMEOUT, ..NodeSettings::defaults() };
        assert_eq!(timeout(&settings(None)), TIMEOUT);
        assert_eq!(timeout(&settings(Some(30.0))), TIMEOUT);
        assert_eq!(timeout(&settings(Some(0.2))), Duration::from_secs(10));
        assert!(timeout(&settings(Some(f64::MIN_POSITIVE))) > TIMEOUT);
    }

    #[test]
    fn several_publishers_of_pictures_are_named() {
        let other = |node: &str| PublisherFacts { node: node.to_owned(), ..camera() };
        let cloud = PublisherFacts { message_type: "sensor_msgs/msg/PointCloud2".to_owned(), ..camera() };
        assert_eq!(facts(vec![camera(), cloud.clone()]).rivals(), None);
        assert_eq!(
            facts(vec![other("/replay"), cloud, camera()]).rivals().unwrap(),
            "2 publishers on /camera/image, as if they were one camera: /camera, /replay"
        );
    }
}
