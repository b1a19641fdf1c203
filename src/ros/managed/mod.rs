//! The work behind each transition: what is loaded, what runs.
//!
//! ```text
//! configure    model-load thread -> Engine, and its Supervision begins; output topics
//! activate     all inputs -> Intake; perception thread: Intake -> robot::run (Engine) -> a RosSink each
//! swap_model   another model: into what is held, or between two frames of the loop
//! serve        the same for the same model, on other hardware or loaded anew, as the supervision asks for it
//! deactivate   inputs closed; the frame at work is finished; Engine and RosSinks come back
//! cleanup      the supervision ended, all of it freed
//! ```

mod swap;

use std::{path::PathBuf, sync::Arc, thread};

use tokio::sync::oneshot;

pub use self::swap::{Before, NotSwapped};
use super::{
    NodeError,
    camera::RosIntake,
    load::{self, Supervised},
    publish::RosSink,
    seat::{Said, SeatRequest, Supervision},
    workplace::{Labels, Workplace},
};
use crate::robot::{
    self, Engine, Order,
    lifecycle::{Outcome, State},
};

/// What the node holds in its state. Each change consumes it and gives it back.
pub struct Holding {
    place: Arc<Workplace>,
    /// None: unconfigured.
    model: Option<(Held, At)>,
}

/// What is held beside the engine, wherever that is. With it, everything that cleanup frees.
struct Held {
    labels: Labels,
    supervision: Supervision,
    /// The bundle's, as the parameter `model` names it.
    folder: Option<PathBuf>,
}

/// Where the engine is.
enum At {
    /// Inactive.
    Rest(Box<Loaded>),
    /// Active.
    Loop(Running),
}

/// What the perception thread works with.
struct Loaded {
    engine: Engine,
    /// One for each camera.
    sinks: Vec<RosSink>,
}

struct Running {
    intake: Arc<RosIntake>,
    /// What the perception thread was given, when it has ended.
    ended: oneshot::Receiver<Box<Loaded>>,
}

/// What happens while no transition is under way.
pub enum Event {
    /// The supervisor asks for this.
    Request(SeatRequest),
    /// The model runs nowhere any more.
    GaveUp,
    /// This thread has ended by itself.
    Broken(&'static str),
}

/// Why a transition did not succeed.
#[derive(Debug)]
pub struct Failed {
    /// How it ends then.
    pub outcome: Outcome,
    /// The cause.
    pub error: NodeError,
}

impl Holding {
    /// Nothing, at the start.
    pub fn nothing(place: Arc<Workplace>) -> Self {
        Self { place, model: None }
    }

    /// Does the work of a state. On a failure what is held is what was held before; on an error, nothing.
    pub async fn work(mut self, state: State) -> (Self, Result<(), Failed>) {
        let result = match (state, self.model.take()) {
            (State::Configuring, None) => self.configure().await,
            (State::Activating, Some((held, At::Rest(loaded)))) => self.activate(held, loaded).await,
            (State::Deactivating, Some((held, At::Loop(running)))) => self.deactivate(held, running).await,
            // Cleaning up, shutting down and error processing let go of whatever there is.
            (_, model) => self.let_go(model).await,
        };
        (self, result)
    }

    /// Waits for what happens by itself. Nothing is lost where the waiting is given up.
    pub async fn event(&mut self) -> Event {
        let Some((held, at)) = &mut self.model else { return std::future::pending().await };
        let perception = async {
            match at {
                At::Rest(_) => std::future::pending().await,
                At::Loop(running) => drop((&mut running.ended).await),
            }
        };
        tokio::select! {
            () = perception => Event::Broken("perception"),
            said = held.supervision.next() => match said {
                Said::Request(request) => Event::Request(request),
                Said::GaveUp => Event::GaveUp,
                Said::Ended => Event::Broken("accelerator"),
            }
        }
    }

    /// Has the loop take the settings also while no frame comes, and publishes the labels again with the threshold in them.
    pub fn settings_changed(&self) {
        let Some((held, at)) = &self.model else { return };
        if let At::Loop(running) = at {
            // Refused only while the loop ends.
            drop(running.intake.order(Order::Settings));
        }
        held.labels.publish(&self.place);
    }

