//! One place for the newest item. Putting never blocks; what was not taken in time is displaced.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// A slot that holds the newest item only.
#[derive(Debug)]
pub struct Mailbox<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    stopped: bool,
}

/// What [`Mailbox::take`] came back with.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The newest item.
    Item(T),
    /// The deadline passed.
    TimedOut,
    /// [`Mailbox::stop`] was called.
    Stopped,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { item: None, stopped: false }), changed: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts the newest item. Returns what nobody will take: the older item it displaces, or, once stopped, itself.
    pub fn put(&self, item: T) -> Option<T> {
        let mut slot = self.lock();
        if slot.stopped {
            return Some(item);
        }
        let displaced = slot.item.replace(item);
        drop(slot);
        self.changed.notify_one();
        displaced
    }

    /// Waits for an item until `deadline` (None = without end). A stop wins over an item.
    pub fn take(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut slot = self.lock();
        loop {
            if slot.stopped {
                return Taken::Stopped;
            }
            if let Some(item) = slot.item.take() {
                return Taken::Item(item);
            }
            slot = match deadline {
                None => self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Taken::TimedOut;
                    }
                    self.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Ends every present and later [`Self::take`] with [`Taken::Stopped`]. Returns the item that was waiting.
    pub fn stop(&self) -> Option<T> {
        let mut slot = self.lock();
        slot.stopped = true;
        let waiting = slot.item.take();
        drop(slot);
        self.changed.notify_all();
        waiting
    }

    /// Was [`Self::stop`] called?
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    // A panic elsewhere cannot leave the slot half-changed: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    #[test]
    fn the_newest_item_wins_and_the_older_comes_back() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.put(1), None);
        assert_eq!(mailbox.put(2), Some(1));
        assert_eq!(mailbox.take(None), Taken::Item(2));
        assert_eq!(mailbox.take(Some(Instant::now())), Taken::TimedOut);
    }

    #[test]
    fn a_thousand_items_keep_one_place() {
        let mailbox = Mailbox::default();
        let displaced: Vec<u32> = (0..1000).filter_map(|n| mailbox.put(n)).collect();
        assert_eq!(displaced, (0..999).collect::<Vec<_>>());
        assert_eq!(mailbox.take(None), Taken::Item(999));
    }

    #[test]
    fn a_waiting_taker_gets_what_is_put() {
        let mailbox = Arc::new(Mailbox::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(None)
        });
        mailbox.put(7);
        assert_eq!(taker.join().unwrap(), Taken::Item(7));
    }

    #[test]
    fn a_stop_ends_a_taker_that_waits_without_end() {
        let mailbox = Arc::new(Mailbox::<u32>::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(None)
        });
        mailbox.stop();
        assert_eq!(taker.join().unwrap(), Taken::Stopped);
    }

    #[test]
    fn after_a_stop_nothing_is_kept() {
        let mailbox = Mailbox::default();
        mailbox.put(1);
        assert_eq!(mailbox.stop(), Some(1), "what waited comes back");
        assert_eq!(mailbox.put(2), Some(2), "what comes later comes back at once");
        assert_eq!(mailbox.take(Some(Instant::now() + Duration::from_secs(60))), Taken::Stopped);
    }
}
