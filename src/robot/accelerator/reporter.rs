//! The loop's way to the supervisor.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
    mpsc::SyncSender,
};

use tokio::sync::watch;

use super::{Event, Failure, Standing};
use crate::perceive::{FrameError, infer::FailureKind};

/// Reports that wait while something long is done. More are left out: they say the same.
pub(super) const INBOX: usize = 16;

/// Tells the supervisor how the runs go. Never blocks; a run that works costs one look at an atomic.
#[derive(Debug, Clone)]
pub struct Reporter {
    sender: SyncSender<Message>,
    ailing: Arc<AtomicBool>,
    /// Not the thread's own: what is told is over where the thread is.
    told: Weak<watch::Sender<Standing>>,
}

impl Reporter {
    pub(super) fn new(sender: SyncSender<Message>, told: Weak<watch::Sender<Standing>>) -> Self {
        Self { sender, ailing: Arc::default(), told }
    }

    /// Wakes the thread if it waits; a full inbox means that it does not.
    pub(super) fn stop(&self) {
        let _ = self.sender.try_send(Message::Stop);
    }

    /// The model worked.
    pub fn succeeded(&self) {
        if self.ailing.load(Ordering::Relaxed) && self.sender.try_send(Message::Succeeded).is_ok() {
            self.ailing.store(false, Ordering::Relaxed);
        }
    }

    /// The model failed. Errors that are not the model's are not for here.
    pub fn failed(&self, error: &FrameError) {
        self.ailing.store(true, Ordering::Relaxed);
        let failure = Failure::from(error);
        // Told at once: the thread may be in the middle of something that takes minutes.
        if failure.kind == FailureKind::ContextLost
            && let Some(told) = self.told.upgrade()
        {
            told.send_if_modified(|told| {
                let is_new = told.ends.is_none();
                if is_new {
                    *told = Standing::ending(told.on, &failure);
                }
                is_new
            });
        }
        let _ = self.sender.try_send(Message::Failed(failure));
    }
}

/// What waits for the thread.
#[derive(Debug)]
pub(super) enum Message {
    Succeeded,
    Failed(Failure),
    Stop,
}

impl Message {
    pub fn event(self) -> Option<Event> {
        match self {
            Self::Succeeded => Some(Event::RunSucceeded),
            Self::Failed(failure) => Some(Event::RunFailed(failure)),
            Self::Stop => None,
        }
    }
}
