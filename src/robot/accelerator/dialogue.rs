//! What the machine is told, and what it says.

use std::time::Duration;

use super::Failure;
use crate::{config::ProviderChoice, parity::agreement::Disagreement};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// [`Action::Load`]: it is done, and what was loaded is in place.
    Loaded,
    /// [`Action::Load`]: it failed; nothing runs.
    LoadFailed(Failure),
    /// [`Action::Build`]: there is a candidate (or, where nothing ran, it is in place).
    Built,
    /// [`Action::Build`]: it failed; what runs goes on.
    BuildFailed(Failure),
    /// [`Action::Compare`]: this is how far the candidate is from what runs.
    Compared(Disagreement),
    /// [`Action::Compare`]: the candidate does not run.
    CompareFailed(Failure),
    /// [`Action::Swap`]: the candidate is in place.
    Swapped,
    /// [`Action::Swap`]: it could not be put in place and is gone; what ran goes on.
    SwapFailed(Failure),
    /// [`Action::Discard`]: the candidate is gone.
    Discarded,
    /// What runs failed with a frame.
    RunFailed(Failure),
    /// What runs worked again.
    RunSucceeded,
}

impl Event {
    /// What failed.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::LoadFailed(failure)
            | Self::BuildFailed(failure)
            | Self::CompareFailed(failure)
            | Self::SwapFailed(failure)
            | Self::RunFailed(failure) => Some(failure),
            Self::Loaded | Self::Built | Self::Compared(_) | Self::Swapped | Self::Discarded | Self::RunSucceeded => {
                None
            }
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let go of what runs, wait for `after`, load on this provider and put it in place.
    Load {
        /// Where.
        provider: ProviderChoice,
        /// First wait for so long.
        after: Duration,
    },
    /// Build what this provider needs and load a candidate with it, while what runs goes on.
    Build {
        /// Where.
        provider: ProviderChoice,
    },
    /// Measure how far the candidate's answers are from those of what runs.
    Compare,
    /// Put the candidate in place of what runs, between two frames.
    Swap,
    /// Free the candidate.
    Discard,
    /// Nothing is left to try: deactivate, with the reason in [`Standing`].
    GiveUp,
    /// CUDA's context of this process is lost ([`FailureKind::ContextLost`]): load, build, run and free nothing any more,
    /// and end the process, with the reason in [`Standing`], so that another can use the GPU. Whether the CPU may stand
    /// in is no matter: the process that is started anew finds out what can be had.
    End,
}

impl Action {
    /// Nothing follows it.
    pub(super) fn is_last(self) -> bool {
        matches!(self, Self::GiveUp | Self::End)
    }
}
