//! Which frames are worth processing. Pure: every decision follows from the settings, the frames before, and the time
//! the caller gives.

use std::time::{Duration, Instant};

use super::accounting::DropReason;
use crate::{
    config::{NodeSettings, StampPolicy},
    perceive::{FrameError, Stamp, StampFault},
};

/// Stamps further ahead of the clock than this are wrong; less is how far clocks of two machines differ.
const FUTURE_TOLERANCE_NANOS: i64 = 1_000_000_000;

/// For any lower rate; a year.
const LONGEST_PERIOD: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to admit. Made from [`NodeSettings`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionSettings {
    /// What to do with a zero, negative or future stamp.
    pub stamp_policy: StampPolicy,
    /// Older frames are dropped; None = never.
    pub max_input_age: Option<Duration>,
    /// Frames per second at most, on average; None = unlimited.
    pub max_rate_hz: Option<f64>,
}

impl From<&NodeSettings> for AdmissionSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
            stamp_policy: settings.stamp_policy,
            max_input_age: settings.max_input_age,
            max_rate_hz: settings.max_rate_hz,
        }
    }
}

/// One frame's times, all taken at the moment of the decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameTimes {
    /// As the message has it.
    pub stamp: Stamp,
    /// When it arrived, on the steady clock.
    pub received: Instant,
    /// Now, on the steady clock.
    pub now: Instant,
    /// Now, on the ROS clock [ns since its epoch]; 0 or less = it has not started (no /clock message yet).
    pub ros_now_nanos: i64,
}

/// What to do with a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Process it.
    Process(Admitted),
    /// Don't.
    Drop(DropReason),
    /// Don't, it is malformed.
    Reject(FrameError),
}

/// A frame that is to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The stamp to publish: the frame's own, or with `restamp` the time of reception.
    pub stamp: Stamp,
    /// What is wrong with the frame's own stamp, where the policy lets that pass.
    pub fault: Option<StampFault>,
    /// Is `now - stamp` the picture's age? Not where a wrong stamp is published as it is.
    pub age_known: bool,
    /// The stamp is older than that of the frame before: a bag began anew, or the simulation was reset.
    pub went_back: bool,
}

/// The policy and what it remembers.
#[derive(Debug, Clone)]
pub struct Admission {
    settings: AdmissionSettings,
    /// Stamp of the last frame processed, as the message had it.
    last: Option<Stamp>,
    /// From when on the rate limit lets a frame through.
    due: Option<Instant>,
}

impl Admission {
    /// One that has seen no frame.
    pub fn new(settings: AdmissionSettings) -> Self {
        Self { settings, last: None, due: None }
    }

    /// Takes other settings, from the next frame on.
    pub fn apply(&mut self, settings: AdmissionSettings) {
        if settings.max_rate_hz != self.settings.max_rate_hz {
            self.due = None;
        }
        self.settings = settings;
    }

    /// Decides on a frame. A frame that is to be processed is remembered. `is_asked`: somebody waits for it, so that the
    /// requests are its rate.
    pub fn decide(&mut self, times: &FrameTimes, is_asked: bool) -> Verdict {
        if times.ros_now_nanos <= 0 {
            return Verdict::Drop(DropReason::NoClock);
        }
        let stamp = times.stamp;
        let fault = stamp_fault(stamp, times.ros_now_nanos);
        if let (Some(fault), StampPolicy::Reject) = (fault, self.settings.stamp_policy) {
            return Verdict::Reject(FrameError::Stamp { stamp, fault });
        }
        let went_back = match fault {
            // A wrong stamp says nothing about order or age; a driver that never sets it would be all duplicates. How long
            // the frame has waited is known all the same.
            Some(_) => {
                let waited = times.now.saturating_duration_since(times.received);
                if self.settings.max_input_age.is_some_and(|limit| waited > limit) {
                    return Verdict::Drop(DropReason::TooOld);
                }
                false
            }
            None => {
                if self.last == Some(stamp) {
                    return Verdict::Drop(DropReason::Duplicate);
                }
                if self.is_too_old(stamp, times.ros_now_nanos) {
                    return Verdict::Drop(DropReason::TooOld);
                }
                self.last.is_some_and(|last| stamp < last)
            }
        };
        if !self.is_due(times.now) && !is_asked {
            return Verdict::Drop(DropReason::RateLimit);
        }
        if fault.is_none() {
            self.last = Some(stamp);
        }
        let restamp = fault.is_some() && self.settings.stamp_policy == StampPolicy::Restamp;
        Verdict::Process(Admitted {
            stamp: if restamp { received_stamp(times) } else { stamp },
            fault,
            age_known: restamp || fault.is_none(),
            went_back,
        })
    }

