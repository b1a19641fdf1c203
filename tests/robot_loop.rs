//! The loop with the real pipeline: frames in memory in, results into a sink that writes them down.
//!
//! Covers: the stamps that are published, every bad frame counted under its reason, the newest frame winning, failures
//! of the model, a sink that fails, the stop, the summary.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
//! Not asserted: how long anything takes.

#![allow(clippy::unwrap_used)]

mod models;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use looptrans_ros::{
    config::{Mode, NodeSettings, StampPolicy},
    perceive::{
        Frame, FrameError, Pixels, Stamp,
        infer::{InferSettings, Model},
        pipeline::{Perception, Pipeline, PipelineSettings, Wanted},
    },
    robot::{
        self, Counts, Detect, DetectError, Engine, Health, Incoming, Intake, Order, PublishError, PublishFacts, Sink,
        Summary, Swap,
        accelerator::{self, ModelWorkshop, NotPlaced, Plan, Seat},
    },
};
use models::{colours, colours_model, on_cpu};
use tokio::sync::{oneshot, watch};

/// The ROS time at which every test begins.
const START_SECONDS: i32 = 1_000;
const SIDE: u32 = 16;
const RED: [u8; 3] = [200, 0, 0];
/// The test model's answer to a black picture is NaN.
const BLACK: [u8; 3] = [0, 0, 0];

/// A frame as a camera message carries it.
struct Message {
    stamp: Stamp,
    stride_bytes: u32,
    data: Vec<u8>,
    received: Instant,
    readable: bool,
}

/// A picture of one colour, taken `millis` after the start.
fn picture(colour: [u8; 3], millis: u32) -> Message {
    let stamp = Stamp { sec: START_SECONDS + (millis / 1000) as i32, nanosec: millis % 1000 * 1_000_000 };
    let data = colour.repeat((SIDE * SIDE) as usize);
    Message { stamp, stride_bytes: SIDE * 3, data, received: Instant::now(), readable: true }
}

fn red(millis: u32) -> Message {
    picture(RED, millis)
}

impl Incoming for Message {
    fn frame(&self) -> Result<Frame<'_>, FrameError> {
        if !self.readable {
            return Err(FrameError::BadMessage("cut short".to_owned()));
        }
        let pixels = Pixels::Raw {
            width: SIDE,
            height: SIDE,
            encoding: "rgb8",
            is_bigendian: false,
            stride_bytes: self.stride_bytes,
            data: &self.data,
        };
        Ok(Frame { stamp: self.stamp, frame_id: "camera_optical", pixels })
    }

    fn received(&self) -> Instant {
        self.received
    }
}

/// What the sink writes down of a result.
#[derive(Debug, Clone, PartialEq)]
struct Published {
    stamp: Stamp,
    age_nanos: i64,
    frames_dropped: u32,
    best: String,
    /// What the sink was told of the model since the start.
    model_id: String,
}

/// Sends every result to the test.
struct Notebook {
    results: mpsc::Sender<Published>,
    fails: bool,
    model_id: String,
}

impl Sink for Notebook {
    type Answer = Published;

    fn apply(&mut self, _: &NodeSettings) {}

    fn model_changed(&mut self, model_id: &str) {
        model_id.clone_into(&mut self.model_id);
    }

    fn wanted(&mut self) -> Wanted {
        Wanted { heatmaps: true, ..Wanted::default() }
    }

    fn publish(
        &mut self,
        frame: &Frame<'_>,
        seen: &Perception,
        facts: &PublishFacts,
    ) -> Result<Vec<PublishError>, PublishError> {
        if self.fails {
            return Err(PublishError { what: "~/grasp_regions".to_owned(), cause: "no memory".to_owned() });
        }
        // A test that has seen enough no longer listens.
        let result = self.answer(frame, seen, facts, Wanted::default());
        let _ = self.results.send(result);
        Ok(Vec::new())
    }

