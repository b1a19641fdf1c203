//! `~/set_model`: verify, load aside, self-test, swap. Whatever fails, the model before stays in use.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use r2r::looptrans_ros::srv::SetModel;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Desk, SET_MODEL, clean};
use crate::{
    robot::lifecycle::State,
    ros::{
        NodeError,
        load::{self, Supervised},
        managed::{Before, NotSwapped, on_thread},
    },
};

/// A model that is to be put to work, see [`super::super::managed::Holding::swap_model`].
pub struct NewModel {
    model: Supervised,
    /// Gets what [`Self::swap`] is given.
    answer: oneshot::Sender<Result<Before, NotSwapped>>,
}

impl NewModel {
    /// Has `put` put it to work.
    pub fn swap(self, put: impl FnOnce(Supervised) -> Result<Before, NotSwapped>) {
        // Who loaded it waits, unless the process ends.
        let _ = self.answer.send(put(self.model));
    }
}

/// Loads one model at a time.
#[derive(Clone)]
pub(super) struct Loader {
    desk: Desk,
    new_models: mpsc::Sender<NewModel>,
    at_work: Arc<Mutex<()>>,
}

/// One request.
struct Load {
    folder: PathBuf,
    is_dry_run: bool,
}

impl Loader {
    pub fn new(desk: Desk) -> (Self, mpsc::Receiver<NewModel>) {
        let (new_models, receiver) = mpsc::channel(1);
        (Self { desk, new_models, at_work: Arc::default() }, receiver)
    }

    pub async fn answer(self, request: SetModel::Request) -> SetModel::Response {
        let in_use = || self.desk.place.models.loaded().map(|model| model.id.clone()).unwrap_or_default();
        let previous_model_id = in_use();
        let result = self.set(request).await;
        match &result {
            Ok(message) => tracing::info!("{SET_MODEL}: {}", clean(message)),
            Err(message) => tracing::warn!("{SET_MODEL}: nothing changed: {}", clean(message)),
        }
        let (success, message) = super::told(result);
        SetModel::Response { success, message, model_id: in_use(), previous_model_id }
    }

    async fn set(&self, request: SetModel::Request) -> Result<String, String> {
        let Ok(turn) = self.at_work.clone().try_lock_owned() else {
            return Err("busy: another model is being loaded; ask again when that is done".to_owned());
        };
        match self.desk.managed.state() {
            State::Active | State::Inactive => {}
            State::Unconfigured => return Err("the node is unconfigured: configure it first".to_owned()),
            State::Finalized => return Err("the node is finalized: start it anew".to_owned()),
            state => return Err(format!("the node is {state}: ask again when it is inactive or active")),
        }
        let load = Load { folder: absolute(&request.bundle)?, is_dry_run: request.dry_run };
        let loader = self.clone();
        let working = on_thread("model-load", move || {
            let result = loader.work(load);
            // Before the answer: who has it may ask again.
            drop(turn);
            result
        });
        let finished = working.map_err(|error| error.to_string())?.await;
        finished.map_err(|_| "the model-load thread ended unexpectedly".to_owned())?
    }

    /// On a thread of its own. Models that are not used any more are freed here as well, and their supervision ends.
    fn work(&self, Load { folder, is_dry_run }: Load) -> Result<String, String> {
        let failed = |error: NodeError| error.to_string();
        let started = load::self_tested(&self.desk.place, &folder).map_err(failed)?;
        let pipeline = &started.pipeline;
        let (id, provider) = (pipeline.contract().model_id(), pipeline.provider().used.name());
        if is_dry_run {
            return Ok(format!("dry run: model {id} works on {provider}; nothing changed"));
        }
        let (answer, swapping) = oneshot::channel();
        let new =
            NewModel { model: load::supervised(&self.desk.place, started, Some(folder)).map_err(failed)?, answer };
        let ends = || "the node ends".to_owned();
        self.new_models.blocking_send(new).map_err(|_| ends())?;
        let swapped = swapping.blocking_recv().map_err(|_| ends())?;
        let before = swapped.map_err(|NotSwapped { model, reason }| {
            model.supervision.end();
            reason
        })?;
        before.supervision.end();
        drop(before.engine.blocking_recv().map_err(|_| self.desk.gone())?);
        Ok(format!("model {id} on {provider}"))
    }
}

/// A path means the same to the client and the node only if it is absolute.
fn absolute(bundle: &str) -> Result<PathBuf, String> {
    let folder = Path::new(bundle);
    if folder.is_absolute() {
        return Ok(folder.to_owned());
    }
    Err(format!("bundle: expected the absolute path of a folder on the node's machine, found {bundle:?}"))
}
