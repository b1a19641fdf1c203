//! What the loop can be told to do between two frames.

#[cfg(feature = "onnx")]
use std::fmt;
use std::time::Instant;

use tokio::sync::oneshot;

#[cfg(feature = "onnx")]
use super::Engine;
#[cfg(feature = "onnx")]
use crate::perceive::infer::Released;

/// Done by the loop between two frames, in the order in which they were given; those given before a stop are done. `A` are a
/// [`super::Sink`]'s answers.
#[derive(Debug)]
pub enum Order<A> {
    /// The settings have changed: take them now, also when no frame comes.
    Settings,
    /// Look once.
    Detect(Detect<A>),
    /// Work with another model.
    #[cfg(feature = "onnx")]
    Swap(Swap),
    /// Let go of the hardware: frames are rejected until the next swap.
    #[cfg(feature = "onnx")]
    Release {
        /// Gets what is to be freed. That takes a while: not on the loop's thread.
        done: oneshot::Sender<Released>,
    },
    /// Forget what was learnt of the streams (order of stamps, rhythm, rate) and count from nothing.
    Reset {
        /// Told when it is done.
        done: oneshot::Sender<()>,
    },
}

/// Somebody asks what is to be seen: in the camera's frame that waits, or in the next one that is sound.
#[derive(Debug)]
pub struct Detect<A> {
    /// The camera's place.
    pub camera: usize,
    /// The actions to look for; empty = those of the settings.
    pub affordances: Vec<String>,
    /// Are heatmaps wanted as well?
    pub want_heatmaps: bool,
    /// A frame is waited for until then.
    pub deadline: Instant,
    /// Who asks. Dropped without a word where the loop ends first.
    pub reply: oneshot::Sender<Result<A, DetectError>>,
}

/// Why nothing was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// No frame came in time that could be looked at.
    #[error("no frame came in time{}", .trouble.as_ref().map_or_else(String::new, |text| format!("; the last trouble: {text}")))]
    NoFrame {
        /// What happened to the last frame.
        trouble: Option<String>,
    },
    /// Too many wait already.
    #[error("busy: {waiting} requests wait for a frame already")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The model can't be asked that.
    #[error("{0}")]
    Refused(String),
    /// A frame came, but it could not be looked at.
    #[error("{0}")]
    Failed(String),
}

/// Another model for the loop, or the same on other hardware.
#[cfg(feature = "onnx")]
pub struct Swap {
    /// Its pipeline is checked, loaded and warmed up, and made for the settings in force.
    pub engine: Engine,
    /// Runs on the loop's thread after the last frame of the old model and before the first of the new one.
    pub announce: Box<dyn FnOnce() + Send>,
    /// Gets the old one. Freeing a model takes a while: not on the loop's thread.
    pub done: oneshot::Sender<Engine>,
}

#[cfg(feature = "onnx")]
impl fmt::Debug for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap").field("model", &self.engine.pipeline.contract().model_id()).finish_non_exhaustive()
    }
}