    fn answer(&mut self, frame: &Frame<'_>, seen: &Perception, facts: &PublishFacts, _: Wanted) -> Published {
        let best = seen.heatmaps.iter().max_by(|a, b| a.presence.total_cmp(&b.presence)).unwrap();
        Published {
            stamp: frame.stamp,
            age_nanos: facts.age_nanos,
            frames_dropped: facts.frames_dropped,
            best: best.affordance.to_string(),
            model_id: self.model_id.clone(),
        }
    }
}

/// A loop that runs on its own thread.
struct Rig {
    intake: Arc<Intake<Message, Published>>,
    clock_nanos: Arc<AtomicI64>,
    results: mpsc::Receiver<Published>,
    thread: thread::JoinHandle<Engine>,
    settings: watch::Sender<Arc<NodeSettings>>,
}

fn settings() -> NodeSettings {
    NodeSettings { max_input_age: None, max_image_pixels: 1_000_000, ..NodeSettings::defaults() }
}

fn pipeline() -> Pipeline {
    Pipeline::new(colours_model(), PipelineSettings::from(&settings())).unwrap()
}

/// Nobody watches over the hardware.
fn engine(pipeline: Pipeline) -> Engine {
    Engine { pipeline: Box::new(pipeline), reporter: None }
}

fn start(settings: NodeSettings, fails: bool) -> Rig {
    start_cameras(settings, fails, 1)
}

fn start_cameras(settings: NodeSettings, fails: bool, cameras: usize) -> Rig {
    let intake = Arc::new(Intake::new((0..cameras).map(|_| Arc::new(Health::default()))));
    start_on(intake, settings, fails, pipeline)
}

/// On this intake, which may hold frames already.
fn start_on(
    intake: Arc<Intake<Message, Published>>,
    settings: NodeSettings,
    fails: bool,
    pipeline: impl FnOnce() -> Pipeline + Send + 'static,
) -> Rig {
    start_engine(intake, settings, fails, || engine(pipeline()))
}

fn start_engine(
    intake: Arc<Intake<Message, Published>>,
    settings: NodeSettings,
    fails: bool,
    engine: impl FnOnce() -> Engine + Send + 'static,
) -> Rig {
    let cameras = intake.healths().count();
    let (settings, in_force) = watch::channel(Arc::new(settings));
    let clock_nanos = Arc::new(AtomicI64::new(i64::from(START_SECONDS) * 1_000_000_000));
    let (sender, results) = mpsc::channel();
    let thread = thread::spawn({
        let (intake, clock) = (intake.clone(), clock_nanos.clone());
        move || {
            let notebook = || Notebook { results: sender.clone(), fails, model_id: String::new() };
            let mut sinks: Vec<_> = (0..cameras).map(|_| notebook()).collect();
            let mut engine = engine();
            robot::run(&intake, &mut engine, &mut sinks, in_force, &|| clock.load(Ordering::Relaxed));
            engine
        }
    });
    Rig { intake, clock_nanos, results, thread, settings }
}

impl Rig {
    /// Offers one frame and waits until it has ended.
    fn one(&self, frame: Message) {
        self.intake.offer(0, frame);
        self.wait();
    }

    /// Waits until no frame is waiting or at work.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.counts().waiting > 0 {
            assert!(Instant::now() < deadline && !self.thread.is_finished(), "the loop does not finish its frame");
            thread::yield_now();
        }
    }

    fn health(&self) -> &Arc<Health> {
        self.intake.healths().next().unwrap()
    }

    fn counts(&self) -> Counts {
        self.health().snapshot(Instant::now()).counts
    }

    /// Stops the loop; what was published and what it came to.
    fn stop(self) -> (Vec<Published>, Summary) {
        self.intake.stop();
        let summary = {
            let health = self.health().clone();
            let pipeline = self.thread.join().unwrap().pipeline;
            Summary::of(&[health], pipeline.contract().model_id(), pipeline.provider().used.name().to_owned())
        };
        let counts = &summary.frames.counts;
        assert_eq!(counts.frames_in, counts.processed + counts.dropped + counts.rejected, "{counts:?}");
        assert_eq!(counts.waiting, 0);
        (self.results.try_iter().collect(), summary)
    }
}

