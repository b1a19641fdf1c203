//! The state machine. Pure: it is told what happened and when, and says what to do next, one thing at a time.
//!
//! ```text
//! loading --> running -------> building aside --> comparing --> swapping --> running
//!    |         ^   | fails          | failed          | disagrees -> discarding -> running, degraded
//!    |         |   v                v
//!    |         +- loading anew (bounded) -> loading what stands in (if allowed) -> gave up
//!    +-> gave up
//!
//! all but the first loading, where CUDA's context of this process is lost: end of the process
//! ```
//!
//! Every action but [`Action::GiveUp`] and [`Action::End`] is answered by exactly one event; until then only runs are
//! reported.

use std::{collections::VecDeque, time::Duration};

use ProviderChoice::{Auto, Cpu, Cuda, OpenVino, TensorRt};

use super::{Action, Event, Failure, Plan, Standing};
use crate::{
    config::ProviderChoice, parity::agreement::Disagreement, perceive::infer::FailureKind, robot::FAILURES_UNTIL_BROKEN,
};

/// A time without loading anew after which a failure is a new one.
pub(super) const CALM: Duration = Duration::from_secs(600);
/// Before each attempt to have a lost device back: a driver that is reset takes seconds.
pub(super) const DEVICE_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];
/// From the best on: what runs is degraded where one before it failed.
const BEST_FIRST: [ProviderChoice; 4] = [TensorRt, Cuda, OpenVino, Cpu];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Machine {
    plan: Plan,
    /// Not tried yet.
    left: VecDeque<ProviderChoice>,
    /// Not built yet.
    aside: Option<ProviderChoice>,
    /// What runs.
    on: Option<ProviderChoice>,
    /// What was asked for and not answered yet.
    asked: Option<Action>,
    /// What was built and does not run yet.
    candidate: Option<ProviderChoice>,
    /// Why something else or the same is being loaded.
    mending: Option<(ProviderChoice, Failure)>,
    /// Loads anew since the last [`CALM`], and the time of the last.
    tries: usize,
    tried_at: Option<Duration>,
    /// Failed runs in a row.
    streak: u32,
    /// What runs fails, and nothing was done about it yet.
    ailing: Option<Failure>,
    /// Why each provider is not in use.
    failed: Vec<(ProviderChoice, Failure)>,
    /// Something ran, be it long ago.
    has_run: bool,
    gave_up: bool,
    /// What is to be told after [`Action::End`].
    ended: Option<Standing>,
}

impl Machine {
    /// At the start of a plan, with the first thing to do.
    pub fn new(plan: Plan) -> (Self, Action) {
        let mut machine = Self {
            left: plan.now.iter().copied().collect(),
            aside: plan.aside,
            plan,
            on: None,
            asked: None,
            candidate: None,
            mending: None,
            tries: 0,
            tried_at: None,
            streak: 0,
            ailing: None,
            failed: Vec::new(),
            has_run: false,
            gave_up: false,
            ended: None,
        };
        let first = machine.next_of_plan();
        machine.ask(Some(first));
        (machine, first)
    }

    /// Takes in what happened at `now`, a time that never goes back, and says what to do next, if anything. An event that
    /// answers nothing is ignored.
    pub fn step(&mut self, now: Duration, event: Event) -> Option<Action> {
        if self.gave_up || self.ended.is_some() {
            return None;
        }
        // Whatever told it, and whatever is under way: the process has but one context. Before anything has run, nothing that
        // did is to be freed, and a process started anew would most likely meet the same: there the rule of fallback holds.
        if let Some(failure) = event.failure().filter(|f| f.kind == FailureKind::ContextLost && self.has_run) {
            let provider = match (&event, self.asked) {
                (Event::RunFailed(_), _) => self.on,
                (_, Some(Action::Load { provider, .. } | Action::Build { provider })) => Some(provider),
                _ => self.candidate,
            };
            return Some(self.end(provider, failure));
        }
        match event {
            Event::RunFailed(failure) => self.run_failed(now, failure),
            Event::RunSucceeded => {
                (self.streak, self.ailing) = (0, None);
                None
            }
            answer => self.answered(now, answer),
        }
    }

    /// What is to be told.
    pub fn standing(&self) -> Standing {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        // Where the CPU had to stand in, everything is told.
        let tells_all = self.gave_up || self.on == Some(Cpu);
        let told = self.failed.iter().filter(|(_, why)| tells_all || !self.is_no_loss(why));
        let degraded = told.map(|(provider, why)| format!("{}: {}", provider.name(), why.text)).collect();
        Standing { on: self.on, doing: self.doing(), degraded, gave_up: self.gave_up, ends: None }
    }

