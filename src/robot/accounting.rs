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
}
