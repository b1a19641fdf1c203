//! A loaded model.

use super::{
    ClassMaps, Engines, InferError, InferSettings, ProviderChoice, ProviderInUse,
    loaded::{self, Loaded},
};
use crate::{
    contract::{Bundle, ModelContract, OUTPUT_PRESENCE},
    perceive::FrameError,
};

/// Rounding of a softmax-like sum may leave [0, 1] by this much; anything more is no presence.
const PRESENCE_SLACK: f32 = 1e-4;

/// A model ready to run: one picture at a time, or up to [`InferSettings::max_batch`], on one thread at a time (it may move
/// between threads).
#[derive(Debug)]
pub struct Model {
    /// None once it was released.
    loaded: Option<Loaded>,
    provider: ProviderInUse,
    contract: ModelContract,
    maps: Vec<f32>,
    presence: Vec<f32>,
    /// The answers of the last batch, f32 [B, A, h, w] and [B, A].
    batch: (Vec<f32>, Vec<f32>),
}

impl Model {
    /// Checks the bundle's graph against its contract, loads it on the hardware asked for and warms it up.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used; the graph is not what the contract says; the hardware can't be had and
    /// nothing may stand in for it; or the first run fails or gives NaN.
    pub fn load(bundle: &Bundle, settings: &InferSettings) -> Result<Self, InferError> {
        Ok(Self::new(Loaded::load(bundle, settings, 1)?, bundle))
    }

    /// [`Self::load`] on this provider and no other. `engines`: may TensorRT's be built now, which takes minutes?
    ///
    /// # Errors
    /// As [`Self::load`], but for standing in.
    pub fn load_on(
        bundle: &Bundle,
        settings: &InferSettings,
        provider: ProviderChoice,
        engines: Engines,
    ) -> Result<Self, InferError> {
        Ok(Self::new(Loaded::load_on(bundle, settings, provider, engines)?, bundle))
    }

    fn new(loaded: Loaded, bundle: &Bundle) -> Self {
        let (provider, contract) = (loaded.provider.clone(), bundle.contract.clone());
        Self {
            loaded: Some(loaded),
            provider,
            contract,
            maps: Vec::new(),
            presence: Vec::new(),
            batch: Default::default(),
        }
    }

    /// Gives away what the model holds of the hardware, memory above all. It can't be run any more.
    pub fn release(&mut self) -> Released {
        Released { _loaded: self.loaded.take() }
    }

    /// Runs one picture: u8 [H, W, 3] RGB at the contract's input size, tight rows.
    ///
    /// # Errors
    /// The picture has another size; ONNX Runtime fails; or its answer is not finite, or a presence outside [0, 1].
    pub fn run(&mut self, pixels: &[u8]) -> Result<ClassMaps<'_>, FrameError> {
        let Self { loaded, maps, presence, .. } = self;
        let answer = loaded.as_mut().ok_or_else(released)?.run(pixels)?;
        // The answer is some kilobytes; the last good one stays until the next.
        keep(answer, maps, presence)?;
        Ok(self.answer())
    }

    /// The most pictures that [`Self::run_batch`] takes; 1 once the model was released.
    pub fn max_batch(&self) -> usize {
        self.loaded.as_ref().map_or(1, Loaded::max_batch)
    }

    /// Runs several pictures at once: u8 [B, H, W, 3]. The answers are then had from [`Self::answer_of`].
    ///
    /// # Errors
    /// The pictures have another size; or ONNX Runtime fails. Each answer is checked where it is asked for.
    pub fn run_batch(&mut self, pixels: &[u8], pictures: usize) -> Result<(), FrameError> {
        let Self { loaded, batch: (maps, presence), .. } = self;
        loaded.as_mut().ok_or_else(released)?.run_batch(pixels, pictures, maps, presence)
    }

    /// The answer to one picture of the last batch, which [`Self::answer`] gives too from then on.
    ///
    /// # Errors
    /// There is no such picture; or its answer is not finite, or a presence outside [0, 1]. The others are not affected.
    pub fn answer_of(&mut self, picture: usize) -> Result<ClassMaps<'_>, FrameError> {
        let Self { contract, maps, presence, batch, .. } = self;
        let actions = contract.actions.len();
        let cells = contract.heatmap.height as usize * contract.heatmap.width as usize;
        let missing = || FrameError::Inference(format!("no answer to picture {picture} of the batch"));
        let found_maps = batch.0.chunks_exact((actions * cells).max(1)).nth(picture).ok_or_else(missing)?;
        let found_presence = batch.1.chunks_exact(actions.max(1)).nth(picture).ok_or_else(missing)?;
        loaded::check_finite(found_maps, found_presence)?;
        keep((found_maps, found_presence), maps, presence)?;
        Ok(self.answer())
    }

    /// The last run's answer; empty while there was none.
    pub fn answer(&self) -> ClassMaps<'_> {
        ClassMaps { maps: &self.maps, size: self.contract.heatmap, presence: &self.presence }
    }

    /// What the model promises.
    pub fn contract(&self) -> &ModelContract {
        &self.contract
    }

    /// The hardware in use.
    pub fn provider(&self) -> &ProviderInUse {
        &self.provider
    }
}

/// What a model held of the hardware. Freed where this is dropped, which takes a while.
#[derive(Debug)]
#[must_use = "it is freed where this is dropped"]
pub struct Released {
    _loaded: Option<Loaded>,
}

fn released() -> FrameError {
    FrameError::Inference("the model was released, to be loaded anew".to_owned())
}

/// Copies an answer, its presence within bounds.
fn keep(answer: (&[f32], &[f32]), maps: &mut Vec<f32>, presence: &mut Vec<f32>) -> Result<(), FrameError> {
    for (kept, values) in [(&mut *maps, answer.0), (&mut *presence, answer.1)] {
        kept.clear();
        kept.extend_from_slice(values);
    }
    for value in presence {
        if !(-PRESENCE_SLACK..=1.0 + PRESENCE_SLACK).contains(value) {
            return Err(FrameError::Inference(format!("{OUTPUT_PRESENCE}: expected 0 to 1, found {value}")));
        }
        *value = value.clamp(0.0, 1.0);
    }
    Ok(())
}

/// A model that always runs so many pictures at once, in bound memory: for measuring what that saves.
#[derive(Debug)]
pub struct BatchModel(Loaded);

impl BatchModel {
    /// [`Model::load`] for `pictures` a run.
    ///
    /// # Errors
    /// As [`Model::load`]; or the graph takes another number of pictures.
    pub fn load(bundle: &Bundle, settings: &InferSettings, pictures: usize) -> Result<Self, InferError> {
        Loaded::load(bundle, settings, pictures).map(Self)
    }

    /// Runs u8 [B, H, W, 3]. Gives maps f32 [B, A, h, w] and presence f32 [B, A], all finite.
    ///
    /// # Errors
    /// The pictures have another size; ONNX Runtime fails; or its answer is not finite.
    pub fn run(&mut self, pixels: &[u8]) -> Result<(&[f32], &[f32]), FrameError> {
        self.0.run(pixels)
    }

    /// The hardware in use.
    pub fn provider(&self) -> &ProviderInUse {
        &self.0.provider
    }
}
