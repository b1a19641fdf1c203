//! The node's mind without ROS: newest-wins mailbox, frame admission, accounting, the loop.
//!
//! ```text
//! Intake::offer (any thread, never blocks) -> mailbox (one place, newest wins)
//!   -> run (its own thread): Incoming::frame -> admission -> Pipeline -> Sink::publish
//! Health: what both sides count; Health::snapshot for status, Summary at the end
//! ```
//!
//! Every frame offered has exactly one end: processed, dropped for a reason, or rejected for a reason.

mod accounting;
mod admission;
mod health;
mod intake;
mod mailbox;
mod silence;
mod statistics;

pub use accounting::{Counts, DropReason};
pub use admission::{Admission, AdmissionSettings, Verdict};
pub use health::{Health, HealthSnapshot, Summary};
pub use intake::{Incoming, Intake};
pub use mailbox::{Mailbox, Taken};
pub use silence::{InputFacts, PublisherFacts, SilenceLevel, SilenceReport, SilenceWatch};
