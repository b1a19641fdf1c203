//! The loop: takes a camera's newest frame, decides, perceives, publishes, counts. Blocking; give it a thread of its own.
//!
//! ```text
//! Intake -> order:  settings, a look for somebody who asks, another model, reset
//!        -> frame:  the camera's Lane: admission -> Pipeline -> Sink
//! ```

mod lane;

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use self::lane::Lane;
use super::{Detect, DetectError, Incoming, Intake, Order, Sink, Taken};
use crate::{
    config::{Mode, NodeSettings},
    perceive::pipeline::{Pipeline, PipelineSettings, Wanted},
};

/// Requests that may wait for a frame at one time.
const MOST_WAITING: usize = 32;

/// Serves the cameras of `intake` until [`Intake::stop`], each with the sink at its place: one frame at a time, always a
/// camera's newest, the cameras in turns. A bad frame is counted and logged at a bounded rate; nothing about a frame ends
/// the loop.
///
/// `settings` may change at any time: what changed takes effect before the next frame, never within one. While they say
/// [`Mode::OnDemand`] frames wait for an [`Order::Detect`].
///
/// `clock` gives the ROS time [ns since its epoch], 0 while it has not started.
pub fn run<I: Incoming, S: Sink>(
    intake: &Intake<I, S::Answer>,
    pipeline: &mut Box<Pipeline>,
    sinks: &mut [S],
    mut settings: watch::Receiver<Arc<NodeSettings>>,
    clock: &dyn Fn() -> i64,
) {
    let current = settings.borrow_and_update().clone();
    let lanes = intake.healths().zip(sinks).map(|(health, sink)| Lane::new(health, sink, &current, clock)).collect();
    let mut rounds = Rounds { intake, pipeline, lanes, settings, current, asked: Vec::new() };
    rounds.apply();
    loop {
        match intake.take(|camera| rounds.wants(camera), rounds.next_deadline()) {
            Taken::Stopped => return,
            Taken::TimedOut => {}
            Taken::Order(order) => {
                rounds.follow_settings();
                rounds.obey(order);
            }
            Taken::Item { place, item } => {
                rounds.follow_settings();
                rounds.frame(place, &item);
            }
        }
        rounds.turn_away_late();
    }
}

/// What lasts from frame to frame.
struct Rounds<'a, I, S: Sink> {
    intake: &'a Intake<I, S::Answer>,
    pipeline: &'a mut Box<Pipeline>,
    lanes: Vec<Lane<'a, S>>,
    settings: watch::Receiver<Arc<NodeSettings>>,
    current: Arc<NodeSettings>,
    /// Who waits for a frame.
    asked: Vec<Detect<S::Answer>>,
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
        if let Err(error) = self.pipeline.apply(&PipelineSettings::from(&*self.current)) {
            tracing::warn!("the settings before stay in force: {error}");
        }
    }

    fn obey(&mut self, order: Order<S::Answer>) {
        match order {
            Order::Settings => {}
            Order::Detect(detect) => self.asked_to_look(detect),
            Order::Swap(swap) => {
                let old = std::mem::replace(self.pipeline, swap.pipeline);
                self.apply();
                self.turn_away_unanswerable();
                let id = self.pipeline.contract().model_id();
                self.lanes.iter_mut().for_each(|lane| lane.model_changed(&id));
                (swap.announce)();
                // Who does not wait for the old one lets it be freed here.
                let _ = swap.done.send(old);
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
        if let Err(error) = self.settings_for(&detect).check(self.pipeline.contract()) {
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
            self.frame(camera, &waiting);
        }
    }

    /// After a swap: a model may lack what somebody waits for.
    fn turn_away_unanswerable(&mut self) {
        for detect in std::mem::take(&mut self.asked) {
            match self.settings_for(&detect).check(self.pipeline.contract()) {
                Ok(()) => self.asked.push(detect),
                Err(error) => answer(detect, Err(DetectError::Refused(error.to_string()))),
            }
        }
    }

    fn settings_for(&self, detect: &Detect<S::Answer>) -> PipelineSettings {
        let mut settings = PipelineSettings::from(&*self.current);
        if !detect.affordances.is_empty() {
            settings.affordances.clone_from(&detect.affordances);
        }
        settings
    }

    /// One frame: for the topics, and for those who asked for it. Who asked goes on waiting where it is not sound.
    fn frame(&mut self, camera: usize, incoming: &I) {
        let Some(lane) = self.lanes.get_mut(camera) else { return };
        let Some(work) = lane.admit(incoming) else { return };
        if self.current.mode == Mode::Continuous {
            drop(lane.look(&work, self.pipeline, Wanted::default()));
        }
        let (mine, others) = std::mem::take(&mut self.asked).into_iter().partition(|detect| detect.camera == camera);
        self.asked = others;
        for (n, detect) in mine.into_iter().enumerate() {
            let settings = self.settings_for(&detect);
            let Some(lane) = self.lanes.get_mut(camera) else { return };
            let wanted = Wanted { heatmaps: detect.want_heatmaps, ..Wanted::default() };
            // On demand, what the first one sees is what the topics get.
            let is_for_topics = n == 0 && self.current.mode == Mode::OnDemand;
            let result = match self.pipeline.apply(&settings) {
                Err(error) => Err(error.to_string()),
                Ok(()) if is_for_topics => lane.look(&work, self.pipeline, wanted),
                Ok(()) => lane.look_aside(&work, self.pipeline, wanted),
            };
            let result = result.map(|facts| lane.answer(&work, self.pipeline, &facts));
            answer(detect, result.map_err(DetectError::Failed));
            self.restore();
        }
    }

    /// The settings in force again, after somebody asked for others.
    fn restore(&mut self) {
        if let Err(error) = self.pipeline.apply(&PipelineSettings::from(&*self.current)) {
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

fn answer<A>(detect: Detect<A>, result: Result<A, DetectError>) {
    // Who asked may have gone.
    let _ = detect.reply.send(result);
}
