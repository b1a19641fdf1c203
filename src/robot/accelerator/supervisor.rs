//! Carries the machine's actions out, on a thread of its own, so that neither the loop nor requests ever wait for them.

use std::{
    fmt, io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Action, Event, Failure, Machine, Plan, Reporter, Standing, Workshop,
    reporter::{INBOX, Message},
};
use crate::config::ProviderChoice;

/// Where a pipeline works. Both are called on the supervisor's thread and must return within a bounded time.
pub trait Seat<P>: Send + 'static {
    /// Puts a pipeline to work from the next frame on. Gives back the one before, so that it is not freed on the loop's
    /// thread. When it returns, no report about the one before is made any more.
    ///
    /// # Errors
    /// It was not put to work, and is gone.
    fn put(&mut self, pipeline: P) -> Result<Option<P>, NotPlaced>;

    /// Has what works now let go of the hardware's memory, if it can be reached; see
    /// [`crate::perceive::pipeline::Pipeline::release`].
    fn release(&mut self);
}

/// Why a pipeline was not put to work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline could not be put to work: {0}")]
pub struct NotPlaced(pub String);

/// Nothing could be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// What was asked for.
    pub requested: ProviderChoice,
    /// A line for each provider that was tried.
    pub failed: Vec<String>,
    /// Might the CPU stand in?
    pub allow_fallback: bool,
}

impl std::error::Error for GaveUp {}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.join("; ");
        // Where even the CPU can't, the model is to blame.
        let cpu = format!("{}: ", ProviderChoice::Cpu.name());
        if self.failed.iter().any(|line| line.starts_with(&cpu)) {
            return write!(f, "the model can't be loaded: {failed}");
        }
        write!(f, "execution provider {} can't be had: {failed}", self.requested.name())?;
        if self.allow_fallback { Ok(()) } else { f.write_str(". allow_fallback is off, so the CPU may not stand in") }
    }
}

/// Loads what is to run first; blocks until it does.
///
/// # Errors
/// Nothing of the plan can be had. Nothing is left behind, so that whatever ran before may go on.
pub fn start<W: Workshop>(workshop: W, plan: Plan) -> Result<Started<W>, GaveUp> {
    let (requested, allow_fallback) = (plan.requested, plan.allow_fallback);
    let (machine, first) = Machine::new(plan);
    let mut crew = Crew { workshop, machine, began: Instant::now(), candidate: None, reference: None };
    let mut next = Some(first);
    loop {
        let (provider, loaded, done, failed): (_, _, _, fn(Failure) -> Event) = match next {
            Some(Action::Load { provider, .. }) => {
                (provider, crew.workshop.load(provider), Event::Loaded, Event::LoadFailed)
            }
            Some(Action::Build { provider }) => {
                (provider, crew.workshop.build(provider), Event::Built, Event::BuildFailed)
            }
            _ => {
                let failed = crew.machine.standing().degraded;
                return Err(GaveUp { requested, failed, allow_fallback });
            }
        };
        match loaded {
            Ok(mut pipeline) => {
                let next = crew.step(done);
                // Asked now, while nobody else has it.
                if next.is_some() {
                    crew.reference = Some(crew.workshop.answers(&mut pipeline));
                }
                return Ok(Started { pipeline, crew, next });
            }
            Err(failure) => {
                crew.tell_of(provider, &failure);
                next = crew.step(failed(failure));
            }
        }
    }
}

/// What runs first, and what is to be done beside.
pub struct Started<W: Workshop> {
    /// What runs first. Nobody has it yet: it is the caller's to put to work.
    pub pipeline: W::Pipeline,
    crew: Crew<W>,
    next: Option<Action>,
}

impl<W: Workshop> Started<W> {
    /// What is to be told before there is a supervisor.
    pub fn standing(&self) -> Standing {
        self.crew.machine.standing()
    }

    /// Starts the thread that does the rest.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn supervise(self, seat: impl Seat<W::Pipeline>) -> io::Result<(W::Pipeline, Supervisor)> {
        let Self { pipeline, crew, next } = self;
        let (sender, inbox) = mpsc::sync_channel(INBOX);
        let (told, standing) = watch::channel(crew.machine.standing());
        let told = Arc::new(told);
        let (ends, ended) = mpsc::sync_channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let reporter = Reporter::new(sender, Arc::downgrade(&told));
        let at_work = AtWork { crew, seat, inbox, told, stop: stop.clone() };
        let work = move || {
            at_work.run(next);
            // Disconnected when all of it is freed.
            drop(ends);
        };
        thread::Builder::new().name("accelerator".to_owned()).spawn(work)?;
        Ok((pipeline, Supervisor { reporter, standing, stop, ended }))
    }
}