    /// Was nobody promised what failed here? `auto` takes what is installed: ONNX Runtime's builds for GPUs know TensorRT,
    /// whose libraries are another product.
    pub(super) fn is_no_loss(&self, failure: &Failure) -> bool {
        self.plan.requested == Auto && failure.kind == FailureKind::LibraryMissing
    }

    fn answered(&mut self, now: Duration, answer: Event) -> Option<Action> {
        let asked = self.asked.take()?;
        let next = match (asked, answer) {
            (Action::Load { provider, .. }, Event::Loaded) => self.runs(now, provider),
            (Action::Load { provider, .. }, Event::LoadFailed(failure)) => {
                Some(self.load_failed(now, provider, failure))
            }
            (Action::Build { provider }, Event::Built) if self.on.is_none() => self.runs(now, provider),
            (Action::Build { provider }, Event::Built) => {
                self.candidate = Some(provider);
                Some(Action::Compare)
            }
            (Action::Build { provider }, Event::BuildFailed(failure)) => {
                self.note(provider, failure);
                if self.on.is_some() { self.settle(now) } else { Some(self.next_of_plan()) }
            }
            (Action::Compare, Event::Compared(disagreement)) if disagreement.holds() => Some(Action::Swap),
            (Action::Compare, Event::Compared(disagreement)) => {
                Some(self.discard(Failure::other(self.told(disagreement))))
            }
            (Action::Compare, Event::CompareFailed(failure)) => Some(self.discard(failure)),
            (Action::Swap, Event::Swapped) => match self.candidate.take() {
                Some(provider) => self.runs(now, provider),
                None => self.settle(now),
            },
            (Action::Swap, Event::SwapFailed(failure)) => {
                if let Some(provider) = self.candidate.take() {
                    self.note(provider, failure);
                }
                self.settle(now)
            }
            (Action::Discard, Event::Discarded) => self.settle(now),
            (asked, _) => return self.ask_again(asked),
        };
        self.ask(next)
    }

    fn end(&mut self, provider: Option<ProviderChoice>, failure: &Failure) -> Action {
        (self.on, self.asked) = (None, None);
        self.ended = Some(Standing::ending(provider, failure));
        Action::End
    }

    fn ask(&mut self, next: Option<Action>) -> Option<Action> {
        self.gave_up = next == Some(Action::GiveUp);
        self.asked = next.filter(|_| !self.gave_up);
        next
    }

    /// It was answered by nothing of its own: it is still to be done, by whom it was given.
    fn ask_again(&mut self, asked: Action) -> Option<Action> {
        self.asked = Some(asked);
        None
    }

    fn next_of_plan(&mut self) -> Action {
        if let Some(provider) = self.left.pop_front() {
            return Action::Load { provider, after: Duration::ZERO };
        }
        match self.aside.take() {
            Some(provider) => Action::Build { provider },
            None => Action::GiveUp,
        }
    }

    fn runs(&mut self, now: Duration, provider: ProviderChoice) -> Option<Action> {
        self.on = Some(provider);
        self.has_run = true;
        (self.streak, self.ailing, self.mending) = (0, None, None);
        self.aside = self.aside.filter(|aside| *aside != provider);
        let rank = |provider| BEST_FIRST.iter().position(|known| *known == provider);
        self.failed.retain(|(failed, _)| rank(*failed) < rank(provider));
        self.settle(now)
    }

    /// Nothing is being done: deal with what is due.
    fn settle(&mut self, now: Duration) -> Option<Action> {
        match (self.ailing.take(), self.on) {
            (Some(failure), Some(provider)) => self.mend(now, provider, failure),
            _ => Some(Action::Build { provider: self.aside.take()? }),
        }
    }