#[test]
fn a_frame_is_seen_and_published_with_its_own_stamp() {
    let rig = start(settings(), false);
    rig.clock_nanos.fetch_add(250_000_000, Ordering::Relaxed);
    rig.one(red(100));
    let (published, summary) = rig.stop();
    let stamp = Stamp { sec: START_SECONDS, nanosec: 100_000_000 };
    let best = "red".to_owned();
    let expected = Published { stamp, age_nanos: 150_000_000, frames_dropped: 0, best, model_id: String::new() };
    assert_eq!(published, [expected]);
    assert_eq!((summary.frames.counts.frames_in, summary.frames.counts.processed), (1, 1));
    assert_eq!(summary.frames.age_ms.p50, Some(150.0));
}

#[test]
fn every_bad_frame_is_counted_under_its_reason_and_the_next_one_is_processed() {
    let rig = start(settings(), false);
    rig.one(Message { readable: false, ..red(1) });
    rig.one(Message { stride_bytes: 1, ..red(2) });
    rig.one(Message { data: Vec::new(), ..red(3) });
    rig.one(Message { stamp: Stamp::default(), ..red(4) });
    rig.one(red(60_000));
    rig.one(red(5));
    rig.one(red(5));
    rig.one(red(6));
    let (published, summary) = rig.stop();
    assert_eq!(published.len(), 2);
    let rejected = summary.frames.counts.rejected_by.into_iter().collect::<Vec<_>>();
    assert_eq!(rejected, [("bad_image", 2), ("bad_message", 1), ("stamp", 2)]);
    assert_eq!(summary.frames.counts.dropped_by.into_iter().collect::<Vec<_>>(), [("duplicate", 1)]);
}

#[test]
fn a_frame_that_is_too_old_is_never_processed() {
    let limit = Some(Duration::from_millis(500));
    let rig = start(NodeSettings { max_input_age: limit, ..settings() }, false);
    rig.clock_nanos.fetch_add(600_000_000, Ordering::Relaxed);
    rig.one(red(99));
    rig.one(red(100));
    let (published, summary) = rig.stop();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].frames_dropped, 1, "the result says what was dropped before it");
    assert_eq!(summary.frames.counts.dropped_by["too_old"], 1);
}

#[test]
fn a_restamped_frame_is_published_with_the_time_of_reception() {
    let rig = start(NodeSettings { stamp_policy: StampPolicy::Restamp, ..settings() }, false);
    rig.clock_nanos.fetch_add(2_000_000_000, Ordering::Relaxed);
    let received = Instant::now();
    rig.one(Message { stamp: Stamp::default(), received, ..red(0) });
    let most_seconds = received.elapsed().as_secs_f64();
    let (published, _) = rig.stop();
    let stamp = published[0].stamp;
    let seconds_before_now = f64::from(START_SECONDS + 2 - stamp.sec) - f64::from(stamp.nanosec) * 1e-9;
    assert!((0.0..=most_seconds).contains(&seconds_before_now), "{stamp:?}: {seconds_before_now} s before the clock");
}

#[test]
fn while_a_frame_is_at_work_only_the_newest_waits() {
    let rig = start(settings(), false);
    for millis in 0..200 {
        rig.intake.offer(0, red(millis));
    }
    rig.wait();
    let (published, summary) = rig.stop();
    let last = published.last().unwrap();
    assert_eq!(last.stamp.nanosec, 199_000_000, "the newest is always processed");
    assert!(published.windows(2).all(|pair| pair[0].stamp < pair[1].stamp), "in order");
    let counts = summary.frames.counts;
    assert_eq!((counts.frames_in, counts.rejected), (200, 0));
    assert_eq!(counts.dropped, counts.dropped_by.get("superseded").copied().unwrap_or(0));
    let told: u64 = published.iter().map(|result| u64::from(result.frames_dropped)).sum();
    assert_eq!(told, counts.dropped, "results say of every dropped frame");
}

