//! What the loop works with.

use crate::{
    perceive::{
        Frame, FrameError, RejectReason,
        pipeline::{Batch, Perception, Pipeline, Wanted},
    },
    robot::accelerator::Reporter,
};

/// A pipeline, and who hears how its runs go. Both are exchanged together, so that nobody hears of another's runs.
pub struct Engine {
    /// Looks at frames.
    pub pipeline: Box<Pipeline>,
    /// None: nobody watches over the hardware.
    pub reporter: Option<Reporter>,
}

/// [`Batch`], of which the reporter hears.
pub(super) struct EngineBatch<'a> {
    batch: Batch<'a>,
    reporter: Option<&'a Reporter>,
}

impl Engine {
    /// [`Pipeline::process`], told to the reporter.
    pub(super) fn process(&mut self, frame: &Frame<'_>, wanted: Wanted) -> Result<&Perception, FrameError> {
        let seen = self.pipeline.process(frame, wanted);
        tell(self.reporter.as_ref(), seen.as_ref().err());
        seen
    }

    /// [`Pipeline::run_batch`]. A run that fails is told once, however many frames were in it.
    pub(super) fn run_batch<'a>(&'a mut self, frames: &[Frame<'a>]) -> EngineBatch<'a> {
        let reporter = self.reporter.as_ref();
        let batch = self.pipeline.run_batch(frames);
        if batch.failure().is_some() {
            tell(reporter, batch.failure());
        }
        EngineBatch { batch, reporter }
    }
}

impl EngineBatch<'_> {
    /// [`Batch::next`], told to the reporter.
    pub fn next(&mut self, wanted: Wanted) -> Option<Result<&Perception, FrameError>> {
        let reporter = self.reporter.filter(|_| self.batch.failure().is_none());
        let seen = self.batch.next(wanted)?;
        tell(reporter, seen.as_ref().err());
        Some(seen)
    }
}

/// Only the model's own failures are told: what is wrong with a picture says nothing of the hardware, good or bad.
fn tell(reporter: Option<&Reporter>, error: Option<&FrameError>) {
    let Some(reporter) = reporter else { return };
    match error {
        None => reporter.succeeded(),
        Some(error) if error.reason() == RejectReason::Inference => reporter.failed(error),
        Some(_) => {}
    }
}
