//! Several frames through the model in one run.
//!
//! ```text
//! each frame: decode -> resize into its part of the input; then one run; then each frame: heat -> regions -> overlay
//! ```

use std::{slice, time::Instant};

use super::{
    Perception, Pipeline, StageTimings, Wanted,
    run::{StageClock, View},
};
use crate::perceive::{
    Frame, FrameError,
    decode::{self, Decoded, Limits},
    infer::Model,
    preprocess::Preprocessor,
};

/// What is kept from batch to batch, as large as the largest one needed.
#[derive(Default)]
pub(super) struct BatchBuffers {
    /// u8 [B, H, W, 3]
    input: Vec<u8>,
    /// Each frame's picture, unless its bytes could be used as they came.
    rgb: Vec<Vec<u8>>,
}

/// Frames that went through the model together and are looked at one after the other, in their order.
pub struct Batch<'a> {
    model: &'a mut Model,
    view: &'a mut View,
    staged: std::vec::IntoIter<Result<Staged<'a>, FrameError>>,
    failure: Option<FrameError>,
}

/// A sound frame.
struct Staged<'a> {
    decoded: Decoded<'a>,
    timings: StageTimings,
    /// Its place in the run.
    place: usize,
}

impl Pipeline {
    /// Runs the model on these frames at once. A frame that can't be decoded costs only itself. The time of the run counts
    /// wholly for each frame, since each has waited for all of it.
    pub fn run_batch<'a>(&'a mut self, frames: &[Frame<'a>]) -> Batch<'a> {
        let picture_bytes = self.contract().input_bytes();
        let Self { model, limits, preprocessor, batch: BatchBuffers { input, rgb }, view, .. } = self;
        let bytes = frames.len() * picture_bytes;
        if input.len() < bytes {
            input.resize(bytes, 0);
        }
        if rgb.len() < frames.len() {
            rgb.resize_with(frames.len(), Vec::new);
        }
        let mut parts: slice::ChunksExactMut<'_, u8> = input.chunks_exact_mut(picture_bytes.max(1));
        let mut part = parts.next();
        let mut sound = 0;
        let mut staged: Vec<_> = Vec::with_capacity(frames.len());
        for (frame, rgb) in frames.iter().zip(rgb) {
            let into = part.as_deref_mut().unwrap_or_default();
            let result = stage(frame, (limits, preprocessor), rgb, into);
            staged.push(result.map(|(decoded, timings)| Staged { decoded, timings, place: sound }));
            if staged.last().is_some_and(Result::is_ok) {
                sound += 1;
                part = parts.next();
            }
        }
        let mut failure = None;
        if sound > 0 {
            let began = Instant::now();
            let ran = model.run_batch(&input[..sound * picture_bytes], sound);
            let took = began.elapsed();
            for frame in &mut staged {
                match (&ran, &mut *frame) {
                    (Ok(()), Ok(staged)) => staged.timings.run = took,
                    (Err(error), Ok(_)) => *frame = Err(error.clone()),
                    (_, Err(_)) => {}
                }
            }
            failure = ran.err();
        }
        Batch { model, view, staged: staged.into_iter(), failure }
    }
}

impl Batch<'_> {
    /// Why the run itself failed, which each of its frames then tells again.
    pub fn failure(&self) -> Option<&FrameError> {
        self.failure.as_ref()
    }

    /// What is seen in the next frame; overwritten by the one after it. None: there are no more.
    ///
    /// # Errors
    /// As [`Pipeline::process`]. The other frames are not affected, unless the run itself failed.
    pub fn next(&mut self, wanted: Wanted) -> Option<Result<&Perception, FrameError>> {
        Some(self.staged.next()?.and_then(|Staged { decoded, timings, place }| {
            let answer = self.model.answer_of(place)?;
            self.view.see(&decoded, &answer, (wanted, timings))
        }))
    }
}

fn stage<'a>(
    frame: &Frame<'a>,
    (limits, preprocessor): (&Limits, &mut Preprocessor),
    rgb: &'a mut Vec<u8>,
    into: &mut [u8],
) -> Result<(Decoded<'a>, StageTimings), FrameError> {
    let mut timings = StageTimings::default();
    let mut clock = StageClock(Instant::now());
    let decoded = decode::decode(&frame.pixels, limits, rgb)?;
    timings.decode = clock.lap();
    preprocessor.run_into(decoded.image, into)?;
    timings.resize = clock.lap();
    Ok((decoded, timings))
}
