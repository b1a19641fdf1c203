use std::{collections::BTreeMap, time::Instant};

use super::*;
use crate::{
    perceive::{RejectReason, infer::GraphShare},
    robot::{Health, MatchingQos, SilenceWatch, accounting::Outcome, windows::FrameFigures},
};

const TIMEOUT: Duration = Duration::from_secs(2);

fn view(health: &Health, now: Instant) -> CameraView {
    let input = InputFacts {
        input: "image".to_owned(),
        topic: "/cam/image".to_owned(),
        message_type: "sensor_msgs/msg/Image".to_owned(),
        requested: MatchingQos::default(),
        publishers: Vec::new(),
        clock_started: true,
    };
    let health = health.snapshot(now);
    let watch = SilenceWatch::new(TIMEOUT);
    CameraView {
        name: String::new(),
        silence: watch.reason(&health, &input),
        nothing_comes: watch.is_empty(&health),
        silence_is_long: watch.is_long(&health),
        depth_trouble: None,
        depth_offset_millis: Some(-12.34),
        health,
        input,
    }
}

fn node<'a>(cameras: &'a [CameraView], model: Option<ModelView<'a>>) -> NodeFacts<'a> {
    NodeFacts {
        state: State::Active,
        is_disabled: false,
        trouble: None,
        model,
        cameras,
        loading_for: None,
        inference_timeout: Duration::from_secs(30),
        resident_bytes: Some(300 << 20),
    }
}

fn contract() -> ModelContract {
    let text = include_str!("../../../models/default/model.yaml");
    serde_yaml::from_str(text).unwrap()
}

fn value<'a>(diagnosis: &'a Diagnosis, key: &str) -> &'a str {
    let found = diagnosis.values.iter().find(|(name, _)| name == key);
    found.map_or_else(|| panic!("{key}: {:?}", diagnosis.values), |(_, value)| value)
}

fn levels(diagnoses: &[Diagnosis]) -> Vec<(&str, Level)> {
    diagnoses.iter().map(|diagnosis| (diagnosis.part.as_str(), diagnosis.level)).collect()
}

#[test]
fn a_node_at_work_is_ok_and_tells_its_figures_by_reason() {
    let (health, began) = (Health::default(), Instant::now());
    (0..3).for_each(|_| health.arrived(began));
    health.ended(Outcome::Dropped(DropReason::Superseded));
    health.failed(Outcome::Rejected(RejectReason::BadImage), "step 0");
    let figures =
        FrameFigures { age: Some(Duration::from_millis(80)), latency: Duration::from_millis(70), ..Default::default() };
    health.processed(began, &figures);
    let cameras = [view(&health, began)];
    let graph = GraphShare {
        nodes: BTreeMap::from([("CPUExecutionProvider".to_owned(), 12), ("CUDAExecutionProvider".to_owned(), 250)]),
        multiply_adds: Some(0),
    };
    let provider = ProviderInUse {
        requested: ProviderChoice::Auto,
        used: ProviderChoice::Cuda,
        failed: Vec::new(),
        graph: Some(graph),
    };
    let contract = contract();
    let standing = Standing { on: Some(ProviderChoice::Cuda), ..Standing::default() };
    let model = ModelView { id: "m:0123456789ab", contract: &contract, provider: &provider, standing: &standing };
    let said = diagnose(&node(&cameras, Some(model)));
    let ok = Level::Ok;
    assert_eq!(levels(&said), [("inputs", ok), ("inference", ok), ("outputs", ok), ("model", ok)]);
    for (part, key, expected) in [
        (0, "topic", "/cam/image"),
        (0, "frames", "3"),
        (0, "dropped: superseded", "1"),
        (0, "rejected: bad_image", "1"),
        (0, "depth offset p50 [ms]", "-12.3"),
        (1, "execution provider", "cuda"),
        (1, "requested provider", "auto"),
        (1, "graph nodes left to the CPU", "12"),
        (1, "latency p99 [ms]", "70.00"),
        (1, "run p50 [ms]", "0.00"),
        (2, "processed", "1"),
        (2, "age p99 [ms]", "80.00"),
        (3, "model", "m:0123456789ab"),
        (3, "memory of the process [MiB]", "300"),
    ] {
        assert_eq!(value(&said[part], key), expected, "{key}");
    }
}

#[test]
fn a_silence_is_a_warning_then_an_error_or_stale_where_nothing_comes_at_all() {
    let began = Instant::now();
    let health = Health::started_at(began);
    let level = |health: &Health, seconds: f64| {
        let cameras = [view(health, began + Duration::from_secs_f64(seconds))];
        let inputs = diagnose(&node(&cameras, None)).remove(0);
        (inputs.level, inputs.message)
    };
    assert_eq!(level(&health, 1.0), (Level::Ok, "waiting for the first image on /cam/image".to_owned()));
    let (warn, message) = level(&health, 3.0);
    assert_eq!(warn, Level::Warn);
    assert!(message.starts_with("no publisher on /cam/image"), "the watch's own words: {message}");
    assert_eq!(level(&health, 10.0).0, Level::Stale);
    health.arrived(began + Duration::from_secs(9));
    health.failed(Outcome::Rejected(RejectReason::BadImage), "step 0");
    let (error, message) = level(&health, 10.0);
    assert_eq!((error, message.as_str()), (Level::Error, "1 frames came, all rejected; the last: step 0"));
    assert_eq!(level(&health, 12.0).0, Level::Stale, "nor does anything come any more");
}

