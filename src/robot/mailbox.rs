//! One place for the newest item. Putting never blocks; what was not taken in time is displaced.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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
    /// Items put so far, wrapping: tells a newer one from the one that was there.
    puts: u64,
    stopped: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { item: None, puts: 0, stopped: false }), changed: Condvar::new() }
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
        slot.puts = slot.puts.wrapping_add(1);
        drop(slot);
        self.changed.notify_one();
        Ok(displaced)
    }

    /// Waits for an item. None: stopped. A stop wins over an item.
    ///
    /// An item that is already there is held back for `patience` in case a newer one displaces it.
    pub fn take(&self, patience: impl FnOnce() -> Duration) -> Option<T> {
        let mut slot = self.lock();
        if slot.item.is_some() {
            let (until, puts) = (Instant::now() + patience(), slot.puts);
            while slot.puts == puts && !slot.stopped {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                slot = self.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
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

    fn at_once() -> Duration {
        Duration::ZERO
    }

    fn an_hour() -> Duration {
        Duration::from_secs(3600)
    }

    #[test]
    fn the_newest_item_wins_and_the_older_comes_back() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.put(1), Ok(None));
        assert_eq!(mailbox.put(2), Ok(Some(1)));
        assert_eq!(mailbox.take(at_once), Some(2));
    }

    #[test]
    fn a_thousand_items_keep_one_place() {
        let mailbox = Mailbox::default();
        let displaced: Vec<u32> = (0..1000).filter_map(|n| mailbox.put(n).unwrap()).collect();
        assert_eq!(displaced, (0..999).collect::<Vec<_>>());
        assert_eq!(mailbox.take(at_once), Some(999));
    }

    #[test]
    fn a_waiting_taker_gets_what_is_put() {
        let mailbox = Arc::new(Mailbox::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(at_once)
        });
        mailbox.put(7).unwrap();
        assert_eq!(taker.join().unwrap(), Some(7));
    }

    #[test]
    fn a_stop_ends_a_taker_that_waits() {
        let mailbox = Arc::new(Mailbox::<u32>::default());
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(at_once)
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
        assert_eq!(mailbox.take(at_once), None);
    }

    #[test]
    fn an_item_held_back_gives_way_to_a_newer_one() {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.put(1).unwrap();
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(an_hour)
        });
        // Wherever the taker is by now, it has not taken the first: it has an hour.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(mailbox.put(2), Ok(Some(1)));
        // A taker that saw only the second holds that one back.
        mailbox.put(3).unwrap();
        assert!(matches!(taker.join().unwrap(), Some(2 | 3)));
    }

    #[test]
    fn an_item_held_back_is_taken_when_none_comes() {
        let mailbox = Mailbox::default();
        mailbox.put(1).unwrap();
        assert_eq!(mailbox.take(|| Duration::from_millis(5)), Some(1));
    }

    #[test]
    fn a_stop_ends_the_holding_back() {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.put(1).unwrap();
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.take(an_hour)
        });
        thread::sleep(Duration::from_millis(20));
        assert_eq!(mailbox.stop(), Some(1));
        assert_eq!(taker.join().unwrap(), None);
    }
}
