//! A session with its buffers, on the hardware that was asked for or stands in for it.

use std::path::Path;

use ort::{environment::Environment, session::Session, value::TensorRef};

use super::{
    InferError, InferSettings, ProviderChoice, ProviderInUse,
    buffers::Buffers,
    engine_cache::{self, Engines, Place},
    failure, profile, provider, runtime,
    session::{self, Opening},
};
use crate::{
    contract::{Bundle, INPUT_IMAGE, MODEL_FILE, OUTPUT_HEATMAP, OUTPUT_PRESENCE, Size},
    memory::{self, GiveBack},
    onnx,
    perceive::FrameError,
};

/// Runs before the first picture: in the first, memory is laid out and kernels are chosen; CUDA records its graph in the
/// ones after it.
const WARM_UP_RUNS: usize = 3;
/// The plain picture of those runs.
const WARM_UP_GREY: u8 = 128;

/// A model of `pictures` pictures a run.
#[derive(Debug)]
pub(super) struct Loaded {
    session: Session,
    buffers: Buffers,
    pub provider: ProviderInUse,
    /// Bytes of one picture.
    picture_bytes: usize,
    /// Of a run in the buffers; [`Self::run_batch`] takes as many as it is given.
    pictures: usize,
    input: Size,
    max_batch: usize,
    /// Last, for fields are freed in their order.
    _freed: GiveBack,
}

impl Loaded {
    /// Checks the bundle's graph against its contract, loads it on the hardware asked for and warms it up.
    pub fn load(bundle: &Bundle, settings: &InferSettings, pictures: usize) -> Result<Self, InferError> {
        onnx::check(&bundle.onnx, &bundle.contract, &bundle.folder.join(MODEL_FILE))?;
        let environment = runtime::environment(settings.library.as_deref())?;
        let precision = bundle.contract.provenance.precision;
        let candidates = provider::candidates(settings, precision, provider::is_built_in);
        let (mut loaded, provider) = provider::first_that_works(settings, &candidates, |choice| {
            Self::load_with(choice, Engines::Build, (bundle, settings, &environment), pictures)
        })?;
        let graph = loaded.provider.graph.take();
        loaded.provider = ProviderInUse { graph, ..provider };
        loaded.tell();
        Ok(loaded)
    }

    /// [`Self::load`] on this provider and no other.
    pub fn load_on(
        bundle: &Bundle,
        settings: &InferSettings,
        choice: ProviderChoice,
        engines: Engines,
    ) -> Result<Self, InferError> {
        onnx::check(&bundle.onnx, &bundle.contract, &bundle.folder.join(MODEL_FILE))?;
        let environment = runtime::environment(settings.library.as_deref())?;
        let loaded = Self::load_with(choice, engines, (bundle, settings, &environment), 1)?;
        loaded.tell();
        Ok(loaded)
    }

    fn tell(&self) {
        let ProviderInUse { requested, used, graph, .. } = &self.provider;
        let nodes = graph.as_ref().map_or_else(|| "graph nodes not counted".to_owned(), ToString::to_string);
        tracing::info!("execution provider: {} (asked for: {}): {nodes}", used.name(), requested.name());
    }

    fn load_with(
        choice: ProviderChoice,
        engines: Engines,
        (bundle, settings, environment): (&Bundle, &InferSettings, &Environment),
        pictures: usize,
    ) -> Result<Self, InferError> {
        failure::check_context(choice)?;
        // Before an engine is built, which takes minutes.
        provider::check(choice, settings, bundle.contract.provenance.precision)?;
        let load = |folder: Option<&str>| Self::open(choice, folder, (bundle, settings, environment), pictures);
        if choice == ProviderChoice::TensorRt {
            // A library without TensorRT says so itself, and at once.
            let engines = if provider::is_built_in(choice) { engines } else { Engines::Build };
            Place::of(bundle, settings)?.with_engines(engines, |folder| match folder.map(Path::to_str) {
                Some(None) => Err(InferError::Setting {
                    setting: engine_cache::SETTING,
                    expected: "a path in Unicode, as ONNX Runtime asks for".to_owned(),
                    found: folder.unwrap_or(Path::new("")).display().to_string(),
                }),
                folder => load(folder.flatten()),
            })
        } else {
            load(None)
        }
    }

