//! The node: connects topics, clock, signals, lifecycle and the perception loop.
//!
//! ```text
//! ros-spin thread:   r2r node -> intakes, requests; creates and drops topics when called
//! main:              signals; transitions, one at a time; status and silence, by the clock; on the same tokio runtime,
//!                    all other requests
//! model-load thread: bundle -> Pipeline, in configure and for ~/set_model
//! accelerator thread: Pipelines on other hardware, or anew; as long as the model
//! watchdog thread:   beats of the model's work -> the end of the process when one hangs
//! perception thread: Intake -> robot::run (Pipeline) -> RosSink -> topics, while active
//! ```

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use r2r::lifecycle_msgs::srv::ChangeState;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, MissedTickBehavior},
};

use super::{
    NodeError,
    camera::Cameras,
    clock::RosClock,
    door::Door,
    lifecycle::{ChangeRequest, Managed, respond_to},
    log,
    managed::{Event, Failed, Holding},
    models::Models,
    parameters::{Events, Parameters},
    qos::TopicQos,
    services::{NewModel, Services},
    signals::StopSignals,
    spin::{Requests, Spinner, Works},
    status::Reporter,
    vigil,
    workplace::Workplace,
};
use crate::{
    config::{NodeSettings, ParameterSet, RosArgs},
    error::whole_line,
    robot::{
        Summary,
        lifecycle::{Outcome, State},
        watchdog::{Hung, Pulse},
    },
};

/// How long a stop waits for the frame at work; the whole stop must take less than 2 s.
const FINISH: Duration = Duration::from_millis(1500);
/// How often silence is looked for, unless `input_timeout` asks for more.
const WATCH: Duration = Duration::from_millis(250);

/// Runs the node until SIGINT or SIGTERM. None: it never had a model. After [`NodeError::Hung`] and [`NodeError::ContextLost`]
/// the process must end at once, without destructors; `last_resort` is called when it does not after the former, and must
/// not return.
///
/// # Errors
/// ROS refuses, a thread of the node ended by itself, the model hangs, or the GPU is lost to this process. A model that cannot
/// be loaded is none: the node stays unconfigured and says why.
pub fn run(args: &RosArgs, parameters: ParameterSet, last_resort: fn() -> !) -> Result<Option<Summary>, NodeError> {
    log::install();
    // Tasks only answer requests, between the turns of the loop in `Running::until`; a worker would be a thread that tokio
    // panics without.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| NodeError::System { what: "the task runtime", source })?;
    let ended = runtime.block_on(async {
        let stop = StopSignals::new()?;
        let node = Running::start(args, parameters, last_resort)?;
        node.until(stop).await
    });
    // Dropped, it would wait for tasks, which may wait for what hangs.
    runtime.shutdown_background();
    ended
}

/// Everything that runs.
struct Running {
    place: Arc<Workplace>,
    managed: Arc<Managed>,
    changes: Requests<ChangeState::Service>,
    new_models: mpsc::Receiver<NewModel>,
    reporter: Reporter,
    spinner: Spinner,
    spin_ended: oneshot::Receiver<()>,
    /// What the watchdog says, once.
    hung: oneshot::Receiver<Hung>,
    settings: watch::Receiver<Arc<NodeSettings>>,
    work: Work,
    /// What the node asks of itself, the next one last.
    autostart: Vec<&'static str>,
}

/// What the lifecycle has the node do.
enum Work {
    Idle(Holding),
    Busy(Busy),
    /// Only within a function.
    Moving,
}

/// What the work of a transition leaves.
type Done = (Holding, Result<(), Failed>);

/// What comes of [`Work::next`].
enum Next {
    Done(Box<Done>),
    Event(Event),
}

/// A transition under way.
struct Busy {
    state: State,
    done: Pin<Box<dyn Future<Output = Done>>>,
    /// Who asked for it: None is the node itself.
    request: Option<ChangeRequest>,
    /// What it is due to, where nobody asked for it: an error, or that the model runs nowhere.
    trouble: Option<String>,
}

