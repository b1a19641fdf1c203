//! From settings to a model that is ready to run, and its supervision.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

use super::{NodeError, models::ModelFacts, seat::Supervision, workplace::Workplace};
use crate::{
    contract::{Bundle, CONTRACT_FILE, Size},
    perceive::{infer::InferSettings, pipeline::PipelineSettings},
    robot::{
        Engine,
        accelerator::{self, ModelWorkshop, Plan, Started},
    },
};

/// Where the package installs its default bundle, below each prefix of AMENT_PREFIX_PATH.
const DEFAULT_BUNDLE: &str = "share/looptrans_ros/models/default";
/// Of the picture of a self-test: the same for every model.
const SEED: u64 = 1;

/// A model that is loaded, with its supervisor at work.
pub struct Supervised {
    /// What runs first.
    pub engine: Engine,
    /// What the supervisor says.
    pub supervision: Supervision,
    /// What is known of the model.
    pub facts: Arc<ModelFacts>,
}

/// Loads the bundle that the parameter `model` names on what is ready, runs it once and begins its supervision. Takes
/// seconds.
///
/// # Errors
/// No bundle, a bundle that is refused, hardware that cannot be had, an affordance the model does not have.
pub fn for_configure(place: &Workplace) -> Result<Supervised, NodeError> {
    // Also over what is built where nothing else can run.
    let _beat = place.loading.begin();
    let folder = place.current_settings().model.clone();
    let started = start(place, folder.as_deref())?;
    supervised(place, started, folder)
}

/// The same, without its supervision, for a model that is to replace one that works: it must also have a usable answer to a
/// picture that is not plain.
///
/// # Errors
/// As [`for_configure`]; or the answer is not finite, or a presence lies outside [0, 1].
pub fn self_tested(place: &Workplace, folder: &Path) -> Result<Started<ModelWorkshop>, NodeError> {
    let _beat = place.loading.begin();
    let mut started = start(place, Some(folder))?;
    let Size { height, width } = started.pipeline.contract().input;
    let mut noise = ChaCha8Rng::seed_from_u64(SEED);
    let mut picture = vec![0; 3 * height as usize * width as usize];
    noise.fill_bytes(&mut picture);
    match started.pipeline.answer_to(&picture).map(drop) {
        Ok(()) => Ok(started),
        Err(error) => {
            error.kind().free(started);
            Err(NodeError::SelfTest(error))
        }
    }
}

/// Begins the supervision of a model from this folder; None is the default bundle.
///
/// # Errors
/// The system gives no thread.
pub fn supervised(
    place: &Workplace,
    started: Started<ModelWorkshop>,
    folder: Option<PathBuf>,
) -> Result<Supervised, NodeError> {
    let begun = Supervision::begin(started, place.loading.clone());
    let (pipeline, supervision) =
        begun.map_err(|source| NodeError::System { what: "the accelerator thread", source })?;
    let facts = Arc::new(ModelFacts::of(&pipeline, folder, supervision.standing()));
    Ok(Supervised { engine: Engine { pipeline, reporter: Some(supervision.reporter()) }, supervision, facts })
}

fn start(place: &Workplace, folder: Option<&Path>) -> Result<Started<ModelWorkshop>, NodeError> {
    let bundle = match folder {
        Some(folder) => Bundle::load(folder)?,
        None => Bundle::load(&default_bundle()?)?,
    };
    let settings = place.current_settings();
    PipelineSettings::from(&*settings).check(&bundle.contract)?;
    let infer = InferSettings::from(&*settings);
    let plan = Plan::of(&bundle, &infer)?;
    let workshop = ModelWorkshop {
        contract: bundle.contract.clone(),
        bundle: accelerator::from_folder(bundle),
        infer,
        settings: place.settings.clone(),
        loading: place.loading.clone(),
    };
    Ok(accelerator::start(workshop, plan)?)
}

fn default_bundle() -> Result<PathBuf, NodeError> {
    let prefixes = std::env::var_os("AMENT_PREFIX_PATH").unwrap_or_default();
    let mut tried: Vec<_> = std::env::split_paths(&prefixes).map(|prefix| prefix.join(DEFAULT_BUNDLE)).collect();
    let is_bundle = |folder: &PathBuf| Path::is_file(&folder.join(CONTRACT_FILE));
    match tried.iter().position(is_bundle) {
        Some(index) => Ok(tried.swap_remove(index)),
        None => Err(NodeError::NoModel { tried }),
    }
}
