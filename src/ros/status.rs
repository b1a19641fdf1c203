//! `~/status` every second, and what `~/label_info` says: how the node is doing and what the labels mean.

use std::time::{Duration, Instant};

use r2r::{
    Publisher,
    looptrans_ros::msg::{CameraStatus, LabelInfo, NodeStatus},
    std_msgs,
};

use super::{
    NodeError,
    camera::{Camera, Cameras},
    diagnostics::Diagnostics,
    models::ModelFacts,
    namesake::Namesakes,
    publish, qos, regions,
    spin::Works,
    workplace::Workplace,
};
use crate::{
    config::{NodeSettings, RosArgs},
    message::{
        image::Header,
        text::{MAX_LOG_BYTES, clean_prefix},
    },
    perceive::Stamp,
    robot::{
        FAILURES_UNTIL_BROKEN, HealthSnapshot, InputFacts, SilenceLevel, SilenceWatch, Totals,
        accelerator::Standing,
        diagnosis::{CameraView, ModelView, NodeFacts, slow_work},
        lifecycle::State,
        silence_timeout,
    },
};

/// How often `~/status` is published.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Watches over the node and tells.
#[derive(Debug)]
pub struct Reporter {
    publisher: Publisher<NodeStatus>,
    diagnostics: Diagnostics,
    namesakes: Namesakes,
    /// One for each camera.
    watches: Vec<Watch>,
    /// Of silences.
    timeout: Duration,
    published: Option<Instant>,
    /// Why the last transition did not succeed.
    trouble: Option<String>,
    /// What takes suspiciously long and what is wrong with the hardware, as it was at the last look.
    told: (bool, Option<String>),
}

/// What has been told of a camera.
#[derive(Debug)]
struct Watch {
    silence: SilenceWatch,
    rivals: Option<String>,
}

/// The node at one moment.
struct Moment<'a> {
    state: State,
    model: Option<(&'a ModelFacts, &'a Standing)>,
    totals: &'a Totals,
    cameras: &'a [CameraMoment<'a>],
    is_disabled: bool,
    /// What takes suspiciously long.
    slow: Option<String>,
    /// Who else has the node's name.
    namesakes: Option<String>,
}

/// A camera at one moment.
struct CameraMoment<'a> {
    camera: &'a Camera,
    health: HealthSnapshot,
    facts: InputFacts,
    /// Why nothing of it is processed, though it should be.
    silence: Option<String>,
    /// Why its last picture had no 3D, though it should have.
    depth_trouble: Option<String>,
}

