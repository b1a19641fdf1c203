//! What `/diagnostics` says: a robot's aggregator and the people before it want a level, one sentence and figures for
//! each part of the node. Pure: facts in, statuses out.

use std::{fmt::Display, time::Duration};

use super::{
    DropReason, FAILURES_UNTIL_BROKEN, HealthSnapshot, InputFacts, Percentiles,
    accelerator::Standing,
    lifecycle::State,
    watchdog::{is_slow, load_limit},
};
use crate::{
    contract::ModelContract,
    perceive::infer::{ProviderChoice, ProviderInUse},
};

/// ONNX Runtime's name of the provider that is always there.
const CPU_PROVIDER: &str = "CPUExecutionProvider";
/// It was asked for: nothing is wrong.
const DISABLED: &str = "disabled by ~/enable: frames are dropped";

/// How a part is doing, by the numbers of diagnostic_msgs/DiagnosticStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// As it should.
    Ok = 0,
    /// It works, but not as it was meant to.
    Warn = 1,
    /// It does not work.
    Error = 2,
    /// Nothing has come for long.
    Stale = 3,
}

/// One part of the node.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// "inputs", "inference", "outputs", "model"; "inputs CAMERA" where cameras have names.
    pub part: String,
    /// How it is doing.
    pub level: Level,
    /// Why, in one sentence.
    pub message: String,
    /// Figures; their units are in their names.
    pub values: Vec<(String, String)>,
}

/// The node at one moment.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// Where in its life it is.
    pub state: State,
    /// Is every frame dropped, since somebody wanted so?
    pub is_disabled: bool,
    /// Why the last transition did not succeed.
    pub trouble: Option<&'a str>,
    /// None: no model is loaded.
    pub model: Option<ModelView<'a>>,
    /// In their order.
    pub cameras: &'a [CameraView],
    /// How long a model has been loading; None while none is.
    pub loading_for: Option<Duration>,
    /// The most that the model may take for a frame.
    pub inference_timeout: Duration,
    /// Memory of the process; None where the system does not tell.
    pub resident_bytes: Option<u64>,
}

/// The model in use.
#[derive(Debug, Clone, Copy)]
pub struct ModelView<'a> {
    /// "<name>:<12 hex digits of its sha256>".
    pub id: &'a str,
    /// What it promises.
    pub contract: &'a ModelContract,
    /// The hardware that it was loaded on.
    pub provider: &'a ProviderInUse,
    /// What is said of the hardware.
    pub standing: &'a Standing,
}

/// One camera.
#[derive(Debug, Clone)]
pub struct CameraView {
    /// Empty: the node's only one.
    pub name: String,
    /// What is counted of it.
    pub health: HealthSnapshot,
    /// What the middleware knows about its images.
    pub input: InputFacts,
    /// Why it is silent; None while it is not. See [`super::SilenceWatch::reason`].
    pub silence: Option<String>,
    /// See [`super::SilenceWatch::is_empty`].
    pub nothing_comes: bool,
    /// See [`super::SilenceWatch::is_long`].
    pub silence_is_long: bool,
    /// Why the last picture had no 3D, where it should have.
    pub depth_trouble: Option<String>,
    /// Depth's stamps less the pictures', in the median [ms].
    pub depth_offset_millis: Option<f64>,
}

/// One status for the inputs of each camera, then inference, outputs and model.
pub fn diagnose(node: &NodeFacts<'_>) -> Vec<Diagnosis> {
    let inputs = node.cameras.iter().map(|camera| inputs(node, camera));
    inputs.chain([inference(node), outputs(node), model(node)]).collect()
}

/// What takes suspiciously long, in one sentence.
pub fn slow_work(node: &NodeFacts<'_>) -> Option<String> {
    slow_run(node).or_else(|| slow_load(node))
}

fn slow_run(node: &NodeFacts<'_>) -> Option<String> {
    let busy = node.cameras.iter().filter_map(|camera| camera.health.running_for).max()?;
    let limit = node.inference_timeout;
    let (busy_s, limit_s) = (busy.as_secs_f64(), limit.as_secs_f64());
    is_slow(busy, limit).then(|| {
        format!(
            "the model has been at work on one frame for {busy_s:.1} s; after {limit_s:.1} s (inference_timeout) the \
             process ends"
        )
    })
}

