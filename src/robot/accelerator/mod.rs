//! Which hardware computes, while the node runs: start at once on what is ready, build TensorRT's engine aside, compare,
//! swap; and what to do when the hardware fails.
//!
//! ```text
//! Prospects -> Plan -> Machine (pure: event in, at most one action out)
//!                        ^ events   | actions
//!                      Supervisor (its own thread) -> Workshop (loads, builds, compares)
//!                        ^ Reporter (the loop: it ran, it failed)      -> Seat (puts a pipeline in, between two frames)
//! ```
//!
//! [`start`] loads what is to run first, on the caller's thread; [`Started::supervise`] does the rest aside.

mod dialogue;
mod machine;
mod model_workshop;
mod plan;
mod reporter;
mod standing;
mod supervisor;
#[cfg(test)]
mod tests;

pub use dialogue::{Action, Event};
pub use machine::Machine;
pub use model_workshop::{BundleSource, ModelWorkshop, from_folder};
pub use plan::Plan;
pub use reporter::Reporter;
pub use standing::Standing;
pub use supervisor::{GaveUp, NotPlaced, Seat, Started, Supervisor, start};

use crate::{
    config::ProviderChoice,
    parity::agreement::Disagreement,
    perceive::{FrameError, InferError, infer::FailureKind},
};

/// What went wrong, for the machine and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is about.
    pub kind: FailureKind,
    /// In words.
    pub text: String,
}

impl Failure {
    /// One of no particular kind.
    pub fn other(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Other, text: text.into() }
    }
}

impl From<&InferError> for Failure {
    fn from(error: &InferError) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

impl From<&FrameError> for Failure {
    fn from(error: &FrameError) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

/// Makes pipelines. Everything here may take long and runs aside of the loop.
pub trait Workshop: Send + 'static {
    /// What runs frames.
    type Pipeline: Send + 'static;
    /// A pipeline's answers to the same few pictures.
    type Answers: Send + 'static;

    /// Loads on this provider and no other, with what is ready: for TensorRT, with engines that were built before.
    ///
    /// # Errors
    /// It can't be had, or does not run.
    fn load(&self, provider: ProviderChoice) -> Result<Self::Pipeline, Failure>;

    /// [`Self::load`], building first what it needs, which takes minutes.
    ///
    /// # Errors
    /// It can't be had, or does not run.
    fn build(&self, provider: ProviderChoice) -> Result<Self::Pipeline, Failure>;

    /// Runs a pipeline that nobody else has on the pictures.
    ///
    /// # Errors
    /// It does not run.
    fn answers(&self, pipeline: &mut Self::Pipeline) -> Result<Self::Answers, Failure>;

    /// How far a candidate's answers lie from those of what runs.
    ///
    /// # Errors
    /// They can't be compared.
    fn disagreement(&self, reference: &Self::Answers, candidate: &Self::Answers) -> Result<Disagreement, Failure>;
}