impl Reporter {
    /// Creates `~/status` and `/diagnostics`. Silences of a camera are reported.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub fn create(
        works: &mut Works,
        args: &RosArgs,
        cameras: &Cameras,
        settings: &NodeSettings,
    ) -> Result<Self, NodeError> {
        let timeout = silence_timeout(settings);
        Ok(Self {
            publisher: publish::create(works, "~/status", qos::latched())?,
            diagnostics: Diagnostics::create(works, args, settings)?,
            namesakes: Namesakes::watch(works, args),
            watches: cameras.iter().map(|_| Watch::new(timeout)).collect(),
            timeout,
            published: None,
            trouble: None,
            told: (false, None),
        })
    }

    /// Other settings.
    pub fn apply(&mut self, settings: &NodeSettings) {
        self.timeout = silence_timeout(settings);
        self.watches.iter_mut().for_each(|watch| watch.silence.set_timeout(self.timeout));
        self.diagnostics.apply(settings);
    }

    /// The node is in another state; `trouble` says why, where that was not what was asked for. Publishes it at once.
    pub fn entered(&mut self, state: State, trouble: Option<String>, place: &Workplace) {
        self.trouble = trouble;
        if state == State::Active {
            self.watch_anew();
        }
        self.published = None;
        self.diagnostics.hurry();
        self.look(state, place);
    }

    /// Logs the begin, the cause and the end of each camera's silence, and publishes status and diagnostics when it is time.
    /// Call it several times per timeout of silences.
    pub fn look(&mut self, state: State, place: &Workplace) {
        let now = Instant::now();
        let clock_started = place.clock.now_nanos() > 0;
        let is_disabled = place.door.is_disabled();
        if is_disabled {
            // It was asked for: nothing to complain about, and nothing that could be over later.
            self.watch_anew();
        }
        let is_looking = state == State::Active && !is_disabled;
        let moment = |(camera, watch)| CameraMoment::new(camera, watch, now, clock_started, is_looking);
        let cameras: Vec<CameraMoment<'_>> = place.cameras.iter().zip(&self.watches).map(moment).collect();
        if is_looking {
            self.watches.iter_mut().zip(&cameras).for_each(|(watch, camera)| watch.tell(camera));
        }
        let model = place.models.loaded();
        let standing = model.as_ref().map(|model| model.standing.borrow().clone());
        let views: Vec<CameraView> =
            cameras.iter().zip(&self.watches).map(|(camera, watch)| camera.view(watch)).collect();
        let node = NodeFacts {
            state,
            is_disabled,
            trouble: self.trouble.as_deref(),
            model: model.as_deref().zip(standing.as_ref()).map(|(model, standing)| ModelView {
                id: &model.id,
                contract: &model.contract,
                provider: &model.provider,
                standing,
            }),
            cameras: &views,
            loading_for: place.loading.busy_for(now),
            inference_timeout: place.current_settings().inference_timeout,
            resident_bytes: None,
        };
        let slow = slow_work(&node);
        let namesakes = self.namesakes.look();
        let news = (slow.is_some(), standing.as_ref().and_then(Standing::sentence));
        if self.told != news {
            self.told = news;
            self.published = None;
            self.diagnostics.hurry();
        }
        self.diagnostics.look(place.clock.now(), &node);
        if self.published.is_none_or(|last| now.saturating_duration_since(last) >= PERIOD) {
            self.published = Some(now);
            let totals = Totals::of(cameras.iter().map(|moment| (&moment.health, &*moment.camera.health)));
            let model = model.as_deref().zip(standing.as_ref());
            let moment = Moment { state, model, totals: &totals, cameras: &cameras, is_disabled, slow, namesakes };
            let status = self.status(place.clock.now(), &moment);
            if let Err(error) = publish::publish(&self.publisher, "~/status", &status) {
                tracing::warn!("{error}");
            }
        }
    }

    fn watch_anew(&mut self) {
        self.watches.iter_mut().for_each(|watch| *watch = Watch::new(self.timeout));
    }

    fn status(&self, now: Stamp, moment: &Moment<'_>) -> NodeStatus {
        let Moment { state, model, totals, cameras, .. } = moment;
        let counts = &totals.counts;
        let reasons = self.reasons(moment);
        let in_use = model.filter(|(_, standing)| standing.on.is_some()).map(|(model, _)| model);
        NodeStatus {
            header: header(now),
            state: state.id(),
            model_id: model.map(|(model, _)| model.id.clone()).unwrap_or_default(),
            // While nothing runs, none is in use.
            execution_provider: in_use.map(|model| model.provider.used.name().to_owned()).unwrap_or_default(),
            requested_provider: model.map(|(model, _)| model.provider.requested.name().to_owned()).unwrap_or_default(),
            degraded: !reasons.is_empty(),
            reasons: reasons.iter().map(|r| clean_prefix(r.as_bytes(), MAX_LOG_BYTES).to_owned()).collect(),
            fps_in: totals.fps_in,
            fps_out: totals.fps_out,
            age_p50: totals.age_seconds.p50.unwrap_or(f32::NAN),
            age_p99: totals.age_seconds.p99.unwrap_or(f32::NAN),
            stages: totals.stages_millis.iter().map(|(name, _)| (*name).to_owned()).collect(),
            stage_p50: totals.stages_millis.iter().map(|(_, times)| seconds(times.p50)).collect(),
            stage_p99: totals.stages_millis.iter().map(|(_, times)| seconds(times.p99)).collect(),
            // A frame at work has not ended: it counts as arrived once it has.
            frames_in: counts.frames_in - counts.waiting,
            processed: counts.processed,
            dropped: counts.dropped,
            rejected: counts.rejected,
            cameras: cameras.iter().map(CameraMoment::status).collect(),
        }
    }

    fn reasons(&self, moment: &Moment<'_>) -> Vec<String> {
        let Moment { state, model, totals, cameras, is_disabled, slow, namesakes } = moment;
        let mut reasons: Vec<String> = self.trouble.iter().cloned().collect();
        reasons.extend(slow.iter().chain(namesakes).cloned());
        reasons.extend(model.and_then(|(_, standing)| standing.sentence()));
        if *state == State::Active {
            if totals.inference_broken {
                reasons.push(format!("the model failed {FAILURES_UNTIL_BROKEN} times in a row or more"));
            }
            reasons.extend(is_disabled.then(|| "disabled by ~/enable".to_owned()));
            for CameraMoment { camera, silence, depth_trouble, .. } in *cameras {
                let of_camera = silence.iter().chain(depth_trouble);
                reasons.extend(of_camera.map(|reason| camera.health.say(reason)));
            }
        }
        reasons
    }
}

