//! One place for the newest item. Putting never blocks; what was not taken in time is displaced.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { item: None, stopped: false }), changed: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts the newest item. Returns the older one it displaces, if that was not taken.
    ///
    /// # Errors
    /// The item itself, once stopped.
    pub fn put(&self, item: T) -> Result<Option<T>, T> {
        let mut slot = self.lock();
        if slot.stopped {
            return Err(item);
        }
        let displaced = slot.item.replace(item);
        drop(slot);
        self.changed.notify_one();
        Ok(displaced)
    }

    /// Waits for an item. None: stopped. A stop wins over an item.
    pub fn take(&self) -> Option<T> {
        let mut slot = self.lock();
        loop {
            if slot.stopped {
                return None;
            }
            if let Some(item) = slot.item.take() {
                return Some(item);
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends every present and later [`Self::take`] with None. Returns the item that was waiting.
    pub fn stop(&self) -> Option<T> {
        let mut slot = self.lock();
        slot.stopped = true;
        let waiting = slot.item.take();
        drop(slot);
        self.changed.notify_all();
        waiting
    }

    // A panic elsewhere cannot leave the slot half-changed: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn the_newest_item_wins_and_the_older_comes_back() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.put(1), Ok(None));
        assert_eq!(mailbox.put(2), Ok(Some(1)));
        assert_eq!(mailbox.take(), Some(2));
    }

    #[test]
    fn a_thousand_items_keep_one_place() {
        let mailbox = Mailbox::default();
        let displaced: Vec<u32> = (0..1000).filter_map(|n| mailbox.put(n).unwrap()).collect();
        assert_eq!(displaced, (0..999).collect::<Vec<_>>());
        assert_eq!(mailbox.take(), Some(999));
    }

    #[test]
    fn a_waiting_taker_gets_what_is_put() {
        let mailbox = Arc::new(Mailbox::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take()
        });
        mailbox.put(7).unwrap();
        assert_eq!(taker.join().unwrap(), Some(7));
    }

    #[test]
    fn a_stop_ends_a_taker_that_waits() {
        let mailbox = Arc::new(Mailbox::<u32>::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take()
        });
        mailbox.stop();
        assert_eq!(taker.join().unwrap(), None);
    }

    #[test]
    fn after_a_stop_nothing_is_kept() {
        let mailbox = Mailbox::default();
        mailbox.put(1).unwrap();
        assert_eq!(mailbox.stop(), Some(1), "what waited comes back");
        assert_eq!(mailbox.put(2), Err(2), "what comes later comes back at once");
        assert_eq!(mailbox.take(), None);
    }
}
