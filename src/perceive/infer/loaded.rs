//! A session with its buffers, on the hardware that was asked for or stands in for it.

use ort::{environment::Environment, session::Session};

use super::{
    InferError, InferSettings, ProviderChoice, ProviderInUse,
    buffers::Buffers,
    engine_cache, options,
    profile::Profile,
    provider, runtime,
    session::{self, Opening},
};
use crate::{
    contract::{Bundle, MODEL_FILE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE},
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
    /// Bytes of a run's pictures.
    input_bytes: usize,
}

impl Loaded {
    /// Checks the bundle's graph against its contract, loads it on the hardware asked for and warms it up.
    pub fn load(bundle: &Bundle, settings: &InferSettings, pictures: usize) -> Result<Self, InferError> {
        onnx::check(&bundle.onnx, &bundle.contract, &bundle.folder.join(MODEL_FILE))?;
        let environment = runtime::environment(settings.library.as_deref())?;
        let candidates = provider::candidates(settings, provider::is_built_in);
        let (mut loaded, provider) = provider::first_that_works(settings, &candidates, |choice| {
            let load =
                |engines: Option<&str>| Self::load_on(choice, engines, (bundle, settings, &environment), pictures);
            if choice == ProviderChoice::TensorRt {
                with_engines(bundle, settings, |path| load(Some(path)))
            } else {
                load(None)
            }
        })?;
        let graph = loaded.provider.graph.take();
        loaded.provider = ProviderInUse { graph, ..provider };
        let ProviderInUse { requested, used, graph, .. } = &loaded.provider;
        let nodes = graph.as_ref().map_or_else(|| "graph nodes not counted".to_owned(), ToString::to_string);
        tracing::info!("execution provider: {} (asked for: {}): {nodes}", used.name(), requested.name());
        Ok(loaded)
    }

    fn load_on(
        choice: ProviderChoice,
        engines: Option<&str>,
        (bundle, settings, environment): (&Bundle, &InferSettings, &Environment),
        pictures: usize,
    ) -> Result<Self, InferError> {
        let failed = |error: ort::Error| InferError::Runtime { step: "load", cause: error.to_string() };
        let profile = Profile::new();
        let prefix = profile.as_ref().map(Profile::prefix);
        let profile_prefix = prefix.as_deref();
        let opening = Opening { bundle, settings, environment, choice, pictures, engines, profile: profile_prefix };
        let session = opening.open().map_err(failed)?;
        session::check(&session, bundle, pictures)?;
        let buffers = Buffers::new(&session, &bundle.contract, pictures, (choice, settings)).map_err(failed)?;
        let provider = ProviderInUse { requested: settings.provider, used: choice, failed: Vec::new(), graph: None };
        let input_bytes = pictures * input_bytes(&bundle.contract);
        let mut loaded = Self { session, buffers, provider, input_bytes };
        loaded.warm_up(profile)?;
        Ok(loaded)
    }

    /// Before the first frame, and while another provider can still be tried.
    fn warm_up(&mut self, mut profile: Option<Profile>) -> Result<(), InferError> {
        let plain = vec![WARM_UP_GREY; self.input_bytes];
        for _ in 0..WARM_UP_RUNS {
            let answer = self.run(&plain);
            answer.map_err(|error| InferError::Runtime { step: "first run", cause: error.to_string() })?;
            if let Some(profile) = profile.take() {
                self.provider.graph = profile.finish(&mut self.session);
            }
        }
        Ok(())
    }

    /// Runs u8 [B, H, W, 3]; gives maps f32 [B, A, h, w] and presence f32 [B, A], all finite.
    ///
    /// # Errors
    /// The pictures have another size; ONNX Runtime fails; or its answer is not finite.
    pub fn run(&mut self, pixels: &[u8]) -> Result<(&[f32], &[f32]), FrameError> {
        let (expected, found) = (self.input_bytes, pixels.len());
        if found != expected {
            return Err(FrameError::Inference(format!("input: expected {expected} bytes, found {found}")));
        }
        let answer = self.buffers.run(&mut self.session, pixels);
        let (maps, presence) = answer.map_err(|error| FrameError::Inference(error.to_string()))?;
        for (name, values) in [(OUTPUT_HEATMAP, maps), (OUTPUT_PRESENCE, presence)] {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(FrameError::Inference(format!("{name} holds {value}")));
            }
        }
        Ok((maps, presence))
    }
}

/// Bytes of one picture.
fn input_bytes(contract: &ModelContract) -> usize {
    3 * contract.input.height as usize * contract.input.width as usize
}

/// Loads on TensorRT with the engines kept for this model, these settings and this machine.
fn with_engines<T>(
    bundle: &Bundle,
    settings: &InferSettings,
    mut load: impl FnMut(&str) -> Result<T, InferError>,
) -> Result<T, InferError> {
    let variable = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    let root = engine_cache::root(settings.gpu.cache_dir.as_deref(), variable)?;
    let versions = engine_cache::versions(ort::info(), runtime::library().as_deref());
    let key = engine_cache::key(&bundle.contract.sha256, &options::tensorrt_build(settings), &versions);
    engine_cache::with_engines((&root, &key), &bundle.folder, |folder| match folder.to_str() {
        Some(folder) => load(folder),
        None => Err(InferError::Setting {
            setting: engine_cache::SETTING,
            expected: "a path in Unicode, as ONNX Runtime asks for".to_owned(),
            found: folder.display().to_string(),
        }),
    })
}