impl Watch {
    fn new(timeout: Duration) -> Self {
        Self { silence: SilenceWatch::new(timeout), rivals: None }
    }

    /// Logs what is new.
    fn tell(&mut self, CameraMoment { camera, health, facts, .. }: &CameraMoment<'_>) {
        if let Some(report) = self.silence.check(health, || facts.clone()) {
            let sentence = camera.health.say(&report.sentence);
            match report.level {
                SilenceLevel::Over => tracing::info!("{sentence}"),
                SilenceLevel::Warn => tracing::warn!("{sentence}"),
                SilenceLevel::Error => tracing::error!("{sentence}"),
            }
        }
        let rivals = facts.rivals();
        if rivals != self.rivals {
            if let Some(rivals) = &rivals {
                tracing::warn!("{}", camera.health.say(rivals));
            }
            self.rivals = rivals;
        }
    }
}

impl<'a> CameraMoment<'a> {
    /// `is_looking`: are frames wanted? Otherwise nothing that they lack is anybody's fault.
    fn new(camera: &'a Camera, watch: &Watch, now: Instant, clock_started: bool, is_looking: bool) -> Self {
        let (health, facts) = (camera.health.snapshot(now), camera.facts(clock_started));
        let silence = if is_looking { watch.silence.reason(&health, &facts) } else { None };
        let depth_trouble = if is_looking { camera.depth_trouble() } else { None };
        Self { camera, health, facts, silence, depth_trouble }
    }

    fn view(&self, watch: &Watch) -> CameraView {
        CameraView {
            name: self.camera.name.clone(),
            silence: self.silence.clone(),
            nothing_comes: watch.silence.is_empty(&self.health),
            silence_is_long: watch.silence.is_long(&self.health),
            depth_trouble: self.depth_trouble.clone(),
            depth_offset_millis: self.camera.depth_offset_millis(),
            health: self.health.clone(),
            input: self.facts.clone(),
        }
    }

    fn status(&self) -> CameraStatus {
        let Self { camera, health, facts, silence, .. } = self;
        let counts = &health.counts;
        let losses = || counts.dropped_by.iter().chain(&counts.rejected_by);
        CameraStatus {
            name: camera.name.clone(),
            image_topic: facts.topic.clone(),
            fps_in: health.fps_in,
            fps_out: health.fps_out,
            age_p50: health.age_seconds.p50.unwrap_or(f32::NAN),
            age_p99: health.age_seconds.p99.unwrap_or(f32::NAN),
            latency_p50: seconds(health.latency_millis.p50),
            latency_p99: seconds(health.latency_millis.p99),
            frames_in: counts.frames_in - counts.waiting,
            processed: counts.processed,
            dropped: counts.dropped,
            rejected: counts.rejected,
            loss_reasons: losses().map(|(reason, _)| (*reason).to_owned()).collect(),
            loss_counts: losses().map(|(_, count)| *count).collect(),
            silence: silence.clone().unwrap_or_default(),
        }
    }
}

/// What the model's labels mean; `threshold` None: the model's own.
pub fn labels(now: Stamp, model: &ModelFacts, threshold: Option<f32>) -> LabelInfo {
    LabelInfo {
        header: header(now),
        model_id: model.id.clone(),
        affordances: model.contract.actions.clone(),
        threshold: threshold.unwrap_or(model.contract.heat_threshold),
    }
}

fn seconds(millis: Option<f32>) -> f32 {
    millis.map_or(f32::NAN, |millis| millis * 1e-3)
}

/// The latched topics belong to no frame.
fn header(now: Stamp) -> std_msgs::msg::Header {
    regions::header(Header { stamp: now, frame_id: "" })
}