    fn is_too_old(&self, stamp: Stamp, ros_now_nanos: i64) -> bool {
        let age_nanos = i128::from(ros_now_nanos) - i128::from(stamp.nanos());
        self.settings.max_input_age.is_some_and(|limit| age_nanos > limit.as_nanos().cast_signed())
    }

    /// Holds the average rate without ageing frames: each frame let through moves the due time by one period from where
    /// it *was* due, so that a 30 Hz camera limited to 20 Hz gives 20 Hz and not 15. Time not used is kept for one
    /// frame only.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some(hz) = self.settings.max_rate_hz else {
            return true;
        };
        // The least rates have periods that are no durations.
        let period = Duration::try_from_secs_f64(1.0 / hz).unwrap_or(LONGEST_PERIOD).min(LONGEST_PERIOD);
        let due = self.due.unwrap_or(now);
        if now < due {
            return false;
        }
        // `now - due` is under one period here unless frames were late: then one frame may follow at once.
        let earliest = now.checked_sub(period).unwrap_or(now);
        self.due = Some(due.max(earliest) + period);
        true
    }
}

fn stamp_fault(stamp: Stamp, ros_now_nanos: i64) -> Option<StampFault> {
    if stamp == Stamp::default() {
        return Some(StampFault::Zero);
    }
    if stamp.sec < 0 {
        return Some(StampFault::Negative);
    }
    if stamp.nanosec >= 1_000_000_000 {
        return Some(StampFault::Nanoseconds);
    }
    let ahead_nanos = stamp.nanos().saturating_sub(ros_now_nanos);
    (ahead_nanos > FUTURE_TOLERANCE_NANOS).then_some(StampFault::Future { ahead_nanos })
}