    fn run_failed(&mut self, now: Duration, failure: Failure) -> Option<Action> {
        // While another is put in its place, what ran before no longer counts.
        if self.on.is_none() || self.asked == Some(Action::Swap) {
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let may_be_the_picture_s = matches!(failure.kind, FailureKind::Other | FailureKind::LibraryMissing);
        if may_be_the_picture_s && self.streak < FAILURES_UNTIL_BROKEN {
            return None;
        }
        self.ailing = Some(failure);
        if self.asked.is_some() {
            return None;
        }
        let next = self.settle(now);
        self.ask(next)
    }

    fn load_failed(&mut self, now: Duration, provider: ProviderChoice, failure: Failure) -> Action {
        let Some((_, cause)) = self.mending.take() else {
            if failure.kind == FailureKind::ContextLost {
                // Nothing of CUDA works in this process any more.
                self.left.retain(|left| !uses_cuda(*left));
                self.aside = self.aside.filter(|aside| !uses_cuda(*aside));
            }
            self.note(provider, failure);
            return self.next_of_plan();
        };
        // What began it says how often is tried again, unless the load knows more.
        let kind = if failure.kind == FailureKind::Other { cause.kind } else { failure.kind };
        self.mend(now, provider, Failure { kind, ..failure }).unwrap_or(Action::GiveUp)
    }

    /// Loads anew as often as is worth it, then elsewhere where that is allowed.
    fn mend(&mut self, now: Duration, provider: ProviderChoice, failure: Failure) -> Option<Action> {
        if self.tried_at.is_none_or(|at| now.saturating_sub(at) >= CALM) {
            self.tries = 0;
        }
        let after = match failure.kind {
            FailureKind::DeviceLost => DEVICE_PAUSES.get(self.tries).copied(),
            // The second never gets here: it ends the process.
            FailureKind::OutOfMemory { .. }
            | FailureKind::ContextLost
            | FailureKind::LibraryMissing
            | FailureKind::Other => (self.tries == 0).then_some(Duration::ZERO),
        };
        let Some(after) = after else { return self.stand_in(provider, failure) };
        self.tries += 1;
        self.tried_at = Some(now);
        self.on = None;
        self.mending = Some((provider, failure));
        Some(Action::Load { provider, after })
    }

    fn stand_in(&mut self, provider: ProviderChoice, failure: Failure) -> Option<Action> {
        let next = match provider {
            TensorRt if failure.kind != FailureKind::DeviceLost && self.plan.has_cuda => Some(Cuda),
            Cpu => None,
            _ => self.plan.allow_fallback.then_some(Cpu),
        };
        // A failure of no known kind may be the picture's: what fails today may work with the next.
        if next.is_none() && failure.kind == FailureKind::Other && self.on.is_some() {
            return None;
        }
        self.note(provider, failure.clone());
        self.on = None;
        let Some(next) = next else { return Some(Action::GiveUp) };
        self.tries = 0;
        self.mending = Some((provider, failure));
        Some(Action::Load { provider: next, after: Duration::ZERO })
    }

    fn discard(&mut self, why: Failure) -> Action {
        if let Some(provider) = self.candidate.take() {
            self.note(provider, why);
        }
        Action::Discard
    }

    /// A line for each provider, the last one that is known.
    fn note(&mut self, provider: ProviderChoice, why: Failure) {
        self.failed.retain(|(failed, _)| *failed != provider);
        self.failed.push((provider, why));
    }

    fn told(&self, disagreement: Disagreement) -> String {
        let on = self.on.map_or("what ran", ProviderChoice::name);
        let Disagreement { found, allowed } = disagreement;
        format!("its answers disagree with those of {on} by {found:.3} of their range, more than {allowed}: kept {on}")
    }

    fn doing(&self) -> Option<String> {
        let on = self.on.map(ProviderChoice::name);
        let doing = match (self.asked?, on) {
            (Action::Load { provider, after }, _) => self.loading(provider, after),
            (Action::Build { provider }, None) => {
                format!("the {} engine is built, and nothing else can run meanwhile", provider.name())
            }
            (Action::Build { provider }, Some(on)) => {
                format!("running on {on} while the {} engine is built", provider.name())
            }
            (Action::Compare | Action::Swap | Action::Discard | Action::GiveUp | Action::End, on) => {
                let candidate = self.candidate.map_or("other", ProviderChoice::name);
                format!("running on {} while the {candidate} engine is compared with it", on.unwrap_or("nothing"))
            }
        };
        let ails = self.ailing.as_ref().zip(on);
        Some(
            doing + &ails.map_or_else(String::new, |(failure, on)| format!("; {on} fails meanwhile: {}", failure.text)),
        )
    }

    fn loading(&self, provider: ProviderChoice, after: Duration) -> String {
        let when = if after.is_zero() { String::new() } else { format!(" after {} s", after.as_secs()) };
        match &self.mending {
            None => format!("the model is loaded on {}", provider.name()),
            Some((failed, failure)) => {
                format!("{} failed: {}: the model is loaded on {}{when}", failed.name(), failure.text, provider.name())
            }
        }
    }
}

/// TensorRT computes through CUDA.
fn uses_cuda(provider: ProviderChoice) -> bool {
    matches!(provider, TensorRt | Cuda)
}
