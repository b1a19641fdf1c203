//! Bounds the log lines of things that may happen with every frame.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Lets the first line of each kind through at once, then at most one per interval.
#[derive(Debug)]
pub(crate) struct LogLimit {
    interval: Duration,
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    last: Instant,
    suppressed: u64,
}

impl LogLimit {
    pub fn new(interval: Duration) -> Self {
        Self { interval, kinds: BTreeMap::new() }
    }

    /// Something of this kind happened. Some: write a line, and say that this many were not written since the last.
    pub fn note(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        let Some(known) = self.kinds.get_mut(kind) else {
            self.kinds.insert(kind, Kind { last: now, suppressed: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(known.last) < self.interval {
            known.suppressed += 1;
            return None;
        }
        known.last = now;
        Some(std::mem::take(&mut known.suppressed))
    }

    /// True the first time only.
    pub fn once(&mut self, kind: &'static str, now: Instant) -> bool {
        let first = !self.kinds.contains_key(kind);
        self.note(kind, now);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_written_then_one_per_interval_with_a_count() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut limit = LogLimit::new(second * 10);
        assert_eq!(limit.note("bad_image", start), Some(0));
        assert_eq!(limit.note("codec", start), Some(0), "another kind");
        for n in 1..10 {
            assert_eq!(limit.note("bad_image", start + second * n), None);
        }
        assert_eq!(limit.note("bad_image", start + second * 10), Some(9));
        assert_eq!(limit.note("bad_image", start + second * 11), None);
    }

    #[test]
    fn once_is_once() {
        let mut limit = LogLimit::new(Duration::ZERO);
        let now = Instant::now();
        assert!(limit.once("step_zero", now));
        assert!(!limit.once("step_zero", now));
    }
}
