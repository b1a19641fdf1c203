//! Watches over work that cannot be interrupted: a run of the model, a load of one.
//!
//! ```text
//! loop, loader: Pulse::begin -> the work -> the Beat is dropped
//! watchdog, a thread of its own: Pulse::busy_for, many times per limit -> slow (a third of it), hung (all of it)
//! ```
//!
//! A thread that hangs within ONNX Runtime can be neither stopped nor joined, so nothing here waits for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Work is slow from this part of its limit on.
const SLOW_PART: u32 = 3;
/// Loading a model may take so many times as long as a frame.
const LOAD_FACTOR: u32 = 60;
/// How often the watchdog looks within a limit, and the bounds of that.
const LOOKS: u32 = 30;
const SHORTEST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// How long the process may take to end after the watchdog has told that something hangs.
const GRACE: Duration = Duration::from_secs(2);

/// Says since when somebody is at work. There may be several workers: what counts is who has been at it longest.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Vec<Option<Instant>>>);

/// The work lasts for as long as this lives.
#[derive(Debug)]
#[must_use = "the work ends where this is dropped"]
pub struct Beat<'a> {
    pulse: &'a Pulse,
    /// Its place among the workers.
    place: usize,
}

impl Pulse {
    /// Work begins now.
    pub fn begin(&self) -> Beat<'_> {
        let (began, mut workers) = (Some(Instant::now()), self.workers());
        let place = workers.iter().position(Option::is_none).unwrap_or(workers.len());
        match workers.get_mut(place) {
            Some(free) => *free = began,
            None => workers.push(began),
        }
        Beat { pulse: self, place }
    }

    /// For how long the work at hand has lasted at the moment `now`; None while nobody is at work.
    pub fn busy_for(&self, now: Instant) -> Option<Duration> {
        let began = self.workers().iter().flatten().min().copied()?;
        Some(now.saturating_duration_since(began))
    }

    // Every change is one assignment: a panic elsewhere leaves nothing half-done.
    fn workers(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.pulse.workers().get_mut(self.place) {
            *place = None;
        }
    }
}

/// The most that loading a model may take, its first run included: TensorRT builds its engines in it, which takes minutes.
pub fn load_limit(inference_timeout: Duration) -> Duration {
    inference_timeout * LOAD_FACTOR
}

/// Has work that lasts so long taken more than its share of `limit`? Then somebody should hear of it.
pub fn is_slow(busy: Duration, limit: Duration) -> bool {
    busy >= limit / SLOW_PART
}

/// What is watched.
pub struct Watched {
    /// What the work is, as in "... has taken 10.0 s".
    pub what: String,
    /// The parameter that sets its limit, and how.
    pub limited_by: &'static str,
    /// Its worker's.
    pub pulse: Arc<Pulse>,
    /// The most it may take; may change at any time.
    pub limit: Box<dyn Fn() -> Duration + Send>,
}

/// Work took all of its limit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what} hangs: it has taken {:.1} s, over its limit of {:.1} s ({limited_by})", .busy.as_secs_f64(), .limit.as_secs_f64())]
pub struct Hung {
    /// What the work is.
    pub what: String,
    /// How long it has lasted.
    pub busy: Duration,
    /// The most it may take.
    pub limit: Duration,
    /// The parameter that sets the limit.
    pub limited_by: &'static str,
}

/// Who is called when something hangs.
pub struct Alarm {
    /// Told once. False: the process ends already, and nobody wants to know.
    pub tell: Box<dyn FnOnce(Hung) -> bool + Send>,
    /// Ends the process at once. Called where it is still there 2 s after the verdict, because something else hangs too.
    pub last_resort: fn() -> !,
}

/// Watches on a thread of its own until all pulses but those held here are gone, or one hangs. Slow work is logged, once.
///
/// # Errors
/// The system gives no thread.
pub fn start(watched: Vec<Watched>, alarm: Alarm) -> std::io::Result<()> {
    let mut patients: Vec<Patient> = watched.into_iter().map(Patient::new).collect();
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        loop {
            let now = Instant::now();
            patients.retain(|patient| patient.pulse.strong_count() > 0);
            if let Some(hung) = patients.iter_mut().find_map(|patient| patient.look(now)) {
                if (alarm.tell)(hung) {
                    thread::sleep(GRACE);
                    (alarm.last_resort)();
                }
                return;
            }
            let Some(shortest) = patients.iter().map(|patient| (patient.limit)()).min() else { return };
            thread::sleep((shortest / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK));
        }
    })?;
    Ok(())
}

