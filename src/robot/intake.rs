//! Where frames and orders come in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Health, Mailbox, Order, Outlook, Taken,
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

/// The door between the threads that receive and the thread that processes: counts each camera's frames, keeps its newest
/// only, and passes orders on. `I` are messages, `A` are the answers of a [`super::Sink`].
#[derive(Debug)]
pub struct Intake<I, A> {
    mailbox: Mailbox<I, Order<A>>,
    cameras: Vec<Camera>,
    disabled: AtomicBool,
}

#[derive(Debug)]
struct Camera {
    cadence: Mutex<Cadence>,
    health: Arc<Health>,
}

impl<I, A> Intake<I, A> {
    /// An empty one with a place for each camera, which counts in its `Health`.
    pub fn new(cameras: impl IntoIterator<Item = Arc<Health>>) -> Self {
        let cameras: Vec<_> = cameras.into_iter().map(|health| Camera { cadence: Mutex::default(), health }).collect();
        Self { mailbox: Mailbox::new(cameras.len()), cameras, disabled: AtomicBool::new(false) }
    }

    /// Takes a camera's frame in. Never blocks on the work. A frame of it that still waited is dropped and counted.
    pub fn offer(&self, camera: usize, frame: I) {
        let Some(Camera { cadence, health }) = self.cameras.get(camera) else { return };
        let now = Instant::now();
        health.arrived(now);
        lock(cadence).tick(now);
        if !self.is_enabled() {
            return health.ended(Outcome::Dropped(DropReason::Disabled));
        }
        match self.mailbox.put(camera, frame) {
            Ok(None) => {}
            Ok(Some(_older)) => health.ended(Outcome::Dropped(DropReason::Superseded)),
            Err(_refused) => health.ended(Outcome::Dropped(DropReason::Stopped)),
        }
        // Disabled in between, the places were emptied before this frame was put.
        if !self.is_enabled() {
            self.drop_waiting(camera);
        }
    }

    /// Has the loop do something between two frames.
    ///
    /// # Errors
    /// The order itself, once stopped.
    pub fn order(&self, order: Order<A>) -> Result<(), Order<A>> {
        self.mailbox.order(order)
    }

    /// While disabled, all frames are dropped and counted. The frame at work is finished.
    pub fn set_enabled(&self, enabled: bool) {
        self.disabled.store(!enabled, Ordering::SeqCst);
        if !enabled {
            (0..self.cameras.len()).for_each(|camera| self.drop_waiting(camera));
        }
    }

    /// A camera's frame does not wait any more, the node being disabled.
    fn drop_waiting(&self, camera: usize) {
        if self.mailbox.take_now(camera).is_some() {
            self.cameras[camera].health.ended(Outcome::Dropped(DropReason::Disabled));
        }
    }

    /// Are frames processed?
    pub fn is_enabled(&self) -> bool {
        !self.disabled.load(Ordering::SeqCst)
    }

    /// Makes [`super::run`] finish its frame, obey the orders given so far and return. Frames offered later are dropped and
    /// counted.
    pub fn stop(&self) {
        for (place, _frame) in self.mailbox.stop() {
            self.cameras[place].health.ended(Outcome::Dropped(DropReason::Stopped));
        }
    }

    /// What is counted of a camera's frames, by its place.
    pub fn healths(&self) -> impl Iterator<Item = &Arc<Health>> {
        self.cameras.iter().map(|camera| &camera.health)
    }

    /// Waits for an order, or for the newest frame of a camera that is `wanted`, until `until`; where a newer frame is about
    /// to arrive, for that. Work on a frame takes about `busy`: of several cameras, one whose next frame is due within that
    /// time lets others go first.
    pub(crate) fn take(
        &self,
        wanted: impl Fn(usize) -> bool,
        until: Option<Instant>,
        busy: Duration,
    ) -> Taken<I, Order<A>> {
        let outlook = |place: usize| {
            let now = Instant::now();
            self.cameras.get(place).map_or_else(Outlook::default, |camera| {
                let cadence = lock(&camera.cadence);
                Outlook { patience: cadence.patience(now), displaced_soon: cadence.is_due(now, now + busy) }
            })
        };
        self.mailbox.take(wanted, until, outlook)
    }

    /// The frame of a camera that waits, if one does.
    pub(crate) fn take_now(&self, camera: usize) -> Option<I> {
        self.mailbox.take_now(camera)
    }

    /// The frames of up to `most` cameras that wait now, but of `first`: a newer one of its own may have come since.
    pub(crate) fn take_more(&self, first: usize, most: usize) -> Vec<(usize, I)> {
        self.mailbox.take_more(|camera| camera != first, most)
    }

    /// Forgets the cameras' rhythms.
    pub(crate) fn forget_rhythms(&self) {
        self.cameras.iter().for_each(|camera| *lock(&camera.cadence) = Cadence::default());
    }
}

/// What still waits is counted also where no loop was ever there for it.
impl<I, A> Drop for Intake<I, A> {
    fn drop(&mut self) {
        self.stop();
    }
}

