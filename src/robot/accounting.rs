//! Every frame is counted once when it arrives and once when it ends: in = processed + dropped + rejected + waiting.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::perceive::RejectReason;

/// Why a sound frame was not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// A newer one came before it was its turn.
    Superseded,
    /// Its stamp is older than `max_input_age`.
    TooOld,
    /// It came faster than `max_rate` allows.
    RateLimit,
    /// Its stamp is that of the frame before.
    Duplicate,
    /// The ROS clock has not started: no /clock message yet.
    NoClock,
    /// It was processed, but the result could not be published.
    NotPublished,
    /// The node was told to rest (`~/enable`).
    Disabled,
    /// The node was stopped before it was its turn.
    Stopped,
}

impl DropReason {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::TooOld => "too_old",
            Self::RateLimit => "rate_limit",
            Self::Duplicate => "duplicate",
            Self::NoClock => "no_clock",
            Self::NotPublished => "not_published",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
        }
    }
}

/// How a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Processed,
    Dropped(DropReason),
    Rejected(RejectReason),
}

/// Frames since the start. In every state `frames_in = processed + dropped + rejected + waiting`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that arrived.
    pub frames_in: u64,
    /// Processed and published.
    pub processed: u64,
    /// Sum of `dropped_by`.
    pub dropped: u64,
    /// Sum of `rejected_by`.
    pub rejected: u64,
    /// In the mailbox or being worked on.
    pub waiting: u64,
    /// By [`DropReason::name`]; a reason that never occurred is absent.
    pub dropped_by: BTreeMap<&'static str, u64>,
    /// By [`RejectReason::name`]; a reason that never occurred is absent.
    pub rejected_by: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(crate) fn arrived(&mut self) {
        self.frames_in += 1;
        self.waiting += 1;
    }

    pub(crate) fn ended(&mut self, outcome: Outcome) {
        debug_assert!(self.waiting > 0, "a frame ended that never arrived");
        self.waiting = self.waiting.saturating_sub(1);
        match outcome {
            Outcome::Processed => self.processed += 1,
            Outcome::Dropped(reason) => {
                self.dropped += 1;
                *self.dropped_by.entry(reason.name()).or_default() += 1;
            }
            Outcome::Rejected(reason) => {
                self.rejected += 1;
                *self.rejected_by.entry(reason.name()).or_default() += 1;
            }
        }
    }

    /// What happened between `earlier` and now.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let by_reason = |now: &BTreeMap<&'static str, u64>, then: &BTreeMap<&'static str, u64>| {
            let difference = |(name, count): (&&'static str, &u64)| {
                let new = count - then.get(name).copied().unwrap_or(0).min(*count);
                (new > 0).then_some((*name, new))
            };
            now.iter().filter_map(difference).collect()
        };
        Self {
            frames_in: self.frames_in.saturating_sub(earlier.frames_in),
            processed: self.processed.saturating_sub(earlier.processed),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            waiting: self.waiting,
            dropped_by: by_reason(&self.dropped_by, &earlier.dropped_by),
            rejected_by: by_reason(&self.rejected_by, &earlier.rejected_by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_ends_once_under_its_reason() {
        let mut counts = Counts::default();
        (0..4).for_each(|_| counts.arrived());
        counts.ended(Outcome::Processed);
        counts.ended(Outcome::Dropped(DropReason::TooOld));
        counts.ended(Outcome::Rejected(RejectReason::BadImage));
        assert_eq!((counts.frames_in, counts.processed, counts.dropped, counts.rejected), (4, 1, 1, 1));
        assert_eq!(counts.waiting, 1);
        assert_eq!(counts.dropped_by, BTreeMap::from([("too_old", 1)]));
        assert_eq!(counts.rejected_by, BTreeMap::from([("bad_image", 1)]));
    }

    #[test]
    fn a_difference_holds_only_what_is_new() {
        let mut counts = Counts::default();
        counts.arrived();
        counts.ended(Outcome::Dropped(DropReason::TooOld));
        let earlier = counts.clone();
        counts.arrived();
        counts.ended(Outcome::Dropped(DropReason::Duplicate));
        let new = counts.since(&earlier);
        assert_eq!((new.frames_in, new.dropped), (1, 1));
        assert_eq!(new.dropped_by, BTreeMap::from([("duplicate", 1)]));
    }
}