struct Patient {
    what: String,
    limited_by: &'static str,
    pulse: Weak<Pulse>,
    limit: Box<dyn Fn() -> Duration + Send>,
    was_slow: bool,
}

impl Patient {
    fn new(watched: Watched) -> Self {
        let Watched { what, limited_by, pulse, limit } = watched;
        Self { what, limited_by, pulse: Arc::downgrade(&pulse), limit, was_slow: false }
    }

    fn look(&mut self, now: Instant) -> Option<Hung> {
        let busy = self.pulse.upgrade().and_then(|pulse| pulse.busy_for(now)).unwrap_or_default();
        let limit = (self.limit)();
        let is_slow = is_slow(busy, limit);
        if is_slow && !self.was_slow {
            let (what, busy, limit) = (&self.what, busy.as_secs_f64(), limit.as_secs_f64());
            tracing::error!("{what} has taken {busy:.1} s; after {limit:.1} s ({}) the node ends", self.limited_by);
        } else if self.was_slow && !is_slow {
            tracing::info!("{} has come to its end", self.what);
        }
        self.was_slow = is_slow;
        (busy >= limit).then(|| Hung { what: self.what.clone(), busy, limit, limited_by: self.limited_by })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn patient(pulse: &Arc<Pulse>) -> Patient {
        Patient::new(Watched {
            what: "the run".to_owned(),
            limited_by: "a_parameter",
            pulse: pulse.clone(),
            limit: Box::new(|| Duration::from_secs(30)),
        })
    }

    #[test]
    fn work_is_slow_after_a_third_of_its_limit_and_hangs_after_all_of_it() {
        let pulse = Arc::new(Pulse::default());
        let mut patient = patient(&pulse);
        let beat = pulse.begin();
        let began = Instant::now();
        assert_eq!((patient.look(began), patient.was_slow), (None, false));
        assert_eq!((patient.look(began + Duration::from_secs(9)), patient.was_slow), (None, false));
        assert_eq!((patient.look(began + Duration::from_secs(11)), patient.was_slow), (None, true));
        let hung = patient.look(began + Duration::from_secs(31)).unwrap().to_string();
        assert!(
            hung.starts_with("the run hangs: it has taken 31.0 s, over its limit of 30.0 s (a_parameter)"),
            "{hung}"
        );
        drop(beat);
        assert_eq!((patient.look(began + Duration::from_secs(31)), patient.was_slow), (None, false));
    }

    #[test]
    fn each_piece_of_work_is_measured_from_its_own_begin() {
        let pulse = Pulse::default();
        assert_eq!(pulse.busy_for(Instant::now()), None);
        drop(pulse.begin());
        assert_eq!(pulse.busy_for(Instant::now() + Duration::from_secs(60)), None);
        let before = Instant::now();
        let _beat = pulse.begin();
        let busy = pulse.busy_for(before + Duration::from_secs(60)).unwrap();
        assert!(busy <= Duration::from_secs(60), "{busy:?}");
    }

    #[test]
    fn of_several_workers_the_one_that_began_first_counts_and_its_end_leaves_the_others() {
        let pulse = Pulse::default();
        let first = pulse.begin();
        let between = Instant::now();
        let second = pulse.begin();
        let later = between + Duration::from_secs(60);
        assert!(pulse.busy_for(later).unwrap() >= Duration::from_secs(60));
        drop(first);
        assert!(pulse.busy_for(later).unwrap() <= Duration::from_secs(60));
        let third = pulse.begin();
        drop(second);
        assert!(pulse.busy_for(later).is_some());
        drop(third);
        assert_eq!(pulse.busy_for(later), None);
    }

    fn never() -> ! {
        std::process::abort()
    }

    #[test]
    fn the_thread_tells_of_what_hangs_and_leaves_when_nobody_wants_to_know() {
        let pulse = Arc::new(Pulse::default());
        let watched =
            Watched { limit: Box::new(|| Duration::ZERO), what: "it".to_owned(), limited_by: "", pulse: pulse.clone() };
        let _beat = pulse.begin();
        let (sender, verdicts) = mpsc::channel();
        // Were `false` not heeded, the last resort would end this test.
        let tell = Box::new(move |hung: Hung| sender.send(hung).is_err());
        start(vec![watched], Alarm { tell, last_resort: never }).unwrap();
        assert_eq!(verdicts.recv().unwrap().what, "it");
        assert!(verdicts.recv().is_err(), "the thread has ended");
    }
}
