//! The work behind each transition: what is loaded, what runs.
//!
//! ```text
//! configure    model-load thread -> Pipeline; output topics
//! activate     inputs -> Intake; perception thread: Intake -> robot::run (Pipeline) -> RosSink
//! deactivate   inputs closed; the frame at work is finished; Pipeline and RosSink come back
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
    camera::{Camera, RosIntake},
    clock::RosClock,
    load,
    publish::{self, RosSink},
    qos,
    spin::Spin,
    status,
};
use crate::{
    config::NodeSettings,
    contract::ModelContract,
    perceive::{infer::ProviderInUse, pipeline::Pipeline},
    robot::{
        self, Order, Summary,
        lifecycle::{Outcome, State},
    },
};

/// What the work needs, and what others may know of it. Lives as long as the node.
pub struct Workplace {
    /// The way to the ROS thread.
    pub spin: Spin,
    /// The ROS clock.
    pub clock: RosClock,
    /// The node's camera.
    pub camera: Camera,
    /// The settings in force; see [`robot::run`].
    pub settings: watch::Receiver<Arc<NodeSettings>>,
    /// What is known of the model.
    pub models: Arc<Models>,
}

/// What is known of the model, for everybody.
#[derive(Debug, Default)]
pub struct Models(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    loaded: Option<Arc<ModelFacts>>,
    /// Also after it was freed.
    last: Option<Arc<ModelFacts>>,
}

impl Models {
    /// The model that is loaded.
    pub fn loaded(&self) -> Option<Arc<ModelFacts>> {
        self.known().loaded.clone()
    }

    fn last(&self) -> Option<Arc<ModelFacts>> {
        self.known().last.clone()
    }

    fn set(&self, facts: Option<Arc<ModelFacts>>) {
        let mut known = self.known();
        known.last = facts.clone().or_else(|| known.last.take());
        known.loaded = facts;
    }

    // Facts for people: one of two assignments missing after a panic would do no harm.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the model that is loaded.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// "<name>:<12 hex digits of its sha256>".
    pub id: String,
    /// What it promises.
    pub contract: ModelContract,
    /// The hardware in use.
    pub provider: ProviderInUse,
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
    sink: RosSink,
    labels: Labels,
}

struct Running {
    intake: Arc<RosIntake>,
    /// What the perception thread was given, when it has ended.
    ended: oneshot::Receiver<Box<Loaded>>,
    labels: Labels,
}

/// `~/label_info`.
#[derive(Clone)]
struct Labels {
    publisher: Publisher<LabelInfo>,
    facts: Arc<ModelFacts>,
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
        Some(self.camera.health.summary(last.id.clone(), last.provider.used.name().to_owned()))
    }

    /// The settings in force.
    pub fn current_settings(&self) -> Arc<NodeSettings> {
        self.settings.borrow().clone()
    }

    /// Creates the output topics.
    async fn create_topics(
        &self,
        settings: Arc<NodeSettings>,
        model_id: String,
    ) -> Result<(RosSink, Publisher<LabelInfo>), NodeError> {
        let sink = self.camera.create_sink(&self.spin, settings, model_id).await?;
        let topics =
            self.spin.call(move |works| match publish::create(&mut works.node, "~/label_info", qos::latched()) {
                Ok(label_info) => Ok((sink, label_info)),
                Err(error) => {
                    sink.destroy(works);
                    Err(error)
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
            self.place.camera.close();
            running.intake.stop();
            self.broken().await;
        }
    }

    async fn configure(&mut self) -> Result<(), Failed> {
        let place = self.place.clone();
        let settings = place.current_settings();
        let loading = {
            let settings = settings.clone();
            on_thread("model-load", move || load::pipeline(&settings))?
        };
        let pipeline = loading.await.map_err(|_| broken("model-load"))??;
        let facts = Arc::new(ModelFacts {
            id: pipeline.contract().model_id(),
            contract: pipeline.contract().clone(),
            provider: pipeline.provider().clone(),
        });
        let (sink, publisher) = place.create_topics(settings, facts.id.clone()).await?;
        let labels = Labels { publisher, facts: facts.clone() };
        labels.publish(&place);
        let loaded = Loaded { pipeline: Box::new(pipeline), sink, labels };
        place.models.set(Some(facts));
        self.stage = Stage::Loaded(Box::new(loaded));
        Ok(())
    }

    async fn activate(&mut self, mut loaded: Box<Loaded>) -> Result<(), Failed> {
        let place = self.place.clone();
        let intake = match place.camera.open(&place.spin).await {
            Ok(intake) => intake,
            Err(error) => {
                place.camera.close();
                self.stage = Stage::Loaded(loaded);
                return Err(error.into());
            }
        };
        let labels = loaded.labels.clone();
        let facts = labels.facts.clone();
        let ended = {
            let (intake, clock, settings) = (intake.clone(), place.clock.clone(), place.settings.clone());
            on_thread("perception", move || {
                let Loaded { pipeline, sink, .. } = &mut *loaded;
                robot::run(&intake, pipeline, std::slice::from_mut(sink), settings, &|| clock.now_nanos());
                loaded
            })
            .map_err(lost)?
        };
        self.stage = Stage::Running(Running { intake, ended, labels });
        tracing::info!(
            "model {} on {}; waiting for images on {}",
            facts.id,
            facts.provider.used.name(),
            place.camera.topic.resolved
        );
        Ok(())
    }

    async fn deactivate(&mut self, running: Running) -> Result<(), Failed> {
        self.place.camera.close();
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
                self.place.camera.close();
                running.intake.stop();
                running.ended.await.map_err(|_| broken("perception"))?
            }
        };
        let Loaded { pipeline, sink, labels } = *loaded;
        self.place.models.set(None);
        let destroyed = self.place.spin.call(move |works| {
            sink.destroy(works);
            works.node.destroy_publisher(labels.publisher);
        });
        destroyed.await.map_err(lost)?;
        // Freeing a model can take a while: not on a thread that answers requests.
        on_thread("model-free", move || drop(pipeline)).map_err(lost)?.await.map_err(|_| broken("model-free"))?;
        Ok(())
    }
}

impl Labels {
    fn publish(&self, place: &Workplace) {
        let threshold = place.current_settings().heat_threshold;
        let labels = status::labels(place.clock.now(), &self.facts, threshold);
        if let Err(error) = publish::publish(&self.publisher, "~/label_info", &labels) {
            tracing::warn!("{error}");
        }
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
fn on_thread<T: Send + 'static>(
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