/// The ROS time at which the frame arrived.
fn received_stamp(times: &FrameTimes) -> Stamp {
    let waited = times.now.saturating_duration_since(times.received);
    let waited_nanos = i64::try_from(waited.as_nanos()).unwrap_or(i64::MAX);
    let nanos = times.ros_now_nanos.saturating_sub(waited_nanos).max(0);
    // Both parts fit: the remainder is under 10^9, and seconds past i32 would be after the year 2038.
    let sec = i32::try_from(nanos / 1_000_000_000).unwrap_or(i32::MAX);
    Stamp { sec, nanosec: (nanos % 1_000_000_000) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NANOS: i64 = 1_000_000_000_000;

    fn settings() -> AdmissionSettings {
        AdmissionSettings { stamp_policy: StampPolicy::Reject, max_input_age: None, max_rate_hz: None }
    }

    /// A frame that carries `stamp_nanos` and is looked at as soon as it arrives, at [`NOW_NANOS`].
    fn times(stamp_nanos: i64) -> FrameTimes {
        let now = Instant::now();
        let stamp = Stamp { sec: (stamp_nanos / 1_000_000_000) as i32, nanosec: (stamp_nanos % 1_000_000_000) as u32 };
        FrameTimes { stamp, received: now, now, ros_now_nanos: NOW_NANOS }
    }

    fn admitted(verdict: Verdict) -> Admitted {
        match verdict {
            Verdict::Process(admitted) => admitted,
            other => panic!("not admitted: {other:?}"),
        }
    }

    fn faults() -> [(Stamp, StampFault); 5] {
        let second = NOW_NANOS / 1_000_000_000;
        [
            (Stamp::default(), StampFault::Zero),
            (Stamp { sec: -1, nanosec: 0 }, StampFault::Negative),
            (Stamp { sec: i32::MIN, nanosec: u32::MAX }, StampFault::Negative),
            (Stamp { sec: 999, nanosec: 1_000_000_000 }, StampFault::Nanoseconds),
            (Stamp { sec: second as i32 + 1, nanosec: 1 }, StampFault::Future { ahead_nanos: 1_000_000_001 }),
        ]
    }

    #[test]
    fn wrong_stamps_are_rejected_with_their_fault() {
        for (stamp, fault) in faults() {
            let verdict = Admission::new(settings()).decide(&FrameTimes { stamp, ..times(0) }, false);
            assert_eq!(verdict, Verdict::Reject(FrameError::Stamp { stamp, fault }));
        }
    }

    #[test]
    fn accepted_wrong_stamps_stay_as_they_are_and_say_nothing_about_age() {
        let accept = AdmissionSettings { stamp_policy: StampPolicy::Accept, ..settings() };
        for (stamp, fault) in faults() {
            let admitted = admitted(Admission::new(accept).decide(&FrameTimes { stamp, ..times(0) }, false));
            assert_eq!(admitted, Admitted { stamp, fault: Some(fault), age_known: false, went_back: false });
        }
    }

    #[test]
    fn restamped_frames_carry_the_time_of_reception() {
        let restamp = AdmissionSettings { stamp_policy: StampPolicy::Restamp, ..settings() };
        for (stamp, _) in faults() {
            let waited = Duration::from_millis(1500);
            let mut times = FrameTimes { stamp, ..times(0) };
            times.now = times.received + waited;
            let admitted = admitted(Admission::new(restamp).decide(&times, false));
            assert_eq!(admitted.stamp, Stamp { sec: 998, nanosec: 500_000_000 });
            assert!(admitted.age_known);
        }
    }

    #[test]
    fn right_stamps_stay_as_they_are_under_every_policy() {
        for stamp_policy in [StampPolicy::Reject, StampPolicy::Accept, StampPolicy::Restamp] {
            let times = times(NOW_NANOS + FUTURE_TOLERANCE_NANOS);
            let admitted =
                admitted(Admission::new(AdmissionSettings { stamp_policy, ..settings() }).decide(&times, false));
            assert_eq!((admitted.stamp, admitted.fault), (times.stamp, None));
        }
    }

    #[test]
    fn a_driver_that_never_sets_stamps_is_not_taken_for_duplicates() {
        let mut admission = Admission::new(AdmissionSettings { stamp_policy: StampPolicy::Accept, ..settings() });
        for _ in 0..3 {
            admitted(admission.decide(&times(0), false));
        }
    }

    #[test]
    fn a_stamp_is_processed_once() {
        let mut admission = Admission::new(settings());
        admitted(admission.decide(&times(NOW_NANOS - 7), false));
        assert_eq!(admission.decide(&times(NOW_NANOS - 7), false), Verdict::Drop(DropReason::Duplicate));
        admitted(admission.decide(&times(NOW_NANOS - 6), false));
    }

    #[test]
    fn stamps_that_go_back_are_processed_and_begin_anew() {
        let mut admission = Admission::new(settings());
        assert!(!admitted(admission.decide(&times(NOW_NANOS - 10), false)).went_back, "the first");
        assert!(admitted(admission.decide(&times(NOW_NANOS - 500), false)).went_back, "the bag's second round");
        assert!(!admitted(admission.decide(&times(NOW_NANOS - 400), false)).went_back, "then on as usual");
    }

    #[test]
    fn frames_older_than_the_limit_are_dropped() {
        let limit = Duration::from_millis(500);
        let mut admission = Admission::new(AdmissionSettings { max_input_age: Some(limit), ..settings() });
        admitted(admission.decide(&times(NOW_NANOS - 500_000_000), false));
        assert_eq!(admission.decide(&times(NOW_NANOS - 500_000_001), false), Verdict::Drop(DropReason::TooOld));
        let epoch = FrameTimes { stamp: Stamp { sec: 0, nanosec: 1 }, ros_now_nanos: i64::MAX, ..times(0) };
        assert_eq!(admission.decide(&epoch, false), Verdict::Drop(DropReason::TooOld), "no overflow");
    }

    #[test]
    fn a_frame_with_a_wrong_stamp_that_waited_for_longer_than_the_limit_is_dropped() {
        let limit = Duration::from_millis(500);
        for stamp_policy in [StampPolicy::Restamp, StampPolicy::Accept] {
            let mut admission =
                Admission::new(AdmissionSettings { stamp_policy, max_input_age: Some(limit), ..settings() });
            let fresh = times(0);
            admitted(admission.decide(&FrameTimes { now: fresh.received + limit, ..fresh }, false));
            let late = FrameTimes { now: fresh.received + limit + Duration::from_millis(1), ..fresh };
            assert_eq!(admission.decide(&late, false), Verdict::Drop(DropReason::TooOld));
        }
    }

    #[test]
    fn the_least_rate_lets_one_frame_through() {
        for hz in [f64::MIN_POSITIVE, 1e-20, 1e-9] {
            let mut admission = Admission::new(AdmissionSettings { max_rate_hz: Some(hz), ..settings() });
            admitted(admission.decide(&times(NOW_NANOS - 2), false));
            assert_eq!(admission.decide(&times(NOW_NANOS - 1), false), Verdict::Drop(DropReason::RateLimit));
        }
    }

    #[test]
    fn nothing_is_processed_before_the_clock_starts() {
        let waiting = FrameTimes { ros_now_nanos: 0, ..times(5_000_000_000) };
        assert_eq!(Admission::new(settings()).decide(&waiting, false), Verdict::Drop(DropReason::NoClock));
    }

    /// Frames let through of a camera that runs for ten seconds.
    fn let_through(camera_hz: u32, max_rate_hz: f64, jitter_millis: u64) -> usize {
        let mut admission = Admission::new(AdmissionSettings { max_rate_hz: Some(max_rate_hz), ..settings() });
        let start = Instant::now();
        (0..10 * camera_hz)
            .filter(|frame| {
                let late = Duration::from_millis(u64::from(frame % 3) * jitter_millis);
                let now = start + Duration::from_secs(1) * *frame / camera_hz + late;
                let times = FrameTimes { now, received: now, ..times(NOW_NANOS - 1000 + i64::from(*frame)) };
                matches!(admission.decide(&times, false), Verdict::Process(_))
            })
            .count()
    }

    #[test]
    fn the_rate_limit_holds_on_average_whatever_the_camera_gives() {
        assert_eq!(let_through(30, 1000.0, 0), 300, "a camera slower than the limit loses nothing");
        assert!((199..=201).contains(&let_through(30, 20.0, 0)), "{}", let_through(30, 20.0, 0));
        assert!((99..=101).contains(&let_through(100, 10.0, 3)), "{}", let_through(100, 10.0, 3));
        assert!((98..=100).contains(&let_through(10, 10.0, 10)), "jitter: {}", let_through(10, 10.0, 10));
    }

    #[test]
    fn a_frame_dropped_by_the_rate_limit_may_come_again() {
        let mut admission = Admission::new(AdmissionSettings { max_rate_hz: Some(1.0), ..settings() });
        let first = times(NOW_NANOS - 10);
        admitted(admission.decide(&first, false));
        let second = FrameTimes { stamp: times(NOW_NANOS - 9).stamp, ..first };
        assert_eq!(admission.decide(&second, false), Verdict::Drop(DropReason::RateLimit));
        let again = FrameTimes { now: first.now + Duration::from_secs(1), ..second };
        assert!(!admitted(admission.decide(&again, false)).went_back);
    }
}
