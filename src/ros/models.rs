//! What is known of the model, for everybody.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    config::NodeSettings,
    contract::ModelContract,
    perceive::{
        infer::ProviderInUse,
        pipeline::{Pipeline, PipelineSettings},
    },
    robot::accelerator::Standing,
};

/// The model that is loaded, the one that was, and the one that is about to be.
#[derive(Debug, Default)]
pub struct Models(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    loaded: Option<Arc<ModelFacts>>,
    /// Also after it was freed.
    last: Option<Arc<ModelFacts>>,
    /// On its way to the loop.
    coming: Option<Arc<ModelFacts>>,
}

/// What is known of one model.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// "<name>:<12 hex digits of its sha256>".
    pub id: String,
    /// The bundle's folder, as the parameter `model` names it; None: the installed default.
    pub folder: Option<PathBuf>,
    /// What it promises.
    pub contract: ModelContract,
    /// The hardware that it was loaded on.
    pub provider: ProviderInUse,
    /// What its supervisor says of the hardware, now and later.
    pub standing: watch::Receiver<Standing>,
}

/// A model on its way. Dropped when it has arrived or never will.
#[derive(Debug)]
pub struct Coming(Arc<Models>);

impl ModelFacts {
    /// What a pipeline says of its model, which was loaded from `folder`, beside what its supervisor says.
    pub fn of(pipeline: &Pipeline, folder: Option<PathBuf>, standing: watch::Receiver<Standing>) -> Self {
        let contract = pipeline.contract().clone();
        Self { id: contract.model_id(), folder, contract, provider: pipeline.provider().clone(), standing }
    }
}

impl Models {
    /// The model that is loaded.
    pub fn loaded(&self) -> Option<Arc<ModelFacts>> {
        self.known().loaded.clone()
    }

    /// The model that is loaded, or was last.
    pub fn last(&self) -> Option<Arc<ModelFacts>> {
        self.known().last.clone()
    }

    /// Why this process must end: the GPU that the loaded model ran on is lost to it.
    pub fn why_to_end(&self) -> Option<String> {
        self.known().loaded.as_ref()?.standing.borrow().ends.clone()
    }

    /// Another model is loaded, or none.
    pub fn set(&self, facts: Option<Arc<ModelFacts>>) {
        let mut known = self.known();
        known.last = facts.clone().or_else(|| known.last.take());
        known.loaded = facts;
    }

    /// From now on settings must fit this model as well.
    pub fn await_model(self: &Arc<Self>, facts: Arc<ModelFacts>) -> Coming {
        self.known().coming = Some(facts);
        Coming(self.clone())
    }

    /// Do the settings fit the model that is loaded, and the one that is on its way? Without a model any do: configure
    /// will check them.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, settings: &NodeSettings) -> Result<(), String> {
        let known = self.known();
        let wanted = PipelineSettings::from(settings);
        let mut models = known.loaded.iter().chain(&known.coming);
        models.try_for_each(|model| wanted.check(&model.contract)).map_err(|error| error.to_string())
    }

    // Facts for people: one of two assignments missing after a panic would do no harm.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.known().coming = None;
    }
}