#[test]
fn a_model_that_fails_three_times_in_a_row_counts_as_broken_until_it_works() {
    let rig = start(settings(), false);
    let broken = |rig: &Rig| rig.health().snapshot(Instant::now()).inference_broken;
    for millis in 0..3 {
        assert!(!broken(&rig), "{millis}");
        rig.one(picture(BLACK, millis));
    }
    assert!(broken(&rig));
    let trouble = rig.health().snapshot(Instant::now()).last_trouble.unwrap();
    assert!(trouble.contains("NaN"), "{trouble}");
    rig.one(red(10));
    assert!(!broken(&rig));
    assert_eq!(rig.health().snapshot(Instant::now()).last_trouble, None);
    assert_eq!(rig.stop().1.frames.counts.rejected_by["inference"], 3);
}

#[test]
fn another_model_is_not_broken_for_what_the_one_before_failed_at() {
    let rig = start(settings(), false);
    let broken = |rig: &Rig| rig.health().snapshot(Instant::now()).inference_broken;
    let another = || {
        let mut bundle = colours();
        "another".clone_into(&mut bundle.contract.name);
        Pipeline::new(Model::load(&bundle, &on_cpu()).unwrap(), PipelineSettings::from(&settings())).unwrap()
    };
    let fail = |rig: &Rig, from: u32| (from..from + 3).for_each(|millis| rig.one(picture(BLACK, millis)));
    fail(&rig, 0);
    rig.swap(pipeline());
    assert!(broken(&rig), "the same model, loaded anew, has not worked yet");
    rig.swap(another());
    assert!(!broken(&rig));
    fail(&rig, 10);
    assert!(broken(&rig), "it may be broken as well");
    rig.health().resumed(Instant::now());
    assert!(!broken(&rig), "nor does that outlive an activation");
    rig.stop();
}

#[test]
fn a_sink_that_fails_costs_the_frame_and_not_the_loop() {
    let rig = start(settings(), true);
    rig.one(red(1));
    rig.one(red(2));
    let trouble = rig.health().snapshot(Instant::now()).last_trouble.unwrap();
    assert_eq!(trouble, "cannot publish ~/grasp_regions: no memory");
    let (published, summary) = rig.stop();
    assert_eq!((published.len(), summary.frames.counts.dropped_by["not_published"]), (0, 2));
}

#[test]
fn a_stop_ends_a_loop_to_which_no_frame_comes() {
    let rig = start(settings(), false);
    // It has its model, and time to wait.
    rig.reset();
    thread::sleep(Duration::from_millis(20));
    let (published, summary) = rig.stop();
    assert_eq!((published.len(), summary.frames.counts), (0, Counts::default()));
}

#[test]
fn stamps_that_go_back_are_processed() {
    let rig = start(settings(), false);
    for millis in [500, 600, 100, 200] {
        rig.one(red(millis));
    }
    assert_eq!(rig.stop().1.frames.counts.processed, 4);
}

#[test]
fn the_summary_is_one_json_object() {
    let rig = start(settings(), false);
    rig.one(red(1));
    rig.one(Message { readable: false, ..red(2) });
    let json = serde_json::to_value(rig.stop().1).unwrap();
    for (key, value) in [("frames_in", 2), ("processed", 1), ("dropped", 0), ("rejected", 1)] {
        assert_eq!(json[key], value, "{json}");
    }
    assert_eq!((json["provider"].as_str(), json["rejected_by"]["bad_message"].as_u64()), (Some("cpu"), Some(1)));
    assert!(json["model_id"].as_str().unwrap().starts_with("colours:"));
    for number in [&json["latency_ms"]["p50"], &json["age_beside_run_ms"]["p99"], &json["stages_ms"]["run"]] {
        assert!(number.is_f64(), "{json}");
    }
}