#[test]
fn a_disabled_node_says_so_and_is_well() {
    let began = Instant::now();
    let health = Health::started_at(began);
    health.arrived(began);
    health.failed(Outcome::Dropped(DropReason::NotPublished), "no memory");
    let mut cameras = [view(&health, began + TIMEOUT)];
    cameras[0].depth_trouble = Some("no calibration has come".to_owned());
    let outputs = |facts: &NodeFacts<'_>| diagnose(facts).into_iter().find(|said| said.part == "outputs").unwrap();
    assert_eq!(outputs(&node(&cameras, None)).level, Level::Error);
    assert_eq!(outputs(&NodeFacts { state: State::Inactive, ..node(&cameras, None) }).level, Level::Ok);
    let said = diagnose(&NodeFacts { is_disabled: true, ..node(&cameras, None) });
    for part in ["inputs", "outputs"] {
        let found = said.iter().find(|diagnosis| diagnosis.part == part).unwrap();
        assert_eq!((found.level, found.message.as_str()), (Level::Ok, "disabled by ~/enable: frames are dropped"));
    }
}

#[test]
fn a_run_that_takes_long_is_an_error_of_inference_and_a_load_one_of_the_model() {
    let health = Health::default();
    let _beat = health.pulse().begin();
    let cameras = [view(&health, Instant::now() + Duration::from_secs(11))];
    let facts = node(&cameras, None);
    let said = diagnose(&facts);
    assert_eq!(said[1].level, Level::Error);
    assert!(said[1].message.starts_with("the model has been at work on one frame for 1"), "{}", said[1].message);
    assert_eq!(slow_work(&facts).as_ref(), Some(&said[1].message), "the status says the same");
    assert_eq!(slow_work(&NodeFacts { inference_timeout: Duration::from_secs(60), ..facts }), None);

    let (idle, loading_for) = ([], Some(Duration::from_secs(660)));
    let facts = NodeFacts { loading_for, state: State::Configuring, ..node(&idle, None) };
    assert_eq!(levels(&diagnose(&facts)).last(), Some(&("model", Level::Error)));
    assert!(slow_work(&facts).unwrap().contains("has been loading for 660.0 s; after 1800.0 s"));
}

#[test]
fn what_stands_in_fails_or_was_not_reached_is_told() {
    let health = Health::default();
    let provider =
        ProviderInUse { requested: ProviderChoice::Cuda, used: ProviderChoice::Cpu, failed: Vec::new(), graph: None };
    let contract = contract();
    let degraded = vec!["cuda: no driver".to_owned()];
    let standing = Standing { on: Some(ProviderChoice::Cpu), degraded, ..Standing::default() };
    let model = ModelView { id: "m:0", contract: &contract, provider: &provider, standing: &standing };
    let mut cameras = [view(&health, Instant::now())];
    let inference = diagnose(&node(&cameras, Some(model))).remove(1);
    let message = "execution provider cpu stands in: cuda: no driver";
    assert_eq!((inference.level, inference.message.as_str()), (Level::Warn, message));
    assert_eq!(value(&inference, "providers that failed"), "cuda: no driver");
    let standing = Standing { on: None, ..standing.clone() };
    let released = ModelView { standing: &standing, ..model };
    let inference = diagnose(&node(&cameras, Some(released))).remove(1);
    let message = "no execution provider runs: cuda: no driver";
    assert_eq!((inference.level, inference.message.as_str()), (Level::Error, message));
    assert_eq!(value(&inference, "execution provider"), "none");
    cameras[0].health.inference_broken = true;
    assert_eq!(diagnose(&node(&cameras, Some(model)))[1].level, Level::Error);
    let inactive = NodeFacts { state: State::Inactive, ..node(&cameras, Some(model)) };
    assert_eq!(diagnose(&inactive)[1].level, Level::Warn, "broken is a matter of the frames before");
    cameras[0].depth_trouble = Some("no calibration has come".to_owned());
    cameras[0].name = "left".to_owned();
    let inputs = diagnose(&node(&cameras, Some(model))).remove(0);
    assert_eq!((inputs.part.as_str(), inputs.level), ("inputs left", Level::Warn));
    assert_eq!(inputs.message, "no calibration has come");
    let trouble = Some("configuring failed: no bundle");
    let facts = NodeFacts { state: State::Unconfigured, trouble, ..node(&cameras, None) };
    let said = diagnose(&facts);
    assert_eq!((said[3].level, said[3].message.as_str()), (Level::Error, "configuring failed: no bundle"));
    assert_eq!(said[0].message, "no images are taken while unconfigured");
}
