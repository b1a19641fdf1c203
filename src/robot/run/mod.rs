//! The loop: takes a camera's newest frame, decides, perceives, publishes, counts. Blocking; give it a thread of its own.
//!
//! ```text
//! Intake -> order:  settings, a look for somebody who asks, another engine, reset
//!        -> frame:  the camera's Lane: admission -> Engine (Pipeline, and who hears how it does) -> Sink
//! ```

mod batch;
mod engine;
mod lane;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use self::engine::Engine;
use self::lane::Lane;
use super::{Detect, DetectError, Incoming, Intake, Order, Sink, Taken};
use crate::{
    config::{Mode, NodeSettings},
    perceive::pipeline::{PipelineSettings, Wanted},
};

/// Requests that may wait for a frame at one time.
const MOST_WAITING: usize = 32;

/// Serves the cameras of `intake` until [`Intake::stop`], each with the sink at its place: one frame at a time, or several
/// cameras' together where the pipeline's model takes them, always a camera's newest, the cameras in turns. A bad frame is
/// counted and logged at a bounded rate; nothing about a frame ends the loop.
///
/// `settings` may change at any time: what changed takes effect before the next frame, never within one. While they say
/// [`Mode::OnDemand`] frames wait for an [`Order::Detect`].
///
/// `clock` gives the ROS time [ns since its epoch], 0 while it has not started.
pub fn run<I: Incoming, S: Sink>(
    intake: &Intake<I, S::Answer>,
    engine: &mut Engine,
    sinks: &mut [S],
    mut settings: watch::Receiver<Arc<NodeSettings>>,
    clock: &dyn Fn() -> i64,
) {
    let current = settings.borrow_and_update().clone();
    let lanes = intake.healths().zip(sinks).map(|(health, sink)| Lane::new(health, sink, &current, clock)).collect();
    let mut rounds = Rounds { intake, engine, lanes, settings, current, asked: Vec::new(), busy: Duration::ZERO };
    rounds.apply();
    loop {
        match intake.take(|camera| rounds.wants(camera), rounds.next_deadline(), rounds.busy) {
            Taken::Stopped => return,
            Taken::TimedOut => {}
            Taken::Order(order) => {
                rounds.follow_settings();
                rounds.obey(order);
            }
            Taken::Item { place, item } => {
                let started = Instant::now();
                // It was taken for the topics or for those who asked, and is for them, whatever the settings say by now.
                let mode = rounds.current.mode;
                rounds.follow_settings();
                let more = rounds.more_frames(place);
                match more.is_empty() {
                    true => rounds.frame(place, &item, mode),
                    false => rounds.batch((place, item), more),
                }
                rounds.busy = started.elapsed();
            }
        }
        rounds.turn_away_late();
    }
}

/// What lasts from frame to frame.
struct Rounds<'a, I, S: Sink> {
    intake: &'a Intake<I, S::Answer>,
    engine: &'a mut Engine,
    lanes: Vec<Lane<'a, S>>,
    settings: watch::Receiver<Arc<NodeSettings>>,
    current: Arc<NodeSettings>,
    /// Who waits for a frame.
    asked: Vec<Detect<S::Answer>>,
    /// How long the last frame took; also one that was rejected at once.
    busy: Duration,
}