/// The way to the supervisor's thread. When it is dropped, the thread ends as soon as it can.
#[derive(Debug)]
pub struct Supervisor {
    reporter: Reporter,
    standing: watch::Receiver<Standing>,
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Supervisor {
    /// For the loop.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// What is to be told, now and at each change. Closed: the thread has ended.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends the thread and waits for that, but no longer than `within`. False: it is in the middle of a load that can't be
    /// interrupted, and ends by itself after it, putting nothing in place.
    pub fn stop(self, within: Duration) -> bool {
        self.ask_to_stop();
        self.ended.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.reporter.stop();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

/// The machine with what it works on.
struct Crew<W: Workshop> {
    workshop: W,
    machine: Machine,
    began: Instant,
    candidate: Option<W::Pipeline>,
    /// What ran first, asked.
    reference: Option<Result<W::Answers, Failure>>,
}

impl<W: Workshop> Crew<W> {
    fn step(&mut self, event: Event) -> Option<Action> {
        self.machine.step(self.began.elapsed(), event)
    }

    fn tell_of(&self, provider: ProviderChoice, failure: &Failure) {
        let line = format!("execution provider {} can't be had: {}", provider.name(), failure.text);
        if self.machine.is_no_loss(failure) { tracing::info!("{line}") } else { tracing::warn!("{line}") }
    }

    fn compare(&mut self) -> Event {
        let candidate = self.candidate.as_mut().ok_or_else(|| Failure::other("there is no candidate"));
        let found = candidate.and_then(|candidate| {
            let reference = self.reference.as_ref().ok_or_else(|| Failure::other("nothing to compare with"))?;
            let reference = reference.as_ref().map_err(Clone::clone)?;
            let answers = self.workshop.answers(candidate)?;
            self.workshop.disagreement(reference, &answers)
        });
        found.map_or_else(Event::CompareFailed, Event::Compared)
    }
}

/// What the thread owns.
struct AtWork<W: Workshop, S> {
    crew: Crew<W>,
    seat: S,
    inbox: Receiver<Message>,
    told: Arc<watch::Sender<Standing>>,
    stop: Arc<AtomicBool>,
}

impl<W: Workshop, S: Seat<W::Pipeline>> AtWork<W, S> {
    fn run(mut self, mut next: Option<Action>) {
        loop {
            self.tell();
            let event = match next {
                Some(action) if !action.is_last() && !self.is_ending() => self.carry_out(action),
                _ => self.inbox.recv().ok().and_then(Message::event),
            };
            if self.is_stopped() {
                self.let_go();
                return;
            }
            next = event.and_then(|event| self.crew.step(event));
        }
    }

    /// Does it, however long it takes, and then hears what happened to the runs meanwhile. None: it is time to stop.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        let event = match action {
            Action::Load { provider, after } => return self.load(provider, after),
            Action::Swap => return Some(self.swap()),
            Action::Build { provider } => match self.crew.workshop.build(provider) {
                Ok(candidate) => {
                    self.crew.candidate = Some(candidate);
                    Event::Built
                }
                Err(failure) => {
                    if self.crew.machine.is_no_loss(&failure) {
                        self.crew.tell_of(provider, &failure);
                    }
                    Event::BuildFailed(failure)
                }
            },
            Action::Compare => self.crew.compare(),
            Action::Discard | Action::GiveUp | Action::End => {
                self.let_go();
                Event::Discarded
            }
        };
        for report in self.reports() {
            // Something is asked for and not answered yet: nothing comes of it now.
            self.crew.step(report);
        }
        Some(event)
    }

    fn load(&mut self, provider: ProviderChoice, after: Duration) -> Option<Event> {
        self.seat.release();
        self.pause(after);
        if self.is_stopped() || self.is_ending() {
            return None;
        }
        let loaded = self.crew.workshop.load(provider);
        if self.is_stopped() || self.is_ending() {
            self.free(loaded.ok());
            return None;
        }
        let placed = loaded.and_then(|pipeline| self.put(pipeline));
        Some(placed.map_or_else(Event::LoadFailed, |()| Event::Loaded))
    }

    fn swap(&mut self) -> Event {
        let candidate = self.crew.candidate.take().ok_or_else(|| Failure::other("there is no candidate"));
        candidate.and_then(|candidate| self.put(candidate)).map_or_else(Event::SwapFailed, |()| Event::Swapped)
    }

    fn put(&mut self, pipeline: W::Pipeline) -> Result<(), Failure> {
        let before = self.seat.put(pipeline).map_err(|error| Failure::other(error.to_string()))?;
        // They are about the one before.
        self.reports();
        self.free(before);
        Ok(())
    }

    /// Frees the candidate.
    fn let_go(&mut self) {
        let candidate = self.crew.candidate.take();
        self.free(candidate);
    }

    /// What is to be freed is kept until the end of the process where CUDA's context is lost: ONNX Runtime's allocators throw
    /// in their destructors then, which is the end at once, by std::terminate.
    fn free(&self, pipeline: Option<W::Pipeline>) {
        if self.is_ending() {
            mem::forget(pipeline);
        }
    }

    fn reports(&mut self) -> Vec<Event> {
        let mut reports = Vec::new();
        loop {
            match self.inbox.try_recv() {
                Ok(message) => reports.extend(message.event()),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return reports,
            }
        }
    }

    /// Ends early when it is time to stop.
    fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || matches!(self.inbox.recv_timeout(left), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// CUDA's context is lost.
    fn is_ending(&self) -> bool {
        self.told.borrow().ends.is_some()
    }

    fn tell(&self) {
        let standing = self.crew.machine.standing();
        self.told.send_if_modified(|told| {
            let changed = *told != standing && told.ends.is_none();
            if changed {
                match standing.sentence() {
                    // Whoever ends the process says why.
                    _ if standing.ends.is_some() => {}
                    Some(sentence) if standing.gave_up => tracing::error!("{sentence}"),
                    Some(sentence) if !standing.degraded.is_empty() => tracing::warn!("{sentence}"),
                    Some(sentence) => tracing::info!("{sentence}"),
                    None => tracing::info!("execution provider: {}", standing.on.map_or("none", ProviderChoice::name)),
                }
                *told = standing.clone();
            }
            changed
        });
    }
}
