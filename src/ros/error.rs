//! What stops the node.

use std::path::PathBuf;

use crate::{
    contract::BundleError,
    perceive::{FrameError, InferError},
    robot::{PublishError, accelerator::GaveUp, watchdog::Hung},
};

/// Why the node cannot start, or had to end. One line each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No bundle was named, and none is installed.
    #[error(
        "parameter model: expected a bundle's folder (none was given, and there is no default bundle at {})",
        .tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoModel {
        /// Where a default bundle would lie.
        tried: Vec<PathBuf>,
    },
    /// The bundle is missing, damaged or not what its contract says.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime cannot run the model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// No execution provider can be had.
    #[error(transparent)]
    Hardware(#[from] GaveUp),
    /// The model's hardware is gone.
    #[error("{0}. Remedy: configure the node anew")]
    NothingRuns(String),
    /// The model has no usable answer to a picture of noise.
    #[error("self-test: {0}")]
    SelfTest(FrameError),
    /// rcl refuses: the middleware, the environment (ROS_DOMAIN_ID, RMW_IMPLEMENTATION) or a name.
    #[error("ROS 2: cannot {step}: {cause}")]
    Ros {
        /// What was being done.
        step: String,
        /// rcl's own words.
        cause: String,
    },
    /// A topic cannot be created.
    #[error("ROS 2: {0}")]
    Topic(#[from] PublishError),
    /// The system gives no thread or signal handler.
    #[error("cannot start {what}: {source}")]
    System {
        /// What was to be started.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Something that cannot be interrupted takes too long. Its thread may hang for ever: whoever gets this must wait for
    /// nothing.
    #[error(transparent)]
    Hung(#[from] Hung),
    /// CUDA's context of this process is lost: whoever gets this must free nothing and end the process at once.
    #[error("{0} (launch does so, with respawn)")]
    ContextLost(String),
    /// A thread of the node ended by itself.
    #[error("the {0} thread ended unexpectedly")]
    Ended(&'static str),
}