impl<I: Incoming, S: Sink> Rounds<'_, I, S> {
    fn wants(&self, camera: usize) -> bool {
        self.current.mode == Mode::Continuous || self.asked.iter().any(|detect| detect.camera == camera)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.asked.iter().map(|detect| detect.deadline).min()
    }

    fn follow_settings(&mut self) {
        // An error means that nobody can change them any more.
        if self.settings.has_changed().unwrap_or(false) {
            self.current = self.settings.borrow_and_update().clone();
            self.apply();
        }
    }

    /// The one place where a change of settings reaches what works with them.
    fn apply(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.apply(&self.current));
        if let Err(error) = self.engine.pipeline.apply(&PipelineSettings::from(&*self.current)) {
            tracing::warn!("the settings before stay in force: {error}");
        }
    }

    fn obey(&mut self, order: Order<S::Answer>) {
        match order {
            Order::Settings => {}
            Order::Detect(detect) => self.asked_to_look(detect),
            Order::Swap(swap) => {
                let old = std::mem::replace(self.engine, swap.engine);
                self.apply();
                self.turn_away_unanswerable();
                let [before, id] = [&old, &*self.engine].map(|engine| engine.pipeline.contract().model_id());
                self.lanes.iter_mut().for_each(|lane| lane.model_changed(&before, &id));
                (swap.announce)();
                // Who does not wait for the old one lets it be freed here.
                let _ = swap.done.send(old);
            }
            Order::Release { done } => {
                // Who asked may have gone: then it is freed here.
                let _ = done.send(self.engine.pipeline.release());
            }
            Order::Reset { done } => {
                self.intake.forget_rhythms();
                self.lanes.iter_mut().for_each(|lane| lane.reset(&self.current));
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    fn asked_to_look(&mut self, detect: Detect<S::Answer>) {
        if self.lanes.get(detect.camera).is_none() {
            return answer(detect, Err(DetectError::Refused("there is no such camera".to_owned())));
        }
        if let Err(error) = self.settings_for(&detect.affordances).check(self.engine.pipeline.contract()) {
            return answer(detect, Err(DetectError::Refused(error.to_string())));
        }
        if !self.intake.is_enabled() {
            return answer(detect, Err(DetectError::Refused("disabled by ~/enable".to_owned())));
        }
        if self.asked.len() >= MOST_WAITING {
            return answer(detect, Err(DetectError::Busy { waiting: self.asked.len() }));
        }
        let camera = detect.camera;
        self.asked.push(detect);
        if let Some(waiting) = self.intake.take_now(camera) {
            self.frame(camera, &waiting, self.current.mode);
        }
    }

    /// After a swap: a model may lack what somebody waits for.
    fn turn_away_unanswerable(&mut self) {
        for detect in std::mem::take(&mut self.asked) {
            match self.settings_for(&detect.affordances).check(self.engine.pipeline.contract()) {
                Ok(()) => self.asked.push(detect),
                Err(error) => answer(detect, Err(DetectError::Refused(error.to_string()))),
            }
        }
    }

    /// With these actions; empty = those in force.
    fn settings_for(&self, affordances: &[String]) -> PipelineSettings {
        let mut settings = PipelineSettings::from(&*self.current);
        if !affordances.is_empty() {
            settings.affordances = affordances.to_vec();
        }
        settings
    }

    /// One frame: for the topics, unless the mode says that it is for those alone who asked for it. Who asked goes on waiting
    /// where it is not sound.
    fn frame(&mut self, camera: usize, incoming: &I, mode: Mode) {
        let Some(lane) = self.lanes.get_mut(camera) else { return };
        let is_asked = self.asked.iter().any(|detect| detect.camera == camera);
        let Some(work) = lane.admit(incoming, is_asked) else { return };
        let groups = groups(&mut self.asked, camera, mode);
        let is_special = groups.iter().any(|group| !group.affordances.is_empty());
        for (n, Group { affordances, detects }) in groups.into_iter().enumerate() {
            let also = Wanted { heatmaps: detects.iter().any(|detect| detect.want_heatmaps), ..Wanted::default() };
            let applied = match affordances.is_empty() {
                true => Ok(()),
                false => {
                    self.engine.pipeline.apply(&self.settings_for(&affordances)).map_err(|error| error.to_string())
                }
            };
            let Some(lane) = self.lanes.get_mut(camera) else { return };
            // What the first group sees is what the topics get.
            let result = applied.and_then(|()| match n {
                0 => lane.look(&work, self.engine, also),
                _ => lane.look_aside(&work, self.engine, also),
            });
            for detect in detects {
                let wanted = Wanted { heatmaps: detect.want_heatmaps, ..Wanted::default() };
                let result = result.as_ref().map(|facts| lane.answer(&work, &self.engine.pipeline, facts, wanted));
                answer(detect, result.map_err(|trouble| DetectError::Failed(trouble.clone())));
            }
        }
        if is_special && let Err(error) = self.engine.pipeline.apply(&PipelineSettings::from(&*self.current)) {
            tracing::debug!("{error}");
        }
    }

    fn turn_away_late(&mut self) {
        let now = Instant::now();
        let (late, waiting) = std::mem::take(&mut self.asked).into_iter().partition(|detect| detect.deadline <= now);
        self.asked = waiting;
        for detect in late {
            let trouble = self.lanes.get(detect.camera).and_then(Lane::trouble);
            answer(detect, Err(DetectError::NoFrame { trouble }));
        }
    }
}

/// Those who are answered by one look.
struct Group<A> {
    /// Empty = those in force.
    affordances: Vec<String>,
    detects: Vec<Detect<A>>,
}

/// Takes those out who wait for this camera. While every frame is for the topics, there is a group for these, with or
/// without somebody in it; it comes first.
fn groups<A>(asked: &mut Vec<Detect<A>>, camera: usize, mode: Mode) -> Vec<Group<A>> {
    let mut groups = Vec::new();
    if mode == Mode::Continuous {
        groups.push(Group { affordances: Vec::new(), detects: Vec::new() });
    }
    for detect in std::mem::take(asked) {
        if detect.camera != camera {
            asked.push(detect);
            continue;
        }
        match groups.iter_mut().find(|group| group.affordances == detect.affordances) {
            Some(group) => group.detects.push(detect),
            None => groups.push(Group { affordances: detect.affordances.clone(), detects: vec![detect] }),
        }
    }
    groups
}

fn answer<A>(detect: Detect<A>, result: Result<A, DetectError>) {
    // Who asked may have gone.
    let _ = detect.reply.send(result);
}