#[test]
fn a_change_of_settings_takes_effect_with_the_next_frame() {
    let rig = start(settings(), false);
    rig.one(red(100));
    rig.settings.send(Arc::new(NodeSettings { affordances: vec!["blue".to_owned()], ..settings() })).unwrap();
    rig.one(red(101));
    // A model that lacks what is asked for keeps what it had.
    rig.settings.send(Arc::new(NodeSettings { affordances: vec!["reed".to_owned()], ..settings() })).unwrap();
    rig.one(red(102));
    let (published, _) = rig.stop();
    let best: Vec<&str> = published.iter().map(|result| result.best.as_str()).collect();
    assert_eq!(best, ["red", "blue", "blue"]);
}

/// What somebody gets who asks to look once.
type Reply = oneshot::Receiver<Result<Published, DetectError>>;

impl Rig {
    /// Asks for one look of the first camera.
    fn ask(&self, affordances: &[&str], wait: Duration) -> Reply {
        let (reply, answer) = oneshot::channel();
        let affordances = affordances.iter().map(|&name| name.to_owned()).collect();
        let deadline = Instant::now() + wait;
        self.intake
            .order(Order::Detect(Detect { camera: 0, affordances, want_heatmaps: true, deadline, reply }))
            .unwrap();
        answer
    }

    fn swap(&self, pipeline: Pipeline) {
        let (done, old) = oneshot::channel();
        self.intake.order(Order::Swap(Swap { engine: engine(pipeline), announce: Box::new(|| {}), done })).unwrap();
        drop(old.blocking_recv().unwrap());
    }

    fn reset(&self) {
        let (done, is_done) = oneshot::channel();
        self.intake.order(Order::Reset { done }).unwrap();
        is_done.blocking_recv().unwrap();
    }
}

const AN_HOUR: Duration = Duration::from_secs(3600);

fn on_demand() -> NodeSettings {
    NodeSettings { mode: Mode::OnDemand, ..settings() }
}

#[test]
fn on_demand_one_frame_is_processed_for_each_request() {
    let rig = start(on_demand(), false);
    for millis in 1..4 {
        rig.intake.offer(0, red(millis));
    }
    let newest = rig.ask(&[], Duration::ZERO).blocking_recv().unwrap().unwrap();
    assert_eq!((newest.stamp.nanosec, newest.best.as_str()), (3_000_000, "red"));
    let none = rig.ask(&[], Duration::ZERO).blocking_recv().unwrap();
    assert_eq!(none, Err(DetectError::NoFrame { trouble: None }), "a frame is looked at once");
    let next = rig.ask(&["blue"], AN_HOUR);
    rig.intake.offer(0, red(4));
    assert_eq!(next.blocking_recv().unwrap().unwrap().best, "blue", "only the actions that were asked for");
    let (published, summary) = rig.stop();
    assert_eq!(published.len(), 2, "what was asked for is published too");
    assert_eq!((summary.frames.counts.processed, summary.frames.counts.dropped_by["superseded"]), (2, 2));
}

#[test]
fn requests_are_answered_whatever_the_rate_is() {
    for mode in [Mode::OnDemand, Mode::Continuous] {
        let rig = start(NodeSettings { mode, max_rate_hz: Some(1e-6), ..settings() }, false);
        for millis in 1..4 {
            let asked = rig.ask(&[], AN_HOUR);
            rig.one(red(millis));
            assert_eq!(asked.blocking_recv().unwrap().unwrap().stamp.nanosec, millis * 1_000_000);
        }
        if mode == Mode::Continuous {
            rig.one(red(10));
            assert_eq!(rig.counts().dropped_by["rate_limit"], 1, "nobody waits for it");
        }
        assert_eq!(rig.stop().1.frames.counts.processed, 3);
    }
}

#[test]
fn a_frame_that_comes_while_the_mode_changes_is_counted() {
    let rig = start(settings(), false);
    rig.one(red(1));
    // Without an order the loop does not know of the mode before it has taken the frame.
    rig.settings.send_replace(Arc::new(on_demand()));
    rig.one(red(2));
    rig.intake.offer(0, red(3));
    let (published, summary) = rig.stop();
    let counts = summary.frames.counts;
    assert_eq!((published.len(), counts.processed, counts.waiting), (2, 2, 0), "{counts:?}");
    assert_eq!((counts.frames_in, counts.dropped_by["stopped"]), (3, 1), "the third waits for somebody who asks");
}