impl Running {
    fn start(args: &RosArgs, parameters: ParameterSet, last_resort: fn() -> !) -> Result<Self, NodeError> {
        let settings = parameters.settings().clone();
        let mut node = create_node(args, &settings)?;
        log::use_logger_of(&mut node)?;
        for file in &args.unmatched_files {
            tracing::warn!("{file}");
        }
        let clock = RosClock::of(&node);
        let mut works = Works::new(node, TopicQos::new(args, &settings));
        let cameras = Cameras::new(&mut works, args, &settings);
        let (managed, changes) = Managed::create(&mut works, clock.clone())?;
        let reporter = Reporter::create(&mut works, args, &cameras, &settings)?;
        let autostart = if settings.autostart { vec!["activate", "configure"] } else { Vec::new() };
        let models = Arc::new(Models::default());
        let events = Events::create(&mut works, clock.clone(), args.fully_qualified_name())?;
        let (parameters, settings) = Parameters::serve(&mut works, parameters, models.clone(), events)?;
        let services = Services::create(&mut works)?;
        let (spinner, spin, spin_ended) =
            Spinner::start(works).map_err(|source| NodeError::System { what: "the ROS thread", source })?;
        let place = Arc::new(Workplace {
            spin,
            clock,
            cameras,
            settings: settings.clone(),
            models,
            parameters,
            door: Door::default(),
            loading: Arc::new(Pulse::default()),
        });
        let hung = vigil::keep(&place, last_resort)?;
        let new_models = services.answer(&place, &managed);
        let work = Work::Idle(Holding::nothing(place.clone()));
        Ok(Self { place, managed, changes, new_models, reporter, spinner, spin_ended, hung, settings, work, autostart })
    }

    async fn until(mut self, mut stop: StopSignals) -> Result<Option<Summary>, NodeError> {
        let mut watch = self.ticks();
        self.autostart_next();
        if matches!(self.work, Work::Idle(_)) {
            self.reporter.entered(self.managed.state(), None, &self.place);
            tracing::info!("unconfigured: waiting for a lifecycle manager, since autostart is off");
        }
        loop {
            tokio::select! {
                () = stop.wait() => break,
                _ = &mut self.spin_ended => return Err(NodeError::Ended("ros-spin")),
                verdict = &mut self.hung => {
                    // The end of the process must not meet a thread within the middleware.
                    self.spinner.stop();
                    return Err(verdict.map_or(NodeError::Ended("watchdog"), NodeError::Hung));
                }
                Some(request) = self.changes.recv() => self.asked(request),
                next = self.work.next() => match next {
                    Next::Done(done) => {
                        let (holding, result) = *done;
                        self.finished(holding, result);
                    }
                    Next::Event(Event::Request(request)) => {
                        if let Work::Idle(holding) = &mut self.work {
                            holding.serve(request);
                        }
                    }
                    Next::Event(Event::GaveUp) => self.gave_up(),
                    Next::Event(Event::Broken(thread)) => return Err(NodeError::Ended(thread)),
                },
                // Not during a transition: its work holds what is to be exchanged.
                Some(new) = self.new_models.recv(), if matches!(self.work, Work::Idle(_)) => self.swap_model(new),
                // Nor this: its work holds the labels that a change may publish again.
                Ok(()) = self.settings.changed(), if matches!(self.work, Work::Idle(_)) => {
                    self.settings_changed();
                    watch = self.ticks();
                }
                _ = watch.tick() => {
                    self.reporter.look(self.managed.state(), &self.place);
                    // Looked for here, since a transition may hold the supervision.
                    if let Some(why) = self.place.models.why_to_end() {
                        return Err(self.end_without_freeing(why));
                    }
                }
            }
        }
        Ok(self.stop().await)
    }

    /// Nothing that the GPU holds is touched any more: freed, it could end the process before this is told.
    fn end_without_freeing(self, why: String) -> NodeError {
        std::mem::forget(self.work);
        // The end of the process must not meet a thread within the middleware.
        self.spinner.stop();
        NodeError::ContextLost(why)
    }

    fn ticks(&self) -> time::Interval {
        let settings = self.place.current_settings();
        let mut watch = time::interval(WATCH.min(settings.input_timeout / 4).min(settings.diagnostics_period));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watch
    }

    fn settings_changed(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        self.reporter.apply(&settings);
        if let Work::Idle(holding) = &self.work {
            holding.settings_changed();
        }
    }

    fn swap_model(&mut self, new: NewModel) {
        if let Work::Idle(holding) = &mut self.work {
            new.swap(|model| holding.swap_model(model));
        }
    }

    /// Somebody asks for a transition. One that cannot be begun now is refused now.
    fn asked(&mut self, request: ChangeRequest) {
        let wanted = &request.message.transition;
        match self.managed.begin(wanted.id, &wanted.label) {
            Ok(state) => {
                self.autostart.clear();
                self.begin(state, Some(request), None);
            }
            Err(refusal) => {
                tracing::warn!("~/change_state refused: {refusal}");
                answer(request, false);
            }
        }
    }