    fn open(
        choice: ProviderChoice,
        engines: Option<&str>,
        (bundle, settings, environment): (&Bundle, &InferSettings, &Environment),
        pictures: usize,
    ) -> Result<Self, InferError> {
        let failed = |error: ort::Error| runtime::failed("load", &error);
        let opening = Opening { bundle, settings, environment, choice, pictures, engines, profile: None };
        let graph = profile::count_nodes(&opening)?;
        let session = opening.open().map_err(failed)?;
        session::check(&session, bundle, pictures)?;
        session::check_batch(&session, settings.max_batch)?;
        let buffers = Buffers::new(&session, &bundle.contract, pictures, (choice, settings)).map_err(failed)?;
        let provider = ProviderInUse { requested: settings.provider, used: choice, failed: Vec::new(), graph };
        let picture_bytes = bundle.contract.input_bytes();
        let (input, max_batch) = (bundle.contract.input, settings.max_batch);
        let mut loaded =
            Self { session, buffers, provider, picture_bytes, pictures, input, max_batch, _freed: GiveBack };
        if let Err(error) = loaded.warm_up() {
            error.kind().free(loaded);
            return Err(error);
        }
        // Loading frees more than the model keeps.
        memory::give_back();
        Ok(loaded)
    }

    /// Before the first frame, and while another provider can still be tried.
    fn warm_up(&mut self) -> Result<(), InferError> {
        let plain = vec![WARM_UP_GREY; self.pictures * self.picture_bytes];
        for _ in 0..WARM_UP_RUNS {
            let answer = self.run(&plain);
            answer.map_err(|error| InferError::Runtime {
                step: "first run",
                kind: error.kind(),
                cause: error.to_string(),
            })?;
        }
        if self.max_batch > 1 {
            let plain = vec![WARM_UP_GREY; self.max_batch * self.picture_bytes];
            self.run_batch(&plain, self.max_batch, &mut Vec::new(), &mut Vec::new()).map_err(|error| {
                InferError::Runtime {
                    step: "first run of max_batch pictures",
                    kind: error.kind(),
                    cause: error.to_string(),
                }
            })?;
        }
        Ok(())
    }

    /// The most pictures of a run that [`Self::run_batch`] was loaded for.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Runs u8 [B, H, W, 3] for any B; puts out maps f32 [B, A, h, w] and presence f32 [B, A], not checked. The pictures
    /// are read where they lie: buffers of every size of batch would be many.
    ///
    /// # Errors
    /// The pictures have another size; or ONNX Runtime fails.
    pub fn run_batch(
        &mut self,
        pixels: &[u8],
        pictures: usize,
        maps: &mut Vec<f32>,
        presence: &mut Vec<f32>,
    ) -> Result<(), FrameError> {
        let (expected, found) = (pictures * self.picture_bytes, pixels.len());
        if found != expected {
            return Err(FrameError::Inference(format!("input: expected {expected} bytes, found {found}")));
        }
        let failed = |error: ort::Error| failure::of_run(&error);
        let shape = [pictures, self.input.height as usize, self.input.width as usize, 3];
        let image = TensorRef::from_array_view((shape, pixels)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![INPUT_IMAGE => image]).map_err(failed)?;
        for (name, kept) in [(OUTPUT_HEATMAP, maps), (OUTPUT_PRESENCE, presence)] {
            let value = outputs.get(name).ok_or_else(|| FrameError::Inference(format!("no output {name}")))?;
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            kept.clear();
            kept.extend_from_slice(values);
        }
        Ok(())
    }

    /// Runs u8 [B, H, W, 3]; gives maps f32 [B, A, h, w] and presence f32 [B, A], all finite.
    ///
    /// # Errors
    /// The pictures have another size; ONNX Runtime fails; or its answer is not finite.
    pub fn run(&mut self, pixels: &[u8]) -> Result<(&[f32], &[f32]), FrameError> {
        let (expected, found) = (self.pictures * self.picture_bytes, pixels.len());
        if found != expected {
            return Err(FrameError::Inference(format!("input: expected {expected} bytes, found {found}")));
        }
        let answer = self.buffers.run(&mut self.session, pixels);
        let (maps, presence) = answer.map_err(|error| failure::of_run(&error))?;
        check_finite(maps, presence)?;
        Ok((maps, presence))
    }
}

/// An answer has numbers only.
pub(super) fn check_finite(maps: &[f32], presence: &[f32]) -> Result<(), FrameError> {
    for (name, values) in [(OUTPUT_HEATMAP, maps), (OUTPUT_PRESENCE, presence)] {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(FrameError::Inference(format!("{name} holds {value}")));
        }
    }
    Ok(())
}