#[test]
fn a_look_beside_the_stream_leaves_it_as_it_is() {
    let rig = start(settings(), false);
    let asked = rig.ask(&["blue"], AN_HOUR);
    rig.one(red(1));
    assert_eq!(asked.blocking_recv().unwrap().unwrap().best, "blue");
    rig.one(red(2));
    let (published, summary) = rig.stop();
    let best: Vec<&str> = published.iter().map(|result| result.best.as_str()).collect();
    assert_eq!((best, summary.frames.counts.processed), (vec!["red", "red"], 2));
}

#[test]
fn a_request_waits_past_frames_that_are_not_sound() {
    let rig = start(on_demand(), false);
    let asked = rig.ask(&[], AN_HOUR);
    rig.one(Message { readable: false, ..red(1) });
    rig.one(red(2));
    assert_eq!(asked.blocking_recv().unwrap().unwrap().stamp.nanosec, 2_000_000);
    rig.intake.offer(0, Message { readable: false, ..red(3) });
    let late = rig.ask(&[], Duration::ZERO).blocking_recv().unwrap().unwrap_err();
    assert!(late.to_string().ends_with("the last trouble: cannot read the message: cut short"), "{late}");
    assert_eq!(rig.stop().1.frames.counts.rejected_by["bad_message"], 2);
}

#[test]
fn requests_that_cannot_be_answered_are_refused_at_once() {
    let rig = start(on_demand(), false);
    let unknown = rig.ask(&["reed"], AN_HOUR).blocking_recv().unwrap().unwrap_err().to_string();
    assert!(unknown.contains("did you mean red"), "{unknown}");
    rig.intake.set_enabled(false);
    let disabled = rig.ask(&[], AN_HOUR).blocking_recv().unwrap();
    assert_eq!(disabled, Err(DetectError::Refused("disabled by ~/enable".to_owned())));
    rig.intake.set_enabled(true);
    let waiting: Vec<Reply> = (0..40).map(|_| rig.ask(&[], AN_HOUR)).collect();
    // Once this is done, so are all orders before it.
    rig.reset();
    rig.one(red(1));
    let replies: Vec<_> = waiting.into_iter().map(|reply| reply.blocking_recv().unwrap()).collect();
    let busy = replies.iter().filter(|reply| **reply == Err(DetectError::Busy { waiting: 32 })).count();
    assert_eq!((busy, replies.iter().filter(|reply| reply.is_ok()).count()), (8, 32));
    let (published, summary) = rig.stop();
    assert_eq!((published.len(), summary.frames.counts.processed), (1, 1), "one frame, however many asked");
}

#[test]
fn a_stop_turns_away_who_waits() {
    let rig = start(on_demand(), false);
    let asked = rig.ask(&[], AN_HOUR);
    rig.stop();
    assert!(asked.blocking_recv().is_err());
}

#[test]
fn a_swap_happens_between_two_frames_and_gives_the_old_model_back() {
    let rig = start(settings(), false);
    rig.one(red(1));
    let announced = Arc::new(AtomicI64::new(0));
    let (done, old) = oneshot::channel();
    let announce = Box::new({
        let announced = announced.clone();
        move || announced.store(1, Ordering::SeqCst)
    });
    rig.intake.order(Order::Swap(Swap { engine: engine(pipeline()), announce, done })).unwrap();
    let old = old.blocking_recv().unwrap();
    assert_eq!(announced.load(Ordering::SeqCst), 1);
    rig.one(red(2));
    let (published, _) = rig.stop();
    let ids: Vec<&str> = published.iter().map(|result| result.model_id.as_str()).collect();
    assert_eq!(ids, ["", &old.pipeline.contract().model_id()]);
}

