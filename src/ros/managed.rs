//! The work behind each transition: what is loaded, what runs.
//!
//! ```text
//! configure    model-load thread -> Pipeline; output topics
//! activate     all inputs -> Intake; perception thread: Intake -> robot::run (Pipeline) -> a RosSink each
//! swap_model   another Pipeline: into what is held, or between two frames of the loop
//! deactivate   inputs closed; the frame at work is finished; Pipeline and RosSinks come back
//! cleanup      all of it freed
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use r2r::{Publisher, looptrans_ros::msg::LabelInfo};
use tokio::sync::{oneshot, watch};

use super::{
    NodeError,
    camera::{Cameras, RosIntake},
    clock::RosClock,
    door::Door,
    load,
    models::{ModelFacts, Models},
    parameters::Parameters,
    publish::{self, RosSink},
    qos,
    spin::Spin,
    status,
};
use crate::{
    config::NodeSettings,
    perceive::pipeline::Pipeline,
    robot::{
        self, Order, Sink, Summary, Swap,
        lifecycle::{Outcome, State},
        watchdog::Pulse,
    },
};

/// What the work needs, and what others may know of it. Lives as long as the node.
pub struct Workplace {
    /// The way to the ROS thread.
    pub spin: Spin,
    /// The ROS clock.
    pub clock: RosClock,
    /// The node's cameras.
    pub cameras: Cameras,
    /// The settings in force; see [`robot::run`].
    pub settings: watch::Receiver<Arc<NodeSettings>>,
    /// What is known of the model.
    pub models: Arc<Models>,
    /// The parameters and their services.
    pub parameters: Arc<Parameters>,
    /// The way to the loop, while active.
    pub door: Door,
    /// Beats while a model is being loaded.
    pub loading: Arc<Pulse>,
}

/// What the node holds in its state. Each change consumes it and gives it back.
pub struct Holding {
    place: Arc<Workplace>,
    stage: Stage,
}

enum Stage {
    Empty,
    Loaded(Box<Loaded>),
    Running(Running),
}

/// Everything that cleanup frees.
struct Loaded {
    pipeline: Box<Pipeline>,
    /// One for each camera.
    sinks: Vec<RosSink>,
    labels: Labels,
}

struct Running {
    intake: Arc<RosIntake>,
    /// What the perception thread was given, when it has ended.
    ended: oneshot::Receiver<Box<Loaded>>,
    labels: Labels,
}

/// `~/label_info`. One publishes at a time, so that the newest model's labels are the last.
#[derive(Clone)]
struct Labels(Arc<Mutex<Publisher<LabelInfo>>>);

/// Why a model was not swapped in. What was held is held as before.
pub struct NotSwapped {
    /// The one that is not used. Freeing it takes a while.
    pub pipeline: Box<Pipeline>,
    /// In words.
    pub reason: String,
}

/// Why a transition did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// How it ends then.
    pub outcome: Outcome,
    /// The cause.
    pub error: NodeError,
}

impl Workplace {
    /// What the node's whole life came to; None if it never had a model.
    pub fn summary(&self) -> Option<Summary> {
        let last = self.models.last()?;
        Some(Summary::of(&self.cameras.healths(), last.id.clone(), last.provider.used.name().to_owned()))
    }

    /// The settings in force.
    pub fn current_settings(&self) -> Arc<NodeSettings> {
        self.settings.borrow().clone()
    }

    /// Creates the output topics: each camera's, and the one for all. On an error there are none.
    async fn create_topics(
        &self,
        settings: Arc<NodeSettings>,
        model_id: String,
    ) -> Result<(Vec<RosSink>, Labels), NodeError> {
        let create_sinks = self.cameras.sinks(settings, model_id);
        let topics = self.spin.call(move |works| {
            let sinks = create_sinks(works)?;
            match publish::create(works, "~/label_info", qos::latched()) {
                Ok(label_info) => Ok((sinks, Labels(Arc::new(Mutex::new(label_info))))),
                Err(error) => {
                    sinks.into_iter().for_each(|sink| sink.destroy(works));
                    Err(error)
                }
            }
        });
        Ok(topics.await??)
    }
}

