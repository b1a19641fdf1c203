//! The node's mind without ROS: newest-wins mailbox, frame admission, accounting, the loop.
//!
//! ```text
//! Intake::offer (any thread, never blocks) -> mailbox (one place for each camera, newest wins)
//! Intake::order (any thread)               -> mailbox (a queue, before frames)
//!   -> run (its own thread): Incoming::frame -> admission -> Pipeline -> Sink::publish; orders between frames
//! Health: what both sides count; Health::snapshot for status, Summary at the end
//! ```
//!
//! Depth frames go a way of their own: `depth::DepthInbox` -> `depth::DepthStage`, which a sink asks for its regions' 3D.
//!
//! Every frame offered has exactly one end: processed, dropped for a reason, or rejected for a reason.

#[cfg(feature = "onnx")]
pub mod accelerator;
mod accounting;
mod admission;
mod cadence;
pub mod depth;
#[cfg(feature = "onnx")]
pub mod diagnosis;
mod health;
mod intake;
pub mod lifecycle;
mod log_limit;
mod mailbox;
mod matching;
mod orders;
#[cfg(feature = "onnx")]
mod run;
mod silence;
mod sink;
mod statistics;
mod totals;
pub mod watchdog;
mod windows;

pub use accounting::{Counts, DropReason};
pub use admission::{Admission, AdmissionSettings, Admitted, FrameTimes, Verdict};
pub use health::{FAILURES_UNTIL_BROKEN, Health, HealthSnapshot};
pub use intake::{Incoming, Intake};
pub use mailbox::{Mailbox, Outlook, Taken};
pub use matching::{MatchingQos, Mismatch};
#[cfg(feature = "onnx")]
pub use orders::Swap;
pub use orders::{Detect, DetectError, Order};
#[cfg(feature = "onnx")]
pub use run::{Engine, run};
pub use silence::{InputFacts, PublisherFacts, SilenceLevel, SilenceReport, SilenceWatch, timeout as silence_timeout};
pub use sink::{PublishError, PublishFacts, Sink};
pub use statistics::Percentiles;
pub use totals::{FrameSummary, Summary, Totals};