    /// Takes nothing in any more, and waits for the frame at work.
    pub async fn finish_frame(&mut self) {
        if let Some((_, At::Loop(running))) = &mut self.model {
            self.place.door.close();
            self.place.cameras.close();
            running.intake.stop();
            drop((&mut running.ended).await);
        }
    }

    async fn configure(&mut self) -> Result<(), Failed> {
        let place = self.place.clone();
        let loading = on_thread("model-load", {
            let place = place.clone();
            move || load::for_configure(&place)
        })?;
        let Supervised { engine, supervision, facts } = loading.await.map_err(|_| broken("model-load"))??;
        let (sinks, labels) = place.create_topics(facts.id.clone()).await?;
        let folder = facts.folder.clone();
        place.models.set(Some(facts));
        labels.publish(&place);
        let loaded = Loaded { engine, sinks };
        self.model = Some((Held { labels, supervision, folder }, At::Rest(Box::new(loaded))));
        Ok(())
    }

    async fn activate(&mut self, held: Held, mut loaded: Box<Loaded>) -> Result<(), Failed> {
        let place = self.place.clone();
        if let Some(reason) = held.supervision.why_gave_up() {
            self.model = Some((held, At::Rest(loaded)));
            return Err(NodeError::NothingRuns(reason).into());
        }
        let intake = match place.cameras.open(&place.spin).await {
            Ok(intake) => intake,
            Err(error) => {
                place.cameras.close();
                self.model = Some((held, At::Rest(loaded)));
                return Err(error.into());
            }
        };
        let ended = {
            let (intake, clock, settings) = (intake.clone(), place.clock.clone(), place.settings.clone());
            on_thread("perception", move || {
                let Loaded { engine, sinks } = &mut *loaded;
                robot::run(&intake, engine, sinks, settings, &|| clock.now_nanos());
                loaded
            })
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                place.cameras.close();
                self.forsake(held).await;
                return Err(lost(error));
            }
        };
        place.door.open(intake.clone());
        self.model = Some((held, At::Loop(Running { intake, ended })));
        if let Some(facts) = place.models.loaded() {
            let (model, provider) = (&facts.id, facts.provider.used.name());
            tracing::info!("model {model} on {provider}; waiting for images on {}", place.cameras.topics());
        }
        Ok(())
    }

    async fn deactivate(&mut self, held: Held, running: Running) -> Result<(), Failed> {
        let (held, loaded) = self.take_back(held, running).await?;
        self.model = Some((held, At::Rest(loaded)));
        Ok(())
    }

    async fn let_go(&mut self, model: Option<(Held, At)>) -> Result<(), Failed> {
        let Some((held, at)) = model else { return Ok(()) };
        let (held, loaded) = match at {
            At::Rest(loaded) => (held, loaded),
            At::Loop(running) => self.take_back(held, running).await?,
        };
        let Held { labels, supervision, .. } = held;
        let Loaded { engine, sinks } = *loaded;
        self.place.models.set(None);
        let destroyed = self.place.spin.call(move |works| {
            sinks.into_iter().for_each(|sink| sink.destroy(works));
            labels.destroy(works);
        });
        destroyed.await.map_err(lost)?;
        // Ending and freeing can take a while: not on a thread that answers requests.
        let freeing = on_thread("model-free", move || {
            supervision.end();
            drop(engine);
        });
        freeing.map_err(lost)?.await.map_err(|_| broken("model-free"))?;
        Ok(())
    }

    /// Ends the loop, which finishes its frame.
    async fn take_back(&self, held: Held, running: Running) -> Result<(Held, Box<Loaded>), Failed> {
        self.place.door.close();
        self.place.cameras.close();
        running.intake.stop();
        let ended = running.ended.await;
        // Not before: the frame at work may have needed them.
        self.place.cameras.forget_depth();
        match ended {
            Ok(loaded) => Ok((held, loaded)),
            Err(_) => {
                self.forsake(held).await;
                Err(broken("perception"))
            }
        }
    }

    /// The engine and the sinks went with their thread: what is left of the model goes too.
    async fn forsake(&self, held: Held) {
        self.place.models.set(None);
        // Where the ROS thread is gone as well, so are the topics.
        let _ = self.place.spin.call(move |works| held.labels.destroy(works)).await;
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