fn slow_load(node: &NodeFacts<'_>) -> Option<String> {
    let (busy, limit) = (node.loading_for?, load_limit(node.inference_timeout));
    let (busy_s, limit_s) = (busy.as_secs_f64(), limit.as_secs_f64());
    is_slow(busy, limit).then(|| {
        format!(
            "the model has been loading for {busy_s:.1} s; after {limit_s:.1} s (60 times inference_timeout) the process \
             ends"
        )
    })
}

fn inputs(node: &NodeFacts<'_>, camera: &CameraView) -> Diagnosis {
    let CameraView { health, input, .. } = camera;
    let (level, message) = if node.state != State::Active {
        (Level::Ok, format!("no images are taken while {}", node.state))
    } else if node.is_disabled {
        (Level::Ok, DISABLED.to_owned())
    } else if let Some(silence) = &camera.silence {
        let level = match (camera.silence_is_long, camera.nothing_comes) {
            (true, true) => Level::Stale,
            (true, false) => Level::Error,
            (false, _) => Level::Warn,
        };
        (level, silence.clone())
    } else if let Some(trouble) = &camera.depth_trouble {
        (Level::Warn, trouble.clone())
    } else if health.counts.frames_in == 0 {
        (Level::Ok, format!("waiting for the first image on {}", input.topic))
    } else {
        (Level::Ok, format!("{:.1} images per second on {}", health.fps_in, input.topic))
    };
    let part = if camera.name.is_empty() { "inputs".to_owned() } else { format!("inputs {}", camera.name) };
    Diagnosis { part, level, message, values: input_values(camera) }
}

fn input_values(camera: &CameraView) -> Vec<(String, String)> {
    let CameraView { health, input, .. } = camera;
    let counts = &health.counts;
    let publishers: Vec<&str> = input.publishers.iter().map(|publisher| publisher.node.as_str()).collect();
    let mut values = Values::default();
    values.add("topic", &input.topic);
    values.add("message type", &input.message_type);
    values.add("publishers", publishers.join(", "));
    values.add("rate [Hz]", format!("{:.2}", health.fps_in));
    values.add("time since a frame was processed [s]", format!("{:.1}", health.quiet_for.as_secs_f64()));
    values.add("frames", counts.frames_in);
    values.add("dropped", counts.dropped);
    values.add("rejected", counts.rejected);
    for (reason, count) in &counts.dropped_by {
        values.add(format!("dropped: {reason}"), count);
    }
    for (reason, count) in &counts.rejected_by {
        values.add(format!("rejected: {reason}"), count);
    }
    if let Some(millis) = camera.depth_offset_millis {
        values.add("depth offset p50 [ms]", format!("{millis:.1}"));
    }
    values.all
}

fn inference(node: &NodeFacts<'_>) -> Diagnosis {
    let (level, message) = inference_verdict(node);
    let mut values = Values::default();
    if let Some(model) = &node.model {
        let ProviderInUse { requested, used, graph, .. } = model.provider;
        let Standing { on, degraded, .. } = model.standing;
        values.add("execution provider", on.map_or("none", |_| used.name()));
        values.add("requested provider", requested.name());
        if !degraded.is_empty() {
            values.add("providers that failed", degraded.join("; "));
        }
        if let Some(graph) = graph {
            values.add("graph nodes", graph.total_nodes());
            let left = graph.nodes.get(CPU_PROVIDER).copied().filter(|_| *used != ProviderChoice::Cpu).unwrap_or(0);
            values.add("graph nodes left to the CPU", left);
        }
    }
    for camera in node.cameras {
        values.camera = camera.name.clone();
        values.percentiles("latency", "ms", 1.0, camera.health.latency_millis);
        for (stage, millis) in camera.health.stages_millis {
            values.percentiles(stage, "ms", 1.0, millis);
        }
    }
    Diagnosis { part: "inference".to_owned(), level, message, values: values.all }
}