// Half a tick is no tick: a panic elsewhere does no harm.
fn lock(cadence: &Mutex<Cadence>) -> MutexGuard<'_, Cadence> {
    cadence.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use super::*;
    use crate::robot::Counts;

    /// Frames are numbers, answers nothing.
    type Numbers = Intake<u32, ()>;

    fn intake(cameras: usize) -> Numbers {
        Intake::new((0..cameras).map(|_| Arc::new(Health::default())))
    }

    fn counts(intake: &Numbers, camera: usize) -> Counts {
        intake.cameras[camera].health.snapshot(Instant::now()).counts
    }

    fn take(intake: &Numbers) -> Option<(usize, u32)> {
        match intake.take(|_| true, None, Duration::ZERO) {
            Taken::Item { place, item } => Some((place, item)),
            _ => None,
        }
    }

    #[test]
    fn a_burst_keeps_the_newest_and_counts_the_rest() {
        let intake = intake(1);
        (0..1000).for_each(|n| intake.offer(0, n));
        assert_eq!(take(&intake), Some((0, 999)));
        let counts = counts(&intake, 0);
        assert_eq!((counts.frames_in, counts.dropped, counts.waiting), (1000, 999, 1));
        assert_eq!(counts.dropped_by["superseded"], 999);
    }

    #[test]
    fn each_camera_has_its_own_place_and_counts() {
        let intake = intake(2);
        [(0, 1), (1, 10), (1, 11), (2, 20)].into_iter().for_each(|(camera, frame)| intake.offer(camera, frame));
        assert_eq!((take(&intake), take(&intake)), (Some((0, 1)), Some((1, 11))));
        assert_eq!((counts(&intake, 0).frames_in, counts(&intake, 0).dropped), (1, 0));
        assert_eq!((counts(&intake, 1).frames_in, counts(&intake, 1).dropped), (2, 1));
    }

    #[test]
    fn frames_that_go_along_are_other_cameras() {
        let intake = intake(3);
        intake.offer(0, 1);
        assert_eq!(take(&intake), Some((0, 1)));
        // Between the two calls the first camera's next frame may come.
        [(0, 2), (1, 10), (2, 20)].into_iter().for_each(|(camera, frame)| intake.offer(camera, frame));
        assert_eq!(intake.take_more(0, 3), [(1, 10), (2, 20)]);
        assert_eq!(take(&intake), Some((0, 2)));
    }

    #[test]
    fn nothing_is_lost_at_a_stop() {
        let intake = intake(2);
        intake.offer(0, 1);
        intake.stop();
        intake.stop();
        intake.offer(0, 2);
        intake.offer(1, 3);
        assert_eq!((counts(&intake, 0).frames_in, counts(&intake, 0).dropped_by["stopped"]), (2, 2));
        assert_eq!((counts(&intake, 1).frames_in, counts(&intake, 1).dropped_by["stopped"]), (1, 1));
        assert!(intake.order(Order::Settings).is_err());
    }

    #[test]
    fn frames_of_an_intake_that_is_thrown_away_are_counted() {
        let health = Arc::new(Health::default());
        let intake = Numbers::new([health.clone()]);
        intake.offer(0, 1);
        drop(intake);
        let counts = health.snapshot(Instant::now()).counts;
        assert_eq!((counts.waiting, counts.dropped_by["stopped"]), (0, 1));
    }

    #[test]
    fn while_disabled_every_frame_is_dropped_and_counted() {
        let intake = intake(1);
        intake.offer(0, 1);
        intake.set_enabled(false);
        intake.offer(0, 2);
        let disabled = counts(&intake, 0);
        assert_eq!((disabled.frames_in, disabled.dropped_by["disabled"], disabled.waiting), (2, 2, 0));
        intake.set_enabled(true);
        intake.offer(0, 3);
        assert_eq!(take(&intake), Some((0, 3)));
    }

    #[test]
    fn counts_add_up_at_every_moment_under_threads() {
        let intake = intake(2);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let offer = |camera| (0..20_000).for_each(|n| intake.offer(camera, n));
            let producers: Vec<_> = [0, 0, 1].map(|camera| scope.spawn(move || offer(camera))).into_iter().collect();
            scope.spawn(|| {
                while let Some((camera, n)) = take(&intake) {
                    let outcome = match n % 3 {
                        0 => Outcome::Dropped(DropReason::TooOld),
                        1 => Outcome::Rejected(crate::perceive::RejectReason::BadImage),
                        _ => Outcome::Processed,
                    };
                    intake.cameras[camera].health.ended(outcome);
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for camera in 0..2 {
                        let c = counts(&intake, camera);
                        assert_eq!(c.frames_in, c.processed + c.dropped + c.rejected + c.waiting);
                        // One in the mailbox, one taken, and one per producer displaced or not yet put.
                        assert!(c.waiting <= 4, "{}", c.waiting);
                    }
                }
            });
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            intake.stop();
            done.store(true, Ordering::Relaxed);
        });
        for (camera, frames) in [(0, 40_000), (1, 20_000)] {
            let counts = counts(&intake, camera);
            assert_eq!((counts.frames_in, counts.waiting), (frames, 0));
        }
    }
}