    /// The model runs nowhere any more: no frame could be processed. Inactive, the status says so.
    fn gave_up(&mut self) {
        if self.managed.state() == State::Active
            && let Ok(state) = self.managed.begin(0, "deactivate")
        {
            self.begin(state, None, Some("deactivated by itself, since the model runs nowhere any more".to_owned()));
        }
    }

    fn autostart_next(&mut self) {
        let Some(label) = self.autostart.pop() else { return };
        match self.managed.begin(0, label) {
            Ok(state) => self.begin(state, None, None),
            Err(refusal) => tracing::error!("autostart: {refusal}"),
        }
    }

    /// Starts the work of a state that [`Managed::begin`] or [`Managed::finish`] has entered.
    fn begin(&mut self, state: State, request: Option<ChangeRequest>, trouble: Option<String>) {
        self.reporter.entered(state, trouble.clone(), &self.place);
        self.work = match std::mem::replace(&mut self.work, Work::Moving) {
            Work::Idle(holding) => Work::Busy(Busy { state, done: Box::pin(holding.work(state)), request, trouble }),
            busy => busy,
        };
    }

    /// The work of a transition has ended.
    fn finished(&mut self, holding: Holding, result: Result<(), Failed>) {
        let Work::Busy(busy) = std::mem::replace(&mut self.work, Work::Idle(holding)) else { return };
        let (outcome, trouble) = match result {
            Ok(()) => (Outcome::Success, busy.trouble),
            Err(failed) => {
                let line = whole_line(&format!("{} failed: {}", busy.state, failed.error));
                tracing::error!("{line}");
                (failed.outcome, Some(line))
            }
        };
        let state = self.managed.finish(outcome);
        if state == State::ErrorProcessing {
            return self.begin(state, busy.request, trouble);
        }
        let succeeded = trouble.is_none();
        self.reporter.entered(state, trouble, &self.place);
        match busy.request {
            Some(request) => answer(request, succeeded),
            None if succeeded => self.autostart_next(),
            None => self.autostart.clear(),
        }
    }

    /// Finishes the frame at work, then takes the node down.
    async fn stop(self) -> Option<Summary> {
        // A verdict would come too late to matter.
        drop(self.hung);
        let finishing = async {
            match self.work {
                // A model that is being loaded can't be stopped; the end of the process ends it.
                Work::Busy(busy) if busy.state != State::Configuring => {
                    let (mut holding, _) = busy.done.await;
                    // Activated at this moment, it has a loop.
                    holding.finish_frame().await;
                }
                Work::Idle(mut holding) => holding.finish_frame().await,
                Work::Busy(_) | Work::Moving => {}
            }
        };
        if time::timeout(FINISH, finishing).await.is_err() {
            tracing::warn!("the frame at work is abandoned: it took longer than {} ms", FINISH.as_millis());
        }
        let summary = self.place.summary();
        self.spinner.stop();
        summary
    }
}

impl Work {
    /// Waits for the end of the transition under way, or for what happens meanwhile.
    async fn next(&mut self) -> Next {
        match self {
            Self::Idle(holding) => Next::Event(holding.event().await),
            Self::Busy(busy) => Next::Done(Box::new(busy.done.as_mut().await)),
            Self::Moving => std::future::pending().await,
        }
    }
}

fn answer(request: ChangeRequest, success: bool) {
    respond_to(request, "~/change_state", ChangeState::Response { success });
}

fn create_node(args: &RosArgs, settings: &NodeSettings) -> Result<r2r::Node, NodeError> {
    let refused = |step: &str, cause: String| NodeError::Ros { step: step.to_owned(), cause };
    let context = quietly(r2r::Context::create)
        .map_err(|panic| refused("start", panic))?
        .map_err(|error| refused("start", error.to_string()))?;
    // The name is remapped by rcl as RosArgs reads it.
    let mut node = r2r::Node::create(context, super::NODE_NAME, "/")
        .map_err(|error| refused(&format!("create node {}", args.fully_qualified_name()), error.to_string()))?;
    if settings.use_sim_time {
        let time_source = node.get_time_source();
        time_source.enable_sim_time(&mut node).map_err(|error| refused("subscribe to /clock", error.to_string()))?;
    }
    Ok(node)
}

/// r2r panics where rcl refuses the environment (ROS_DOMAIN_ID, RMW_IMPLEMENTATION): its message becomes our error.
fn quietly<T>(act: fn() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(act);
    std::panic::set_hook(hook);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}
