//! Where frames come in.

use std::{sync::Arc, time::Instant};

use super::{
    Health, Mailbox,
    accounting::{DropReason, Outcome},
};
use crate::perceive::{Frame, FrameError};

/// A message that waits to be processed. Nothing about it has been checked before [`Self::frame`].
pub trait Incoming: Send {
    /// Reads the message: once per frame, on the loop's thread.
    ///
    /// # Errors
    /// [`FrameError::BadMessage`] when the bytes are not such a message.
    fn frame(&self) -> Result<Frame<'_>, FrameError>;

    /// When it arrived.
    fn received(&self) -> Instant;
}

/// The door between the threads that receive and the thread that processes: counts, and keeps the newest frame only.
#[derive(Debug)]
pub struct Intake<I> {
    mailbox: Mailbox<I>,
    health: Arc<Health>,
}

impl<I> Intake<I> {
    /// An empty one that counts in `health`.
    pub fn new(health: Arc<Health>) -> Self {
        Self { mailbox: Mailbox::default(), health }
    }

    /// Takes a frame in. Never blocks on the work. A frame that still waited is dropped and counted.
    pub fn offer(&self, frame: I) {
        self.health.arrived(Instant::now());
        if self.mailbox.put(frame).is_some() {
            let stopped = self.mailbox.is_stopped();
            let reason = if stopped { DropReason::Stopped } else { DropReason::Superseded };
            self.health.ended(Outcome::Dropped(reason));
        }
    }

    /// Makes [`super::run`] finish its frame and return. Frames offered later are dropped and counted.
    pub fn stop(&self) {
        if self.mailbox.stop().is_some() {
            self.health.ended(Outcome::Dropped(DropReason::Stopped));
        }
    }

    /// What is counted here.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    pub(crate) fn mailbox(&self) -> &Mailbox<I> {
        &self.mailbox
    }
}
