//! The workshop of the node: one bundle, ONNX Runtime's providers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Failure, Workshop};
use crate::{
    config::{NodeSettings, ProviderChoice},
    contract::{Bundle, BundleError, ModelContract},
    parity::{
        Answer, ParityError,
        agreement::{self, Answers, Disagreement},
        pictures::Pictures,
    },
    perceive::{
        infer::{Engines, InferSettings, Model},
        pipeline::{Pipeline, PipelineSettings},
    },
    robot::watchdog::Pulse,
};

/// How many drawn pictures providers are compared on.
const PICTURES: usize = 4;

/// Gives the bundle, for each load anew: held all the time it would take as much memory as the model itself.
pub type BundleSource = Box<dyn Fn() -> Result<Arc<Bundle>, BundleError> + Send + Sync>;

/// Gives this bundle the first time, and then what lies in its folder, if that is still the same model.
pub fn from_folder(bundle: Bundle) -> BundleSource {
    let (folder, model_id) = (bundle.folder.clone(), bundle.contract.model_id());
    let first = Mutex::new(Some(Arc::new(bundle)));
    Box::new(move || {
        if let Some(bundle) = first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(bundle);
        }
        let again = Bundle::load(&folder)?;
        let found = again.contract.model_id();
        if found != model_id {
            let (path, what, expected) = (folder.clone(), "model".to_owned(), format!("{model_id} as before"));
            return Err(BundleError::Mismatch { path, what, expected, found });
        }
        Ok(Arc::new(again))
    })
}

/// Loads one bundle on one provider or another.
pub struct ModelWorkshop {
    /// What to load.
    pub bundle: BundleSource,
    /// Its contract.
    pub contract: ModelContract,
    /// How.
    pub infer: InferSettings,
    /// What a pipeline is made with; see [`crate::robot::run`].
    pub settings: watch::Receiver<Arc<NodeSettings>>,
    /// Beats while a model is loaded, for nothing runs meanwhile. Not while one is built, which takes minutes and keeps
    /// nobody waiting.
    pub loading: Arc<Pulse>,
}

impl ModelWorkshop {
    fn pipeline(&self, provider: ProviderChoice, engines: Engines) -> Result<Box<Pipeline>, Failure> {
        let bundle = (self.bundle)().map_err(|error| Failure::other(error.to_string()))?;
        let model = Model::load_on(&bundle, &self.infer, provider, engines);
        drop(bundle);
        let settings = self.settings.borrow().clone();
        let pipeline = model.and_then(|model| Pipeline::new(model, PipelineSettings::from(&*settings)));
        pipeline.map(Box::new).map_err(|error| Failure::from(&error))
    }
}

impl Workshop for ModelWorkshop {
    type Pipeline = Box<Pipeline>;
    type Answers = Answers;

    fn load(&self, provider: ProviderChoice) -> Result<Box<Pipeline>, Failure> {
        let _beat = self.loading.begin();
        self.pipeline(provider, Engines::Kept)
    }

    fn build(&self, provider: ProviderChoice) -> Result<Box<Pipeline>, Failure> {
        self.pipeline(provider, Engines::Build)
    }

    fn answers(&self, pipeline: &mut Box<Pipeline>) -> Result<Answers, Failure> {
        let pictures = Pictures::drawn(PICTURES, self.contract.input);
        Answers::of(&pictures, |picture| Ok(Answer::of(pipeline.answer_to(picture)?))).map_err(|error| failure(&error))
    }

    fn disagreement(&self, reference: &Answers, candidate: &Answers) -> Result<Disagreement, Failure> {
        let precision = self.contract.provenance.precision;
        let allowed = agreement::tolerance(precision, self.infer.gpu.tensorrt_fp16);
        reference.differ(candidate, allowed).map_err(|error| failure(&error))
    }
}

fn failure(error: &ParityError) -> Failure {
    match error {
        ParityError::Frame(error) => Failure::from(error),
        other => Failure::other(other.to_string()),
    }
}