#[test]
fn cameras_take_turns_and_are_counted_apart() {
    let rig = start_cameras(settings(), false, 3);
    for millis in 1..30 {
        (0..3).for_each(|camera| rig.intake.offer(camera, red(100 * camera as u32 + millis)));
    }
    let counts = |camera: usize| rig.intake.healths().nth(camera).unwrap().snapshot(Instant::now()).counts;
    let deadline = Instant::now() + Duration::from_secs(60);
    while (0..3).any(|camera| counts(camera).waiting > 0) {
        assert!(Instant::now() < deadline, "the loop does not finish its frames");
        thread::yield_now();
    }
    for camera in 0..3 {
        let counts = counts(camera);
        assert_eq!((counts.frames_in, counts.processed + counts.dropped, counts.rejected), (29, 29, 0), "{counts:?}");
        assert!(counts.processed > 0, "nobody starves: {counts:?}");
    }
    rig.stop();
}

#[test]
fn after_a_reset_everything_counts_from_nothing() {
    let rig = start(settings(), false);
    rig.one(red(500));
    rig.reset();
    assert_eq!(rig.counts(), Counts::default());
    rig.one(red(500));
    assert_eq!(rig.stop().1.frames.counts.processed, 1, "the stamp is forgotten, too");
}

/// A pipeline whose model takes so many frames at once.
fn batching(max_batch: usize) -> Pipeline {
    let model = Model::load(&colours(), &InferSettings { max_batch, ..on_cpu() }).unwrap();
    Pipeline::new(model, PipelineSettings::from(&settings())).unwrap()
}

fn waits(intake: &Intake<Message, Published>) -> bool {
    intake.healths().any(|health| health.snapshot(Instant::now()).counts.waiting > 0)
}

#[test]
fn a_bad_frame_in_a_batch_costs_only_itself() {
    let intake = Arc::new(Intake::new((0..5).map(|_| Arc::new(Health::default()))));
    // They wait before the loop begins, so they are taken together.
    intake.offer(0, red(1));
    intake.offer(1, Message { readable: false, ..red(2) });
    intake.offer(2, Message { data: Vec::new(), ..red(3) });
    intake.offer(3, picture(BLACK, 4));
    intake.offer(4, picture([0, 0, 200], 5));
    let rig = start_on(intake, settings(), false, || batching(16));
    let deadline = Instant::now() + Duration::from_secs(60);
    while waits(&rig.intake) {
        assert!(Instant::now() < deadline, "the loop does not finish its frames");
        thread::yield_now();
    }
    let healths: Vec<_> = rig.intake.healths().cloned().collect();
    let running = healths.iter().map(|health| health.snapshot(Instant::now()).running_for);
    assert!(running.into_iter().all(|busy| busy.is_none()), "no pulse goes on");
    let counts: Vec<Counts> = healths.iter().map(|health| health.snapshot(Instant::now()).counts).collect();
    let (published, _) = rig.stop();
    let seen: Vec<_> = published.iter().map(|result| (result.stamp.nanosec, result.best.as_str())).collect();
    assert_eq!(seen, [(1_000_000, "red"), (5_000_000, "blue")]);
    let rejected = |camera: usize| counts[camera].rejected_by.iter().map(|(name, n)| (*name, *n)).collect::<Vec<_>>();
    assert_eq!((rejected(1), rejected(2)), (vec![("bad_message", 1)], vec![("bad_image", 1)]));
    assert_eq!((rejected(3), counts[0].processed, counts[4].processed), (vec![("inference", 1)], 1, 1));
}

