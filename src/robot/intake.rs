//! Where frames come in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    Health, Mailbox,
    accounting::{DropReason, Outcome},
    cadence::Cadence,
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
    cadence: Mutex<Cadence>,
    health: Arc<Health>,
}

impl<I> Intake<I> {
    /// An empty one that counts in `health`.
    pub fn new(health: Arc<Health>) -> Self {
        Self { mailbox: Mailbox::default(), cadence: Mutex::default(), health }
    }

    /// Takes a frame in. Never blocks on the work. A frame that still waited is dropped and counted.
    pub fn offer(&self, frame: I) {
        let now = Instant::now();
        self.health.arrived(now);
        self.cadence().tick(now);
        match self.mailbox.put(frame) {
            Ok(None) => {}
            Ok(Some(_older)) => self.health.ended(Outcome::Dropped(DropReason::Superseded)),
            Err(_refused) => self.health.ended(Outcome::Dropped(DropReason::Stopped)),
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

    /// Waits for the newest frame; where a newer one is about to arrive, for that. None: stopped.
    pub(crate) fn take(&self) -> Option<I> {
        self.mailbox.take(|| self.cadence().patience(Instant::now()))
    }

    // Half a tick is no tick: a panic elsewhere does no harm.
    fn cadence(&self) -> MutexGuard<'_, Cadence> {
        self.cadence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_burst_keeps_the_newest_and_counts_the_rest() {
        let intake = Intake::new(Arc::new(Health::default()));
        (0..1000).for_each(|n| intake.offer(n));
        assert_eq!(intake.take(), Some(999));
        let counts = intake.health().snapshot(Instant::now()).counts;
        assert_eq!((counts.frames_in, counts.dropped, counts.waiting), (1000, 999, 1));
        assert_eq!(counts.dropped_by["superseded"], 999);
    }

    #[test]
    fn nothing_is_lost_at_a_stop() {
        let intake = Intake::new(Arc::new(Health::default()));
        intake.offer(1);
        intake.stop();
        intake.stop();
        intake.offer(2);
        let counts = intake.health().snapshot(Instant::now()).counts;
        assert_eq!((counts.frames_in, counts.dropped_by["stopped"], counts.waiting), (2, 2, 0));
    }

    #[test]
    fn counts_add_up_at_every_moment_under_threads() {
        let intake = Intake::new(Arc::new(Health::default()));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let producers: Vec<_> = (0..3).map(|_| scope.spawn(|| (0..20_000).for_each(|n| intake.offer(n)))).collect();
            scope.spawn(|| {
                while let Some(n) = intake.take() {
                    let outcome = match n % 3 {
                        0 => Outcome::Dropped(DropReason::TooOld),
                        1 => Outcome::Rejected(crate::perceive::RejectReason::BadImage),
                        _ => Outcome::Processed,
                    };
                    intake.health().ended(outcome);
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let c = intake.health().snapshot(Instant::now()).counts;
                    assert_eq!(c.frames_in, c.processed + c.dropped + c.rejected + c.waiting);
                    // One in the mailbox, one taken, and one per producer displaced or not yet put.
                    assert!(c.waiting <= 5, "{}", c.waiting);
                }
            });
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            intake.stop();
            done.store(true, Ordering::Relaxed);
        });
        let counts = intake.health().snapshot(Instant::now()).counts;
        assert_eq!((counts.frames_in, counts.waiting), (60_000, 0));
    }
}
