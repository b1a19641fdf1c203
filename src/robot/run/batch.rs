//! Frames of several cameras in one run of the model.

use super::{Rounds, lane::Work};
use crate::{
    config::Mode,
    perceive::{Frame, pipeline::Wanted},
    robot::{Incoming, Sink},
};

impl<I: Incoming, S: Sink> Rounds<'_, I, S> {
    /// Other cameras' frames that go with one that was taken of the `first`. While somebody asks to look, frames go one by one.
    pub(super) fn more_frames(&self, first: usize) -> Vec<(usize, I)> {
        let most = self.engine.pipeline.max_batch().saturating_sub(1);
        if most == 0 || self.current.mode != Mode::Continuous || !self.asked.is_empty() {
            return Vec::new();
        }
        self.intake.take_more(first, most)
    }

    /// For the topics. Each frame passes its own lane's admission; results are published one after the other, the first
    /// before the second is painted.
    pub(super) fn batch(&mut self, first: (usize, I), more: Vec<(usize, I)>) {
        let items: Vec<(usize, I)> = std::iter::once(first).chain(more).collect();
        let mut works: Vec<(usize, Work<'_>)> = Vec::with_capacity(items.len());
        for (camera, incoming) in &items {
            let work = self.lanes.get_mut(*camera).and_then(|lane| lane.admit(incoming, false));
            works.extend(work.map(|work| (*camera, work)));
        }
        if let [(camera, work)] = works.as_slice() {
            if let Some(lane) = self.lanes.get_mut(*camera) {
                // What went wrong is counted and logged.
                let _ = lane.look(work, self.engine, Wanted::default());
            }
            return;
        }
        let mut beats = Vec::with_capacity(works.len());
        for (camera, work) in &works {
            beats.extend(self.lanes.get_mut(*camera).map(|lane| lane.begin(work)));
        }
        let frames: Vec<Frame<'_>> = works.iter().map(|(_, work)| work.frame).collect();
        let mut batch = self.engine.run_batch(&frames);
        drop(beats);
        for (camera, work) in &works {
            if let Some(lane) = self.lanes.get_mut(*camera) {
                lane.look_at_next(work, &mut batch);
            }
        }
    }
}
