//! A loaded model.

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, builder::GraphOptimizationLevel},
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};

use super::{ClassMaps, InferError, InferSettings, ProviderChoice, ProviderInUse, provider, runtime};
use crate::{
    contract::{Bundle, BundleError, INPUT_IMAGE, MODEL_FILE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE},
    onnx,
    perceive::FrameError,
};

/// Rounding of a softmax-like sum may leave [0, 1] by this much; anything more is no presence.
const PRESENCE_SLACK: f32 = 1e-4;
/// A plain picture for the first run.
const WARM_UP_GREY: u8 = 128;

/// A model ready to run: one picture at a time, on one thread at a time (it may move between threads).
#[derive(Debug)]
pub struct Model {
    session: Session,
    contract: ModelContract,
    provider: ProviderInUse,
    maps: Vec<f32>,
    presence: Vec<f32>,
}

impl Model {
    /// Checks the bundle's graph against its contract, loads it on the hardware asked for and runs it once.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used; the graph is not what the contract says; the hardware can't be had and
    /// nothing may stand in for it; or the first run fails or gives NaN.
    pub fn load(bundle: &Bundle, settings: &InferSettings) -> Result<Self, InferError> {
        let path = bundle.folder.join(MODEL_FILE);
        onnx::check(&bundle.onnx, &bundle.contract, &path)?;
        let environment = runtime::environment(settings.library.as_deref())?;
        let candidates = provider::candidates(settings, provider::is_built_in);
        let (mut model, provider) = provider::first_that_works(settings, &candidates, |choice| {
            Self::load_on(choice, bundle, settings, &environment)
        })?;
        tracing::info!("execution provider: {} (asked for: {})", provider.used.name(), provider.requested.name());
        model.provider = provider;
        Ok(model)
    }

    fn load_on(
        choice: ProviderChoice,
        bundle: &Bundle,
        settings: &InferSettings,
        environment: &Environment,
    ) -> Result<Self, InferError> {
        let session = open_session(choice, bundle, settings, environment)
            .map_err(|error| InferError::Runtime { step: "load", cause: error.to_string() })?;
        check_session(&session, bundle)?;
        let contract = bundle.contract.clone();
        let provider = ProviderInUse { requested: settings.provider, used: choice, failed: Vec::new() };
        let mut model = Self { session, contract, provider, maps: Vec::new(), presence: Vec::new() };
        // Memory is laid out and kernels are chosen in the first run: before the first frame, and while another
        // provider can still be tried.
        let plain = vec![WARM_UP_GREY; model.input_bytes()];
        model.run(&plain).map_err(|error| InferError::Runtime { step: "first run", cause: error.to_string() })?;
        Ok(model)
    }

    /// Runs one picture: u8 [H, W, 3] RGB at the contract's input size, tight rows.
    ///
    /// # Errors
    /// The picture has another size; ONNX Runtime fails; or its answer is not finite, not of the contract's shape, or
    /// a presence outside [0, 1].
    pub fn run(&mut self, pixels: &[u8]) -> Result<ClassMaps<'_>, FrameError> {
        let expected = self.input_bytes();
        if pixels.len() != expected {
            let found = pixels.len();
            return Err(FrameError::Inference(format!("input: expected {expected} bytes, found {found}")));
        }
        let failed = |error: ort::Error| FrameError::Inference(error.to_string());
        let Self { session, contract, maps, presence, .. } = self;
        let (input, cells, actions) = (contract.input, contract.heatmap, contract.actions.len());
        let shape = [1, i64::from(input.height), i64::from(input.width), 3];
        let image = TensorRef::from_array_view((shape, pixels)).map_err(failed)?;
        let outputs = session.run(ort::inputs![INPUT_IMAGE => image]).map_err(failed)?;
        // The answer is some kilobytes: copying it costs less than keeping ONNX Runtime's own value alive would.
        let keep = |name: &str, sides: &[i64], target: &mut Vec<f32>| {
            let value = outputs.get(name).ok_or_else(|| FrameError::Inference(format!("no output {name}")))?;
            let (found, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            if **found != *sides {
                return Err(FrameError::Inference(format!("{name}: expected {sides:?}, found {found:?}")));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(FrameError::Inference(format!("{name} holds {value}")));
            }
            target.clear();
            target.extend_from_slice(values);
            Ok(())
        };
        let actions = actions as i64;
        keep(OUTPUT_HEATMAP, &[1, actions, i64::from(cells.height), i64::from(cells.width)], maps)?;
        keep(OUTPUT_PRESENCE, &[1, actions], presence)?;
        for value in &mut *presence {
            if !(-PRESENCE_SLACK..=1.0 + PRESENCE_SLACK).contains(value) {
                return Err(FrameError::Inference(format!("{OUTPUT_PRESENCE}: expected 0 to 1, found {value}")));
            }
            *value = value.clamp(0.0, 1.0);
        }
        Ok(ClassMaps { maps, size: cells, presence })
    }

