//! The workshop of the node: one bundle, ONNX Runtime's providers.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Failure, Plan, Workshop};
use crate::{
    config::{NodeSettings, ProviderChoice},
    contract::Bundle,
    parity::{
        Answer, ParityError,
        agreement::{self, Answers, Disagreement},
        pictures::Pictures,
    },
    perceive::{
        InferError,
        infer::{Engines, InferSettings, Model, Prospects},
        pipeline::{Pipeline, PipelineSettings},
    },
    robot::watchdog::Pulse,
};

/// How many drawn pictures providers are compared on.
const PICTURES: usize = 4;

/// Loads one bundle on one provider or another.
pub struct ModelWorkshop {
    /// What to load.
    pub bundle: Arc<Bundle>,
    /// How.
    pub infer: InferSettings,
    /// What a pipeline is made with; see [`crate::robot::run`].
    pub settings: watch::Receiver<Arc<NodeSettings>>,
    /// Beats while a model is loaded, for nothing runs meanwhile. Not while one is built, which takes minutes and keeps
    /// nobody waiting.
    pub loading: Arc<Pulse>,
}

impl ModelWorkshop {
    /// What to try here.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used.
    pub fn plan(&self) -> Result<Plan, InferError> {
        let InferSettings { provider, allow_fallback, .. } = self.infer;
        Ok(Plan::new(provider, allow_fallback, Prospects::of(&self.bundle, &self.infer)?))
    }

    fn pipeline(&self, provider: ProviderChoice, engines: Engines) -> Result<Box<Pipeline>, Failure> {
        let model = Model::load_on(&self.bundle, &self.infer, provider, engines);
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
        let pictures = Pictures::drawn(PICTURES, self.bundle.contract.input);
        Answers::of(&pictures, |picture| Ok(Answer::of(pipeline.answer_to(picture)?))).map_err(|error| failure(&error))
    }

    fn disagreement(&self, reference: &Answers, candidate: &Answers) -> Result<Disagreement, Failure> {
        let precision = self.bundle.contract.provenance.precision;
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