impl Holding {
    /// Nothing, at the start.
    pub fn nothing(place: Arc<Workplace>) -> Self {
        Self { place, stage: Stage::Empty }
    }

    /// Does the work of a state. On a failure what is held is what was held before; on an error, nothing.
    pub async fn work(mut self, state: State) -> (Self, Result<(), Failed>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Empty);
        let result = match (state, stage) {
            (State::Configuring, Stage::Empty) => self.configure().await,
            (State::Activating, Stage::Loaded(loaded)) => self.activate(loaded).await,
            (State::Deactivating, Stage::Running(running)) => self.deactivate(running).await,
            // Cleaning up, shutting down and error processing let go of whatever there is.
            (_, stage) => self.let_go(stage).await,
        };
        (self, result)
    }

    /// Resolves when the perception thread ends by itself.
    pub async fn broken(&mut self) {
        match &mut self.stage {
            Stage::Running(running) => drop((&mut running.ended).await),
            Stage::Empty | Stage::Loaded(_) => std::future::pending().await,
        }
    }

    /// Has the loop take the settings also while no frame comes, and publishes the labels again with the threshold in them.
    pub fn settings_changed(&self) {
        match &self.stage {
            Stage::Empty => {}
            Stage::Loaded(loaded) => loaded.labels.publish(&self.place),
            Stage::Running(running) => {
                // Refused only while the loop ends.
                drop(running.intake.order(Order::Settings));
                running.labels.publish(&self.place);
            }
        }
    }

    /// Takes nothing in any more, and waits for the frame at work.
    pub async fn finish_frame(&mut self) {
        if let Stage::Running(running) = &self.stage {
            self.place.door.close();
            self.place.cameras.close();
            running.intake.stop();
            self.broken().await;
        }
    }

    /// Puts another model to work, which is loaded, checked and made for the settings in force: at once, or between two
    /// frames of the loop. Before the first frame of it `~/label_info` tells of it. The receiver gives the model before,
    /// which is not to be freed on a thread that answers requests; it fails if the loop ends first, and nothing has
    /// changed then.
    ///
    /// # Errors
    /// Nothing is loaded, or the settings have changed so that they do not fit the model.
    pub fn swap_model(
        &mut self,
        pipeline: Box<Pipeline>,
        facts: Arc<ModelFacts>,
    ) -> Result<oneshot::Receiver<Box<Pipeline>>, NotSwapped> {
        let Some(labels) = self.labels() else {
            return Err(NotSwapped { pipeline, reason: "no model is loaded any more: configure the node".to_owned() });
        };
        let coming = match self.place.parameters.expect_model(&facts) {
            Ok(coming) => coming,
            Err(reason) => return Err(NotSwapped { pipeline, reason }),
        };
        let (done, old) = oneshot::channel();
        let (place, id) = (self.place.clone(), facts.id.clone());
        let announce = move || {
            place.models.set(Some(facts.clone()));
            labels.publish(&place);
            place.parameters.model_is(facts.folder.as_deref());
            drop(coming);
        };
        match &mut self.stage {
            Stage::Empty => {}
            Stage::Loaded(loaded) => {
                let old = std::mem::replace(&mut loaded.pipeline, pipeline);
                loaded.sinks.iter_mut().for_each(|sink| sink.model_changed(&id));
                announce();
                // Who does not wait for it lets it be freed here.
                let _ = done.send(old);
            }
            Stage::Running(running) => {
                // Refused only while the loop ends: the receiver tells.
                drop(running.intake.order(Order::Swap(Swap { pipeline, announce: Box::new(announce), done })));
            }
        }
        Ok(old)
    }

    fn labels(&self) -> Option<Labels> {
        match &self.stage {
            Stage::Empty => None,
            Stage::Loaded(loaded) => Some(loaded.labels.clone()),
            Stage::Running(running) => Some(running.labels.clone()),
        }
    }

    async fn configure(&mut self) -> Result<(), Failed> {
        let place = self.place.clone();
        let settings = place.current_settings();
        let loading = {
            let (settings, pulse) = (settings.clone(), place.loading.clone());
            on_thread("model-load", move || {
                let _beat = pulse.begin();
                load::pipeline(&settings)
            })?
        };
        let pipeline = loading.await.map_err(|_| broken("model-load"))??;
        let facts = Arc::new(ModelFacts::of(&pipeline, settings.model.clone()));
        let (sinks, labels) = place.create_topics(settings, facts.id.clone()).await?;
        place.models.set(Some(facts));
        labels.publish(&place);
        let loaded = Loaded { pipeline: Box::new(pipeline), sinks, labels };
        self.stage = Stage::Loaded(Box::new(loaded));
        Ok(())
    }

    async fn activate(&mut self, mut loaded: Box<Loaded>) -> Result<(), Failed> {
        let place = self.place.clone();
        let intake = match place.cameras.open(&place.spin).await {
            Ok(intake) => intake,
            Err(error) => {
                place.cameras.close();
                self.stage = Stage::Loaded(loaded);
                return Err(error.into());
            }
        };
        let labels = loaded.labels.clone();
        let ended = {
            let (intake, clock, settings) = (intake.clone(), place.clock.clone(), place.settings.clone());
            on_thread("perception", move || {
                let Loaded { pipeline, sinks, .. } = &mut *loaded;
                robot::run(&intake, pipeline, sinks, settings, &|| clock.now_nanos());
                loaded
            })
            .map_err(lost)?
        };
        place.door.open(intake.clone());
        self.stage = Stage::Running(Running { intake, ended, labels });
        if let Some(facts) = place.models.loaded() {
            let (model, provider) = (&facts.id, facts.provider.used.name());
            tracing::info!("model {model} on {provider}; waiting for images on {}", place.cameras.topics());
        }
        Ok(())
    }

    async fn deactivate(&mut self, running: Running) -> Result<(), Failed> {
        self.place.door.close();
        self.place.cameras.close();
        running.intake.stop();
        let loaded = running.ended.await.map_err(|_| broken("perception"))?;
        self.stage = Stage::Loaded(loaded);
        Ok(())
    }

    async fn let_go(&mut self, stage: Stage) -> Result<(), Failed> {
        let loaded = match stage {
            Stage::Empty => return Ok(()),
            Stage::Loaded(loaded) => loaded,
            Stage::Running(running) => {
                self.place.door.close();
                self.place.cameras.close();
                running.intake.stop();
                running.ended.await.map_err(|_| broken("perception"))?
            }
        };
        let Loaded { pipeline, sinks, labels } = *loaded;
        self.place.models.set(None);
        let destroyed = self.place.spin.call(move |works| {
            sinks.into_iter().for_each(|sink| sink.destroy(works));
            let publisher = labels.publisher().clone();
            works.node.destroy_publisher(publisher);
        });
        destroyed.await.map_err(lost)?;
        // Freeing a model can take a while: not on a thread that answers requests.
        on_thread("model-free", move || drop(pipeline)).map_err(lost)?.await.map_err(|_| broken("model-free"))?;
        Ok(())
    }
}

impl Labels {
    /// Tells of the model that is loaded.
    fn publish(&self, place: &Workplace) {
        let publisher = self.publisher();
        let Some(facts) = place.models.loaded() else { return };
        let threshold = place.current_settings().heat_threshold;
        let labels = status::labels(place.clock.now(), &facts, threshold);
        if let Err(error) = publish::publish(&publisher, "~/label_info", &labels) {
            tracing::warn!("{error}");
        }
    }

    // Only used, never changed: a panic elsewhere does no harm.
    fn publisher(&self) -> MutexGuard<'_, Publisher<LabelInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<NodeError> for Failed {
    fn from(error: NodeError) -> Self {
        Self { outcome: Outcome::Failure, error }
    }
}

fn broken(thread: &'static str) -> Failed {
    lost(NodeError::Ended(thread))
}

/// What was held is gone.
fn lost(error: NodeError) -> Failed {
    Failed { outcome: Outcome::Error, error }
}

/// Runs `work` on a thread of its own. The receiver gets an error when it panics.
pub(super) fn on_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, NodeError> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody listens any more only while the process ends.
            let _ = sender.send(work());
        })
        .map_err(|source| NodeError::System { what: name, source })?;
    Ok(receiver)
}
