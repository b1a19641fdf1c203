//! Where results go.

use crate::{
    config::NodeSettings,
    perceive::{
        Frame, Stamp,
        pipeline::{Perception, Wanted},
    },
};

/// What a result says about its own making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishFacts {
    /// Time of publication minus stamp [ns]; negative for a stamp ahead of the clock.
    pub age_nanos: i64,
    /// Frames dropped since the last result.
    pub frames_dropped: u32,
}

/// Why a result could not be published.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish {what}: {cause}")]
pub struct PublishError {
    /// The topic or file.
    pub what: String,
    /// What went wrong.
    pub cause: String,
}

/// Takes the result of every processed frame.
pub trait Sink {
    /// What somebody gets who asked to look once.
    type Answer: Send + 'static;

    /// Takes other settings, from the next frame on.
    fn apply(&mut self, settings: &NodeSettings);

    /// From the next frame on another model works: "<name>:<12 hex digits of its sha256>".
    fn model_changed(&mut self, model_id: &str);

    /// Work on a frame begins: what else belongs to it can be gathered meanwhile. None: its stamp is wrong, so nothing is known
    /// of its moment.
    fn begin(&mut self, _stamp: Option<Stamp>) {}

    /// What has subscribers now; asked before each frame.
    fn wanted(&mut self) -> Wanted;

    /// What belongs to the result and may be waited for; results are as old as they are after it.
    fn complete(&mut self, _frame: &Frame<'_>, _perception: &Perception) {}

    /// Publishes one result. `frame` carries the stamp to publish. Must not wait for subscribers. Gives what could not be
    /// published beside the result itself.
    ///
    /// # Errors
    /// The result itself could not be published; the frame then counts as dropped, and the loop goes on.
    fn publish(
        &mut self,
        frame: &Frame<'_>,
        perception: &Perception,
        facts: &PublishFacts,
    ) -> Result<Vec<PublishError>, PublishError>;

    /// The same result as an answer to whoever asked for it, with what is `wanted` of it and no more.
    fn answer(
        &mut self,
        frame: &Frame<'_>,
        perception: &Perception,
        facts: &PublishFacts,
        wanted: Wanted,
    ) -> Self::Answer;
}
