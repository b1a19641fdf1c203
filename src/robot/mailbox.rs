//! Places for the newest item of each sender, and a queue of orders. Putting never blocks; an item that was not taken in
//! time is displaced, an order never is.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A place may have had so many turns more than another one that waits, and go first.
const MOST_AHEAD: u64 = 1;
/// The most turns that a place gets before others.
const MOST_OWED: u64 = 2;

/// One place for each sender's newest item, which get turns, and a queue of orders, which come first.
#[derive(Debug)]
pub struct Mailbox<T, O> {
    inner: Mutex<Inner<T, O>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner<T, O> {
    places: Vec<Option<T>>,
    /// Items put so far, wrapping: tells whether one came while another was held back.
    puts: u64,
    orders: VecDeque<O>,
    /// The turns that each place has had; see [`Self::turns_of`].
    taken: Vec<u64>,
    /// The most of them.
    most: u64,
    stopped: bool,
}

/// What becomes of an item if it is not taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outlook {
    /// How long it is worth holding back if nobody else waits, in case a newer one displaces it.
    pub patience: Duration,
    /// A newer one will displace it before the taker comes again.
    pub displaced_soon: bool,
}

/// What a taker gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T, O> {
    /// The first of the orders.
    Order(O),
    /// The item of a place.
    Item {
        /// Whose.
        place: usize,
        /// The newest.
        item: T,
    },
    /// Neither came in time.
    TimedOut,
    /// Nothing will come any more.
    Stopped,
}

impl<T, O> Mailbox<T, O> {
    /// One with so many places, all empty.
    pub fn new(places: usize) -> Self {
        let inner = Inner {
            places: (0..places).map(|_| None).collect(),
            puts: 0,
            orders: VecDeque::new(),
            taken: vec![0; places],
            most: 0,
            stopped: false,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Puts the newest item of a place. Returns the older one it displaces, if that was not taken.
    ///
    /// # Errors
    /// The item itself, once stopped, or where there is no such place.
    pub fn put(&self, place: usize, item: T) -> Result<Option<T>, T> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(item);
        }
        let Some(slot) = inner.places.get_mut(place) else { return Err(item) };
        let displaced = slot.replace(item);
        inner.puts = inner.puts.wrapping_add(1);
        drop(inner);
        self.changed.notify_one();
        Ok(displaced)
    }