#[test]
fn batches_of_three_cameras_are_counted_exactly() {
    let intake = Arc::new(Intake::new((0..3).map(|_| Arc::new(Health::default()))));
    // They wait before the loop begins, so the first two are a batch.
    (0..3).for_each(|camera| intake.offer(camera, red(100 * camera as u32)));
    let rig = start_on(intake, settings(), false, || batching(2));
    for millis in 1..60 {
        (0..3).for_each(|camera| rig.intake.offer(camera, red(100 * camera as u32 + millis)));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while waits(&rig.intake) {
        assert!(Instant::now() < deadline, "the loop does not finish its frames");
        thread::yield_now();
    }
    let counts: Vec<Counts> = rig.intake.healths().map(|health| health.snapshot(Instant::now()).counts).collect();
    let (published, _) = rig.stop();
    for counts in &counts {
        assert_eq!((counts.frames_in, counts.processed + counts.dropped, counts.rejected), (60, 60, 0), "{counts:?}");
        assert!(counts.processed > 0, "nobody starves: {counts:?}");
    }
    assert_eq!(counts.iter().map(|counts| counts.processed).sum::<u64>(), published.len() as u64);
}

/// The node's way to the loop, without the node.
struct LoopSeat(Arc<Intake<Message, Published>>);

impl Seat<Box<Pipeline>> for LoopSeat {
    fn put(&mut self, pipeline: Box<Pipeline>) -> Result<Option<Box<Pipeline>>, NotPlaced> {
        let (done, before) = oneshot::channel();
        let swap = Swap { engine: Engine { pipeline, reporter: None }, announce: Box::new(|| {}), done };
        self.0.order(Order::Swap(swap)).unwrap();
        Ok(before.blocking_recv().ok().map(|engine| engine.pipeline))
    }

    fn release(&mut self) {
        let (done, released) = oneshot::channel();
        self.0.order(Order::Release { done }).unwrap();
        drop(released.blocking_recv().unwrap());
    }
}

#[test]
fn only_failures_of_the_model_are_reported_and_three_in_a_row_exchange_it_between_two_frames() {
    let workshop = || {
        let settings = watch::channel(Arc::new(settings())).1;
        let contract = colours().contract;
        ModelWorkshop {
            bundle: Box::new(|| Ok(Arc::new(colours()))),
            contract,
            infer: on_cpu(),
            settings,
            loading: Arc::default(),
        }
    };
    let started = accelerator::start(workshop(), Plan::of(&colours(), &on_cpu()).unwrap()).unwrap();
    let intake = Arc::new(Intake::new([Arc::new(Health::default())]));
    let (pipeline, supervisor) = started.supervise(LoopSeat(intake.clone())).unwrap();
    let standing = supervisor.standing();
    let watched = Engine { pipeline, reporter: Some(supervisor.reporter()) };
    let rig = start_engine(intake, settings(), false, || watched);
    (1..9).for_each(|n| rig.one(Message { data: Vec::new(), ..red(n) }));
    [9, 10].into_iter().for_each(|n| rig.one(picture(BLACK, n)));
    rig.one(red(11));
    [12, 13].into_iter().for_each(|n| rig.one(picture(BLACK, n)));
    assert!(!standing.has_changed().unwrap(), "{:?}", standing.borrow());
    rig.one(picture(BLACK, 14));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut standing = standing;
    while !(standing.has_changed().unwrap() && standing.borrow_and_update().on.is_some()) {
        assert!(Instant::now() < deadline, "{:?}", standing.borrow());
        thread::sleep(Duration::from_millis(1));
    }
    rig.one(red(15));
    assert!(supervisor.stop(Duration::from_secs(60)));
    let (published, summary) = rig.stop();
    assert_eq!(published.len(), 2);
    assert_eq!(summary.frames.counts.rejected_by["inference"], 5);
}

#[test]
fn orders_given_before_a_stop_are_obeyed() {
    let rig = start(settings(), false);
    let (done, released) = oneshot::channel();
    let (done_too, old) = oneshot::channel();
    rig.intake.order(Order::Release { done }).unwrap();
    let swap = Swap { engine: engine(pipeline()), announce: Box::new(|| {}), done: done_too };
    rig.intake.order(Order::Swap(swap)).unwrap();
    rig.stop();
    drop(released.blocking_recv().unwrap());
    assert!(old.blocking_recv().is_ok());
}