fn inference_verdict(node: &NodeFacts<'_>) -> (Level, String) {
    if let Some(slow) = slow_run(node) {
        return (Level::Error, slow);
    }
    let Some(ModelView { provider, standing, .. }) = &node.model else {
        return (Level::Ok, format!("no model is loaded: {}", node.state));
    };
    let sentence = standing.sentence();
    if let Some(sentence) = sentence.clone().filter(|_| standing.on.is_none()) {
        return (Level::Error, sentence);
    }
    if node.state == State::Active && node.cameras.iter().any(|camera| camera.health.inference_broken) {
        return (Level::Error, format!("the model failed {FAILURES_UNTIL_BROKEN} times in a row or more"));
    }
    sentence
        .map_or_else(|| (Level::Ok, format!("runs on {}", provider.used.name())), |sentence| (Level::Warn, sentence))
}

fn outputs(node: &NodeFacts<'_>) -> Diagnosis {
    let not_published = DropReason::NotPublished.name();
    let mut values = Values::default();
    let mut refused = None;
    for CameraView { name, health, .. } in node.cameras {
        values.camera.clone_from(name);
        values.add("rate [Hz]", format!("{:.2}", health.fps_out));
        values.add("processed", health.counts.processed);
        values.add("not published", health.counts.dropped_by.get(not_published).copied().unwrap_or(0));
        values.percentiles("age", "ms", 1e3, health.age_seconds);
        if health.since_processed.dropped_by.contains_key(not_published) {
            refused = Some(health.last_trouble.clone().unwrap_or_else(|| "results are not published".to_owned()));
        }
    }
    let rate: f32 = node.cameras.iter().map(|camera| camera.health.fps_out).sum();
    let (level, message) = match refused {
        _ if node.state != State::Active => (Level::Ok, format!("nothing is published while {}", node.state)),
        _ if node.is_disabled => (Level::Ok, DISABLED.to_owned()),
        Some(refused) => (Level::Error, refused),
        None => (Level::Ok, format!("{rate:.1} results per second")),
    };
    Diagnosis { part: "outputs".to_owned(), level, message, values: values.all }
}

fn model(node: &NodeFacts<'_>) -> Diagnosis {
    let (level, message) = match (slow_load(node), node.trouble, &node.model) {
        (Some(slow), ..) => (Level::Error, slow),
        (None, Some(trouble), _) => (Level::Error, trouble.to_owned()),
        (None, None, Some(model)) => (Level::Ok, format!("{} is loaded", model.id)),
        (None, None, None) => (Level::Ok, format!("no model is loaded: {}", node.state)),
    };
    let mut values = Values::default();
    values.add("state", node.state);
    if let Some(ModelView { id, contract, .. }) = &node.model {
        values.add("model", id);
        values.add("affordances", contract.actions.join(", "));
        values.add("input [px]", format!("{} x {}", contract.input.width, contract.input.height));
        values.add("trained", contract.provenance.trained);
    }
    if let Some(bytes) = node.resident_bytes {
        values.add("memory of the process [MiB]", bytes >> 20);
    }
    Diagnosis { part: "model".to_owned(), level, message, values: values.all }
}

/// Collects figures.
#[derive(Default)]
struct Values {
    all: Vec<(String, String)>,
    /// Whose they are; empty: nobody's in particular.
    camera: String,
}

impl Values {
    fn add(&mut self, key: impl Display, value: impl ToString) {
        let key = if self.camera.is_empty() { key.to_string() } else { format!("{}: {key}", self.camera) };
        self.all.push((key, value.to_string()));
    }

    /// Median and 99th percentile times `scale`; absent before the first frame.
    fn percentiles(&mut self, name: &str, unit: &str, scale: f32, percentiles: Percentiles) {
        for (label, value) in [("p50", percentiles.p50), ("p99", percentiles.p99)] {
            if let Some(value) = value {
                self.add(format!("{name} {label} [{unit}]"), format!("{:.2}", value * scale));
            }
        }
    }
}

#[cfg(test)]
mod tests;
