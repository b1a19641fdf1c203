//! Figures over the last frames, in bounded memory.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::Serialize;

/// How many of the last values a [`Window`] keeps.
const WINDOW: usize = 1024;
/// Arrivals older than this say nothing about the present rate.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// How many arrivals a [`RateMeter`] keeps: `RATE_SPAN` at 200 Hz.
const ARRIVALS: usize = 1000;

/// Median and 99th percentile of the last frames; None before the first.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<f32>,
    /// 99th percentile.
    pub p99: Option<f32>,
}

/// The last [`WINDOW`] values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    values: Vec<f32>,
    next: usize,
}

impl Window {
    pub fn push(&mut self, value: f32) {
        if self.values.len() < WINDOW {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
            self.next = (self.next + 1) % WINDOW;
        }
    }

    pub fn percentiles(&self) -> Percentiles {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        Percentiles { p50: nearest_rank(&sorted, 50), p99: nearest_rank(&sorted, 99) }
    }
}

/// The least value that at least `percent` % of the values do not exceed.
fn nearest_rank(sorted: &[f32], percent: usize) -> Option<f32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How often something happens, over the last seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct RateMeter {
    times: VecDeque<Instant>,
}

impl RateMeter {
    pub fn tick(&mut self, now: Instant) {
        if self.times.len() == ARRIVALS {
            self.times.pop_front();
        }
        self.times.push_back(now);
        while self.times.front().is_some_and(|first| now.saturating_duration_since(*first) > RATE_SPAN) {
            self.times.pop_front();
        }
    }

    /// In Hz; sinks towards 0 once nothing happens any more.
    pub fn hz(&self, now: Instant) -> f32 {
        let recent = || self.times.iter().filter(|time| now.saturating_duration_since(**time) <= RATE_SPAN);
        let Some(first) = recent().next() else {
            return 0.0;
        };
        let seconds = now.saturating_duration_since(*first).as_secs_f32();
        let intervals = recent().count() - 1;
        if seconds > 0.0 { intervals as f32 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut window = Window::default();
        assert_eq!(window.percentiles(), Percentiles::default(), "none before the first");
        (1..=200_u16).rev().for_each(|n| window.push(f32::from(n)));
        assert_eq!(window.percentiles(), Percentiles { p50: Some(100.0), p99: Some(198.0) });
    }

    #[test]
    fn a_window_forgets_the_oldest_and_stays_bounded() {
        let mut window = Window::default();
        (0..WINDOW).for_each(|_| window.push(1000.0));
        (0..WINDOW).for_each(|_| window.push(1.0));
        assert_eq!(window.percentiles(), Percentiles { p50: Some(1.0), p99: Some(1.0) });
        assert_eq!(window.values.len(), WINDOW);
    }

    #[test]
    fn a_rate_is_exact_while_it_lasts_and_sinks_to_zero_after() {
        let mut meter = RateMeter::default();
        let start = Instant::now();
        for frame in 0..3000 {
            meter.tick(start + Duration::from_millis(100) * frame);
        }
        let last = start + Duration::from_millis(100) * 2999;
        assert!((meter.hz(last) - 10.0).abs() < 1e-3, "{}", meter.hz(last));
        assert!(meter.hz(last + Duration::from_secs(4)) < 5.0);
        assert_eq!(meter.hz(last + Duration::from_secs(6)), 0.0);
        assert!(meter.times.len() <= 51);
    }

    #[test]
    fn a_rate_above_the_memory_is_still_right() {
        let mut meter = RateMeter::default();
        let start = Instant::now();
        let step = Duration::from_millis(1);
        (0..10_000).for_each(|n| meter.tick(start + step * n));
        assert!((meter.hz(start + step * 9999) - 1000.0).abs() < 0.1);
    }
}