    /// Adds an order.
    ///
    /// # Errors
    /// The order itself, once stopped.
    pub fn order(&self, order: O) -> Result<(), O> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(order);
        }
        inner.orders.push_back(order);
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for an order, or for an item of a place that is `wanted`, until `until` (None: without end). An order wins over
    /// a stop, a stop over an item; of several items the one whose place had the fewest turns. But one that will be displaced
    /// soon, by its place's `outlook`, lets others go first, even one that had a turn more.
    ///
    /// An item that nobody else waits behind is held back for its place's patience.
    pub fn take(
        &self,
        wanted: impl Fn(usize) -> bool,
        until: Option<Instant>,
        outlook: impl Fn(usize) -> Outlook,
    ) -> Taken<T, O> {
        let mut inner = self.lock();
        // Until when an item is held back, and what had been put by then.
        let mut held = None::<(Instant, u64)>;
        loop {
            if let Some(order) = inner.orders.pop_front() {
                return Taken::Order(order);
            }
            if inner.stopped {
                return Taken::Stopped;
            }
            let now = Instant::now();
            let wake = match inner.next(&wanted, &outlook) {
                Some(next) => {
                    let patience = || outlook(next.place).patience;
                    let (release, puts) = *held.get_or_insert_with(|| (now + patience(), inner.puts));
                    let is_released = next.others_wait || inner.puts != puts || release <= now;
                    if is_released && let Some(item) = inner.take(next.place) {
                        return Taken::Item { place: next.place, item };
                    }
                    Some(release)
                }
                None if until.is_some_and(|until| until <= now) => return Taken::TimedOut,
                None => until,
            };
            inner = match wake {
                Some(wake) => {
                    let wait = wake.saturating_duration_since(now);
                    self.changed.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The item of a place, if one waits there.
    pub fn take_now(&self, place: usize) -> Option<T> {
        self.lock().take(place)
    }

    /// The items of up to `most` wanted places that wait now, those first whose turn is next.
    pub fn take_more(&self, wanted: impl Fn(usize) -> bool, most: usize) -> Vec<(usize, T)> {
        let mut inner = self.lock();
        let mut taken = Vec::with_capacity(most);
        while taken.len() < most
            && let Some(Next { place, .. }) = inner.next(&wanted, |_| Outlook::default())
            && let Some(item) = inner.take(place)
        {
            taken.push((place, item));
        }
        taken
    }

    /// Ends every present and later [`Self::take`] once the orders given so far are taken. Returns the items that were
    /// waiting, with their places.
    pub fn stop(&self) -> Vec<(usize, T)> {
        let mut inner = self.lock();
        inner.stopped = true;
        let waiting = inner.places.iter_mut().enumerate();
        let waiting = waiting.filter_map(|(place, item)| Some((place, item.take()?))).collect();
        drop(inner);
        self.changed.notify_all();
        waiting
    }

    // A panic elsewhere cannot leave anything half-changed: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Inner<T, O>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place whose turn it is.
struct Next {
    place: usize,
    /// Other wanted places hold items as well.
    others_wait: bool,
}

impl<T, O> Inner<T, O> {
    fn next(&self, wanted: impl Fn(usize) -> bool, outlook: impl Fn(usize) -> Outlook) -> Option<Next> {
        let waits = |place: &usize| self.places[*place].is_some() && wanted(*place);
        let waiting = || (0..self.places.len()).filter(waits);
        let fewest = waiting().map(|place| self.turns_of(place)).min()?;
        let others_wait = waiting().nth(1).is_some();
        let place = waiting()
            .filter(|place| self.turns_of(*place) <= fewest + MOST_AHEAD)
            .min_by_key(|place| (others_wait && outlook(*place).displaced_soon, self.turns_of(*place)))?;
        Some(Next { place, others_wait })
    }

    /// So many turns a place has had. What had nothing to take for long is not owed all that it missed.
    fn turns_of(&self, place: usize) -> u64 {
        self.taken[place].max(self.most.saturating_sub(MOST_OWED))
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let item = self.places.get_mut(place)?.take()?;
        self.taken[place] = self.turns_of(place) + 1;
        self.most = self.most.max(self.taken[place]);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    /// What a taker without special wishes gets.
    fn take<T, O>(mailbox: &Mailbox<T, O>) -> Taken<T, O> {
        mailbox.take(|_| true, None, |_| Outlook::default())
    }

    fn patient(patience: Duration) -> Outlook {
        Outlook { patience, ..Outlook::default() }
    }

    /// A taker that holds items back for an hour.
    fn take_patiently<T, O>(mailbox: &Mailbox<T, O>) -> Taken<T, O> {
        mailbox.take(|_| true, None, |_| patient(Duration::from_secs(3600)))
    }

    fn item<T>(place: usize, item: T) -> Taken<T, &'static str> {
        Taken::Item { place, item }
    }

    #[test]
    fn the_newest_item_wins_and_the_older_comes_back() {
        let mailbox = Mailbox::new(1);
        assert_eq!(mailbox.put(0, 1), Ok(None));
        assert_eq!(mailbox.put(0, 2), Ok(Some(1)));
        assert_eq!(take(&mailbox), item(0, 2));
    }

    #[test]
    fn a_thousand_items_keep_one_place() {
        let mailbox = Mailbox::new(1);
        let displaced: Vec<u32> = (0..1000).filter_map(|n| mailbox.put(0, n).unwrap()).collect();
        assert_eq!(displaced, (0..999).collect::<Vec<_>>());
        assert_eq!(take(&mailbox), item(0, 999));
    }

    #[test]
    fn places_take_turns_however_often_one_is_filled() {
        let mailbox = Mailbox::new(3);
        let mut taken = Vec::new();
        for n in 0..9 {
            // The first camera is always faster than its turn.
            mailbox.put(0, n).unwrap();
            mailbox.put(0, n).unwrap();
            mailbox.put(1, n).unwrap();
            mailbox.put(2, n).unwrap();
            match take(&mailbox) {
                Taken::Item { place, item } => taken.push((place, item)),
                other => panic!("{other:?}"),
            }
            let _: &Mailbox<_, &str> = &mailbox;
        }
        let places: Vec<usize> = taken.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert!(taken.iter().enumerate().all(|(n, (_, item))| *item == n), "always the newest: {taken:?}");
    }

    #[test]
    fn an_item_that_is_displaced_soon_lets_others_go_first_but_not_twice() {
        let mailbox = Mailbox::<_, &str>::new(3);
        let refill = || (0..3).for_each(|place| assert!(mailbox.put(place, place).is_ok()));
        // Items of the first two places are always about to be displaced.
        let mut places = (0..9).map(|_| {
            refill();
            match mailbox.take(|_| true, None, |place| Outlook { displaced_soon: place < 2, ..Outlook::default() }) {
                Taken::Item { place, .. } => place,
                other => panic!("{other:?}"),
            }
        });
        let places: [usize; 9] = std::array::from_fn(|_| places.next().unwrap());
        assert_eq!(places, [2, 2, 0, 1, 2, 0, 1, 2, 0], "one turn ahead, and no more");
        refill();
        let displaced_all = |_| Outlook { displaced_soon: true, ..Outlook::default() };
        assert_eq!(mailbox.take(|_| true, None, displaced_all), item(1, 1), "all are: turns as ever");
        assert_eq!(mailbox.take(|place| place == 0, None, displaced_all), item(0, 0), "alone it does not wait");
    }

    #[test]
    fn a_place_that_was_empty_for_long_does_not_get_all_that_it_missed() {
        let mailbox = Mailbox::<_, &str>::new(2);
        let mut taken = Vec::new();
        for n in 0..20 {
            mailbox.put(0, n).unwrap();
            if n >= 10 {
                mailbox.put(1, n).unwrap();
            }
            match take(&mailbox) {
                Taken::Item { place, .. } => taken.push(place),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(taken[10..], [1, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn only_wanted_places_are_emptied() {
        let mailbox = Mailbox::new(2);
        mailbox.put(0, 1).unwrap();
        mailbox.put(1, 2).unwrap();
        let now = Some(Instant::now());
        assert_eq!(mailbox.take(|place| place == 1, now, |_| Outlook::default()), item(1, 2));
        assert_eq!(mailbox.take(|place| place == 1, now, |_| Outlook::default()), Taken::TimedOut);
        assert_eq!(mailbox.take_now(0), Some(1));
        assert_eq!(mailbox.take_now(0), None);
        assert_eq!(mailbox.put(2, 3), Err(3), "there is no such place");
    }

    #[test]
    fn more_places_are_emptied_by_turns() {
        let mailbox = Mailbox::<_, &str>::new(4);
        (0..4).for_each(|place| assert_eq!(mailbox.put(place, place), Ok(None)));
        assert_eq!(take(&mailbox), item(0, 0));
        mailbox.put(0, 9).unwrap();
        assert_eq!(mailbox.take_more(|place| place != 2, 2), [(1, 1), (3, 3)]);
        assert_eq!(
            mailbox.take_more(|_| true, 9),
            [(2, 2), (0, 9)],
            "the one that was not wanted has had the fewest turns"
        );
        assert_eq!(mailbox.take_more(|_| true, 9), []);
    }

    #[test]
    fn orders_come_first_and_in_their_order() {
        let mailbox = Mailbox::new(1);
        mailbox.put(0, 1).unwrap();
        mailbox.order("first").unwrap();
        mailbox.order("second").unwrap();
        assert_eq!(take(&mailbox), Taken::Order("first"));
        assert_eq!(take(&mailbox), Taken::Order("second"));
        assert_eq!(take(&mailbox), item(0, 1));
    }

    #[test]
    fn a_waiting_taker_gets_what_is_put() {
        let mailbox = Arc::new(Mailbox::new(1));
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || take(&mailbox)
        });
        // Time for it to wait.
        thread::sleep(Duration::from_millis(20));
        mailbox.put(0, 7).unwrap();
        assert_eq!(taker.join().unwrap(), item(0, 7));
    }

    #[test]
    fn a_stop_ends_a_taker_that_waits() {
        let mailbox = Arc::new(Mailbox::<u32, &str>::new(1));
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || take(&mailbox)
        });
        // Time for it to wait.
        thread::sleep(Duration::from_millis(20));
        mailbox.stop();
        assert_eq!(taker.join().unwrap(), Taken::Stopped);
    }

    #[test]
    fn after_a_stop_only_orders_given_before_it_are_taken() {
        let mailbox = Mailbox::new(2);
        mailbox.put(1, 1).unwrap();
        mailbox.order("an order").unwrap();
        assert_eq!(mailbox.stop(), [(1, 1)], "what waited comes back");
        assert_eq!(mailbox.put(0, 2), Err(2), "what comes later comes back at once");
        assert_eq!(mailbox.order("another"), Err("another"));
        assert_eq!(take(&mailbox), Taken::Order("an order"));
        assert_eq!(take(&mailbox), Taken::Stopped);
    }

    #[test]
    fn an_item_held_back_gives_way_to_a_newer_one() {
        let mailbox = Arc::new(Mailbox::new(1));
        mailbox.put(0, 1).unwrap();
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || take_patiently(&mailbox)
        });
        // Wherever the taker is by now, it has not taken the first: it has an hour.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(mailbox.put(0, 2), Ok(Some(1)));
        // A taker that comes late holds back what it finds, until a newer one is there.
        let mut newest = 3;
        while !taker.is_finished() {
            mailbox.put(0, newest).unwrap();
            newest += 1;
            thread::sleep(Duration::from_millis(1));
        }
        let taken = taker.join().unwrap();
        assert!((2..newest).any(|n| taken == item(0, n)), "{taken:?}");
    }

    #[test]
    fn an_item_is_not_held_back_while_another_place_waits() {
        let mailbox = Mailbox::new(2);
        mailbox.put(0, 1).unwrap();
        mailbox.put(1, 2).unwrap();
        assert_eq!(take_patiently(&mailbox), item(0, 1));
        mailbox.order("an order").unwrap();
        assert_eq!(take_patiently(&mailbox), Taken::Order("an order"));
    }

    #[test]
    fn an_item_held_back_is_taken_when_none_comes() {
        let mailbox = Mailbox::new(1);
        mailbox.put(0, 1).unwrap();
        assert_eq!(mailbox.take(|_| true, None, |_| patient(Duration::from_millis(5))), item(0, 1));
    }

    #[test]
    fn a_stop_ends_the_holding_back() {
        let mailbox = Arc::new(Mailbox::<_, &str>::new(1));
        mailbox.put(0, 1).unwrap();
        let taker = thread::spawn({
            let mailbox = mailbox.clone();
            move || take_patiently(&mailbox)
        });
        thread::sleep(Duration::from_millis(20));
        assert_eq!(mailbox.stop(), [(0, 1)]);
        assert_eq!(taker.join().unwrap(), Taken::Stopped);
    }
}
