//! The node: connects topics, clock, signals and the perception loop.
//!
//! ```text
//! ros-spin thread:   r2r node -> streams
//! tokio:             streams -> Intake (newest wins); signals; status and silence, by the clock
//! perception thread: Intake -> robot::run (Pipeline) -> RosSink -> topics
//! ```

use std::{
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{self, MissedTickBehavior},
};

use super::{
    NodeError,
    clock::RosClock,
    input::{self, CameraMessage, CameraTopic},
    load, log,
    publish::{Latched, LatestCameraInfo, RosSink},
    spin::{Graph, Spinner},
    status::{self, Reporter},
};
use crate::{
    config::{NodeSettings, RosArgs},
    perceive::pipeline::Pipeline,
    robot::{self, AdmissionSettings, Health, InputFacts, Intake, Summary},
};

/// How long a stop waits for the frame at work; the whole stop must take less than 2 s.
const FINISH: Duration = Duration::from_millis(1500);
/// How often silence is looked for, unless `input_timeout` asks for more.
const WATCH: Duration = Duration::from_millis(250);

/// Runs the node until SIGINT or SIGTERM. None: it was stopped before it had started.
///
/// # Errors
/// The model cannot be loaded, ROS refuses, or a thread of the node ended by itself.
pub fn run(args: &RosArgs, settings: NodeSettings) -> Result<Option<Summary>, NodeError> {
    log::install();
    // The tasks only move messages and tick: one worker is plenty.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ros-tasks")
        .enable_all()
        .build()
        .map_err(|source| NodeError::System { what: "the task runtime", source })?;
    runtime.block_on(load_and_run(args, settings))
}

async fn load_and_run(args: &RosArgs, settings: NodeSettings) -> Result<Option<Summary>, NodeError> {
    let mut stop = StopSignals::new()?;
    let settings = Arc::new(settings);
    let loading = {
        let settings = settings.clone();
        on_thread("model-load", move || load::pipeline(&settings))?
    };
    let pipeline = tokio::select! {
        pipeline = loading => pipeline.map_err(|_| NodeError::Ended("model-load"))??,
        () = stop.wait() => return Ok(None),
    };
    let node = Running::start(args, &settings, pipeline)?;
    node.until(stop).await.map(Some)
}

/// Everything that runs.
struct Running {
    topic: CameraTopic,
    clock: RosClock,
    graph: Graph,
    intake: Arc<Intake<CameraMessage>>,
    reporter: Reporter,
    watch: Duration,
    spinner: Spinner,
    spin_ended: oneshot::Receiver<()>,
    summary: oneshot::Receiver<Summary>,
    /// Model id and provider, for the summary where the loop cannot give it.
    model: (String, String),
}

impl Running {
    fn start(args: &RosArgs, settings: &NodeSettings, mut pipeline: Pipeline) -> Result<Self, NodeError> {
        let mut node = create_node(args, settings)?;
        log::use_logger_of(&mut node)?;
        for file in &args.unmatched_files {
            tracing::warn!("{file}");
        }
        let topic = CameraTopic::new(args, settings);
        let clock = RosClock::of(&node);
        let (graph, camera_info) = (Graph::default(), LatestCameraInfo::default());
        let intake = Arc::new(Intake::new(Arc::new(Health::default())));

        let contract = pipeline.contract().clone();
        let (model_id, provider) = (contract.model_id(), pipeline.provider().clone());
        let model = (model_id.clone(), provider.used.name().to_owned());
        let mut sink = RosSink::create(&mut node, settings, model_id.clone(), camera_info.clone())?;
        let reporter = Reporter::new(Latched::create(&mut node)?, model_id, provider, settings.input_timeout);
        reporter.publish_labels(clock.now(), &contract, settings.heat_threshold.unwrap_or(contract.heat_threshold));

        tokio::spawn(topic.subscribe(&mut node, intake.clone())?);
        tokio::spawn(input::subscribe_camera_info(&mut node, camera_info)?);
        tracing::info!("model {} on {}; waiting for images on {}", model.0, model.1, topic.resolved);

        let summary = {
            let (intake, clock) = (intake.clone(), clock.clone());
            let admission = AdmissionSettings::from(settings);
            on_thread("perception", move || {
                robot::run(&intake, &mut pipeline, &mut sink, admission, &|| clock.now_nanos())
            })?
        };
        let (spinner, spin_ended) = Spinner::start(node, topic.resolved.clone(), graph.clone())
            .map_err(|source| NodeError::System { what: "the ROS thread", source })?;
        let watch = WATCH.min(settings.input_timeout / 4);
        Ok(Self { topic, clock, graph, intake, reporter, watch, spinner, spin_ended, summary, model })
    }

    async fn until(mut self, mut stop: StopSignals) -> Result<Summary, NodeError> {
        let mut watch = time::interval(self.watch);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = None::<Instant>;
        loop {
            tokio::select! {
                () = stop.wait() => break,
                _ = &mut self.spin_ended => return Err(NodeError::Ended("ros-spin")),
                _ = &mut self.summary => return Err(NodeError::Ended("perception")),
                _ = watch.tick() => {
                    let now = Instant::now();
                    let health = self.intake.health().snapshot(now);
                    let facts = self.facts();
                    self.reporter.watch_silence(&health, || facts.clone());
                    if reported.is_none_or(|last| now.saturating_duration_since(last) >= status::PERIOD) {
                        reported = Some(now);
                        self.reporter.publish_status(self.clock.now(), &health, &facts);
                    }
                }
            }
        }
        Ok(self.stop().await)
    }

    /// Finishes the frame at work, then takes the node down.
    async fn stop(self) -> Summary {
        self.intake.stop();
        let summary = match time::timeout(FINISH, self.summary).await {
            Ok(Ok(summary)) => summary,
            _ => {
                tracing::warn!("the frame at work is abandoned: it took longer than {} ms", FINISH.as_millis());
                let (model_id, provider) = self.model;
                self.intake.health().summary(model_id, provider)
            }
        };
        self.spinner.stop();
        summary
    }

    fn facts(&self) -> InputFacts {
        InputFacts {
            topic: self.topic.resolved.clone(),
            message_type: self.topic.message_type.to_owned(),
            requested: self.topic.reliability,
            publishers: self.graph.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            clock_started: self.clock.now_nanos() > 0,
        }
    }
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

/// SIGINT and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, NodeError> {
        let handler = |kind| signal(kind).map_err(|source| NodeError::System { what: "a signal handler", source });
        Ok(Self { interrupt: handler(SignalKind::interrupt())?, terminate: handler(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