    /// The last run's answer (the first run's, on a plain picture, while there was no other).
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

    fn input_bytes(&self) -> usize {
        3 * self.contract.input.height as usize * self.contract.input.width as usize
    }
}

fn open_session(
    choice: ProviderChoice,
    bundle: &Bundle,
    settings: &InferSettings,
    environment: &Environment,
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_log_level(LogLevel::Warning)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(settings.intra_op_threads)?
        // Spinning threads would take the cores the rest of the robot needs, for some percent of speed.
        .with_intra_op_spinning(false)?
        .with_execution_providers(provider::registrations(choice, settings))?
        // From the bytes that were verified, not from the file, which may have changed since.
        .commit_from_memory(&bundle.onnx)
}

/// What ONNX Runtime made of the graph must be what the contract promises.
fn check_session(session: &Session, bundle: &Bundle) -> Result<(), BundleError> {
    let ModelContract { input, heatmap, actions, .. } = &bundle.contract;
    let actions = actions.len() as i64;
    let image: (_, _, &[i64]) =
        (INPUT_IMAGE, TensorElementType::Uint8, &[i64::from(input.height), i64::from(input.width), 3]);
    let maps: (_, _, &[i64]) =
        (OUTPUT_HEATMAP, TensorElementType::Float32, &[actions, i64::from(heatmap.height), i64::from(heatmap.width)]);
    let presence: (_, _, &[i64]) = (OUTPUT_PRESENCE, TensorElementType::Float32, &[actions]);
    for (what, promised, found) in
        [("inputs", &[image][..], session.inputs()), ("outputs", &[maps, presence][..], session.outputs())]
    {
        let keeps = |promise: &&(&str, TensorElementType, &[i64])| found.iter().any(|outlet| is_kept(promise, outlet));
        if promised.len() != found.len() || !promised.iter().all(|promise| keeps(&promise)) {
            let describe = |(name, kind, sides): &(&str, TensorElementType, &[i64])| {
                let sides: String = sides.iter().map(|side| format!(", {side}")).collect();
                format!("{name} Tensor<{kind}>(batch{sides})")
            };
            return Err(BundleError::Mismatch {
                path: bundle.folder.join(MODEL_FILE),
                what: format!("{what}, as ONNX Runtime reads them"),
                expected: promised.iter().map(describe).collect::<Vec<_>>().join(", "),
                found: found.iter().map(|o| format!("{} {}", o.name(), o.dtype())).collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(())
}

/// Same name, type and sides; the batch may vary or be 1, since one picture is run at a time.
fn is_kept((name, kind, sides): &(&str, TensorElementType, &[i64]), outlet: &Outlet) -> bool {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return false };
    outlet.name() == *name
        && *ty == *kind
        && matches!(shape.first(), Some(-1 | 1))
        && shape.get(1..).is_some_and(|found| found == *sides)
}
