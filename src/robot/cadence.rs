//! The rhythm in which frames arrive, and whether the next one is worth waiting for.
//!
//! When the loop is free, the newest frame may be nearly a camera period old and the next one about to arrive. Taking it
//! at once publishes data of nearly that age; waiting the moment costs less than it gains in freshness. The aim is an age,
//! transport included, under one period plus one inference; a camera that stalls for longer than it is waited for misses it.

use std::time::{Duration, Instant};

/// Intervals that are remembered.
const REMEMBERED: usize = 8;
/// Fewer tell no rhythm.
const FEWEST: usize = 4;
/// A next frame due later than this part of a period is not waited for ...
const NEAR_PART: u32 = 3;
/// ... nor one due later than this, so that slow cameras cost no more than fast ones.
const NEAR: Duration = Duration::from_millis(10);
/// How late a frame may be before it is no longer waited for, as a part of a period.
const LATE_PART: u32 = 4;

/// Learns from arrivals.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    last: Option<Instant>,
    intervals: [Duration; REMEMBERED],
    known: usize,
}

impl Cadence {
    /// A frame arrived.
    pub fn tick(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.intervals[self.known % REMEMBERED] = now.saturating_duration_since(last);
            self.known += 1;
        }
    }

    /// Will the next frame have come by `until`? Not where it is so late `now` that it is no longer counted on.
    pub fn is_due(&self, now: Instant, until: Instant) -> bool {
        self.last.zip(self.period()).is_some_and(|(last, period)| {
            let due = last + period;
            due <= until && now < due + period / LATE_PART
        })
    }

    /// How long the next frame is worth waiting for when the last one to arrive has not been taken by `now`. Zero: not at
    /// all, because it is not due soon, or because the camera keeps no rhythm.
    pub fn patience(&self, now: Instant) -> Duration {
        let (Some(last), Some(period)) = (self.last, self.period()) else {
            return Duration::ZERO;
        };
        let due = last + period;
        if due.saturating_duration_since(now) > (period / NEAR_PART).min(NEAR) {
            return Duration::ZERO;
        }
        (due + period / LATE_PART).saturating_duration_since(now)
    }

    /// The median interval; None without a rhythm: too few arrivals, or intervals that differ by half a period.
    fn period(&self) -> Option<Duration> {
        let mut intervals = self.intervals;
        let intervals = &mut intervals[..self.known.min(REMEMBERED)];
        intervals.sort_unstable();
        let (least, most) = (*intervals.first()?, *intervals.last()?);
        let median = intervals[intervals.len() / 2];
        (intervals.len() >= FEWEST && most - least <= median / 2).then_some(median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(24);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A camera's arrivals at these times [ms]; the moment of the last one.
    fn arrivals(times: impl IntoIterator<Item = u64>) -> (Cadence, Instant) {
        let (mut cadence, start) = (Cadence::default(), Instant::now());
        let mut last = start;
        for time in times {
            last = start + millis(time);
            cadence.tick(last);
        }
        (cadence, last)
    }

    #[test]
    fn only_a_frame_that_is_due_soon_is_waited_for() {
        let (cadence, last) = arrivals((0..20).map(|n| n * 24));
        assert_eq!(cadence.patience(last), Duration::ZERO, "just arrived");
        assert_eq!(cadence.patience(last + millis(15)), Duration::ZERO, "9 ms to go, a third of a period is 8");
        assert_eq!(cadence.patience(last + millis(20)), millis(4) + PERIOD / LATE_PART);
        assert_eq!(cadence.patience(last + PERIOD), PERIOD / LATE_PART, "late, but it may still come");
        assert_eq!(cadence.patience(last + PERIOD + PERIOD / LATE_PART), Duration::ZERO, "no longer counted on");
    }

    #[test]
    fn a_frame_is_due_a_period_after_the_last() {
        let (cadence, last) = arrivals((0..20).map(|n| n * 24));
        assert!(!cadence.is_due(last, last + millis(23)));
        assert!(cadence.is_due(last, last + millis(24)));
        assert!(cadence.is_due(last + millis(29), last + millis(50)), "late, but it may still come");
        assert!(!cadence.is_due(last + millis(30), last + millis(50)), "no longer counted on");
        assert!(!arrivals([0, 24]).0.is_due(last, last + millis(100)), "no rhythm");
    }

    #[test]
    fn a_slow_camera_is_not_waited_for_longer() {
        let (cadence, last) = arrivals((0..20).map(|n| n * 200));
        assert_eq!(cadence.patience(last + millis(189)), Duration::ZERO);
        assert_eq!(cadence.patience(last + millis(195)), millis(5 + 50));
    }

    #[test]
    fn without_a_rhythm_nothing_is_waited_for() {
        for times in [vec![], vec![0], vec![0, 24, 48, 72], vec![0, 24, 48, 72, 120, 144], vec![0; 20]] {
            let (cadence, last) = arrivals(times.clone());
            for wait in 0..60 {
                assert_eq!(cadence.patience(last + millis(wait)), Duration::ZERO, "{times:?} after {wait} ms");
            }
        }
    }

    #[test]
    fn a_new_rhythm_is_learnt() {
        let (cadence, last) = arrivals((0..20).map(|n| n * 24).chain((0..9).map(|n| 480 + n * 60)));
        assert_eq!(cadence.patience(last + millis(20)), Duration::ZERO);
        assert!(cadence.patience(last + millis(55)) > Duration::ZERO);
    }
}
