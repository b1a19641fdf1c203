//! The supervisor of accelerators with real sessions and a real loop: what is loaded, built aside, compared, swapped in
//! and loaded anew. No GPU is needed: the names CUDA and TensorRT stand for bundles that ONNX Runtime runs on the CPU,
//! in f32 and in f16, which answer almost but not quite alike.
//!
//! Covers: frames that run while an engine is built, the swap between frames, the refusal of an engine that disagrees,
//! release and loading anew, standing in, giving up, the stop; two ways to compute one model compared.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
//! Not asserted: anything of CUDA or TensorRT themselves; how long anything takes.

#![allow(clippy::unwrap_used)]

mod models;

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ProviderChoice::{Cpu, Cuda, TensorRt};
use looptrans_ros::{
    config::{NodeSettings, ProviderChoice},
    contract::{Bundle, CONTRACT_FILE, MODEL_FILE},
    export::precision::fp16,
    onnx::{FLOAT, proto::ModelProto},
    parity::{
        Answer,
        agreement::{Answers, Disagreement, tolerance},
        pictures::Pictures,
    },
    perceive::{
        Frame, FrameError, Pixels, Stamp,
        infer::{Engines, FailureKind, InferSettings, Model},
        pipeline::{Pipeline, Wanted},
    },
    robot::accelerator::{
        Failure, ModelWorkshop, NotPlaced, Plan, Reporter, Seat, Standing, Supervisor, Workshop, from_folder, start,
    },
};
use models::{on_cpu, seeded, slow_to_load_and_hungry_when_bright, without_context_above};
use prost::Message;
use tokio::sync::watch;

/// For what must happen and has no time of its own.
const PATIENCE: Duration = Duration::from_secs(60);
const OUT_OF_MEMORY: FailureKind = FailureKind::OutOfMemory { asked_bytes: Some(1), available_bytes: Some(0) };

fn toy() -> Arc<Bundle> {
    Arc::new(seeded("toy"))
}

fn with_graph(bundle: &Bundle, onnx: Vec<u8>) -> Arc<Bundle> {
    Arc::new(Bundle { onnx, folder: bundle.folder.clone(), contract: bundle.contract.clone() })
}

/// The bundle in f16: what an engine in half precision is to CUDA.
fn halved(bundle: &Bundle) -> Arc<Bundle> {
    let model = fp16(&ModelProto::decode(bundle.onnx.as_slice()).unwrap()).unwrap();
    with_graph(bundle, model.encode_to_vec())
}

/// The bundle with its large weights in reverse order: an engine that computes something else.
fn wrong(bundle: &Bundle) -> Arc<Bundle> {
    let mut model = ModelProto::decode(bundle.onnx.as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for weights in graph.initializer.iter_mut().filter(|w| w.data_type == FLOAT && w.raw_data.len() > 1024) {
        let reversed: Vec<u8> = weights.raw_data.chunks_exact(4).rev().flatten().copied().collect();
        weights.raw_data = reversed.into();
    }
    with_graph(bundle, model.encode_to_vec())
}

fn on(bundle: Arc<Bundle>, infer: InferSettings) -> ModelWorkshop {
    let settings = watch::channel(Arc::new(NodeSettings::defaults())).1;
    let contract = bundle.contract.clone();
    ModelWorkshop { bundle: Box::new(move || Ok(bundle.clone())), contract, infer, settings, loading: Arc::default() }
}

/// The real workshop behind names of providers. What has no bundle can't be had. A build waits for the gate.
struct StandIns {
    bundles: HashMap<ProviderChoice, ModelWorkshop>,
    gate: Mutex<Receiver<()>>,
    log: Sender<String>,
}

impl StandIns {
    fn bring(&self, what: &str, provider: ProviderChoice) -> Result<Box<Pipeline>, Failure> {
        let _ = self.log.send(format!("{what} {}", provider.name()));
        let workshop = self.bundles.get(&provider);
        workshop.ok_or(Failure { kind: OUT_OF_MEMORY, text: "no memory".to_owned() })?.load(Cpu)
    }

    fn any(&self) -> &ModelWorkshop {
        self.bundles.values().next().unwrap()
    }
}

impl Workshop for StandIns {
    type Pipeline = Box<Pipeline>;
    type Answers = Answers;

    fn load(&self, provider: ProviderChoice) -> Result<Box<Pipeline>, Failure> {
        self.bring("load", provider)
    }

    fn build(&self, provider: ProviderChoice) -> Result<Box<Pipeline>, Failure> {
        let _ = self.gate.lock().unwrap().recv();
        self.bring("build", provider)
    }

    fn answers(&self, pipeline: &mut Box<Pipeline>) -> Result<Answers, Failure> {
        self.any().answers(pipeline)
    }

    fn disagreement(&self, reference: &Answers, candidate: &Answers) -> Result<Disagreement, Failure> {
        self.any().disagreement(reference, candidate)
    }
}

/// What the loop's thread is told between two frames.
enum Order {
    Frame(Sender<Result<Vec<f32>, FrameError>>),
    Put(Box<Pipeline>, Sender<Box<Pipeline>>),
    Release(Sender<()>),
}

struct LoopSeat {
    orders: Sender<Order>,
    log: Sender<String>,
}

impl Seat<Box<Pipeline>> for LoopSeat {
    fn put(&mut self, pipeline: Box<Pipeline>) -> Result<Option<Box<Pipeline>>, NotPlaced> {
        let (before, reply) = mpsc::channel();
        self.orders.send(Order::Put(pipeline, before)).map_err(|_| NotPlaced("no loop".to_owned()))?;
        reply.recv_timeout(PATIENCE).map(Some).map_err(|_| NotPlaced("no answer".to_owned()))
    }

    fn release(&mut self) {
        let (done, reply) = mpsc::channel();
        self.orders.send(Order::Release(done)).unwrap();
        reply.recv_timeout(PATIENCE).unwrap();
        let _ = self.log.send("release".to_owned());
    }
}

/// A loop on a thread of its own, as the node has one.
fn run_loop(mut pipeline: Box<Pipeline>, reporter: Reporter, orders: Receiver<Order>) -> JoinHandle<()> {
    thread::spawn(move || {
        for order in orders {
            match order {
                Order::Frame(reply) => reply.send(look(&mut pipeline, &reporter)).unwrap(),
                Order::Put(next, reply) => reply.send(std::mem::replace(&mut pipeline, next)).unwrap(),
                Order::Release(done) => {
                    drop(pipeline.release());
                    done.send(()).unwrap();
                }
            }
        }
    })
}

fn look(pipeline: &mut Pipeline, reporter: &Reporter) -> Result<Vec<f32>, FrameError> {
    let data: Vec<u8> = (0..64 * 48 * 3).map(|k| (k * 7 % 251) as u8).collect();
    let raw =
        Pixels::Raw { width: 64, height: 48, encoding: "rgb8", is_bigendian: false, stride_bytes: 192, data: &data };
    let frame = Frame { stamp: Stamp { sec: 1, nanosec: 0 }, frame_id: "camera", pixels: raw };
    let done = pipeline.process(&frame, Wanted::default()).map(drop);
    match &done {
        Ok(()) => reporter.succeeded(),
        Err(error) => reporter.failed(error),
    }
    done.map(|()| pipeline.class_maps().maps.to_vec())
}

/// A node's part of it all.
struct Rig {
    supervisor: Supervisor,
    standing: watch::Receiver<Standing>,
    orders: Sender<Order>,
    log: Receiver<String>,
    gate: Sender<()>,
    looping: JoinHandle<()>,
}

/// Half precision is allowed for. `bundles` are what can be had.
fn rig(bundles: Vec<(ProviderChoice, Arc<Bundle>)>, plan: Plan) -> Rig {
    let ((gate, gates), (log, logged), (orders, ordered)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let mut infer = on_cpu();
    infer.gpu.tensorrt_fp16 = true;
    let bundles = bundles.into_iter().map(|(provider, bundle)| (provider, on(bundle, infer.clone()))).collect();
    let started = start(StandIns { bundles, gate: Mutex::new(gates), log: log.clone() }, plan).unwrap();
    let (pipeline, supervisor) = started.supervise(LoopSeat { orders: orders.clone(), log }).unwrap();
    let looping = run_loop(pipeline, supervisor.reporter(), ordered);
    Rig { standing: supervisor.standing(), supervisor, orders, log: logged, gate, looping }
}

impl Rig {
    fn frame(&self) -> Result<Vec<f32>, FrameError> {
        let (reply, answer) = mpsc::channel();
        self.orders.send(Order::Frame(reply)).unwrap();
        answer.recv_timeout(PATIENCE).unwrap()
    }

    fn until(&self, what: impl Fn(&Standing) -> bool) -> Standing {
        let until = Instant::now() + PATIENCE;
        loop {
            let standing = self.standing.borrow().clone();
            if what(&standing) {
                return standing;
            }
            assert!(Instant::now() < until, "it stays at {standing:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn log(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    fn end(self) {
        assert!(self.supervisor.stop(PATIENCE));
        drop(self.orders);
        self.looping.join().unwrap();
        assert!(self.standing.has_changed().is_err(), "the thread has ended");
    }
}

fn plan(now: &[ProviderChoice], aside: Option<ProviderChoice>) -> Plan {
    let now = now.to_vec();
    Plan { requested: TensorRt, now, aside, allow_fallback: true, has_cuda: true }
}

fn out_of_memory() -> FrameError {
    FrameError::Device { kind: OUT_OF_MEMORY, cause: "test".to_owned() }
}

/// The answer of a bundle to the loop's frame.
fn answer(bundle: &Arc<Bundle>) -> Vec<f32> {
    let rig = rig(vec![(Cuda, bundle.clone())], plan(&[Cuda], None));
    let answer = rig.frame().unwrap();
    rig.end();
    answer
}

#[test]
fn frames_run_while_an_engine_is_built_and_on_the_engine_once_it_agreed() {
    let exact = toy();
    let engine = halved(&exact);
    let (on_cuda, on_engine) = (answer(&exact), answer(&engine));
    assert_ne!(on_cuda, on_engine);
    let rig = rig(vec![(Cuda, exact), (TensorRt, engine)], plan(&[Cuda], Some(TensorRt)));
    let standing = rig.until(|standing| standing.doing.is_some());
    assert_eq!(standing.sentence().unwrap(), "running on cuda while the tensorrt engine is built");
    for _ in 0..3 {
        assert_eq!(rig.frame().unwrap(), on_cuda);
    }
    rig.gate.send(()).unwrap();
    rig.until(|standing| *standing == Standing { on: Some(TensorRt), ..Standing::default() });
    assert_eq!(rig.frame().unwrap(), on_engine);
    assert_eq!(rig.log(), ["load cuda", "build tensorrt"]);
    rig.end();
}

#[test]
fn an_engine_that_computes_something_else_never_gets_a_frame() {
    let exact = toy();
    let on_cuda = answer(&exact);
    let rig = rig(vec![(TensorRt, wrong(&exact)), (Cuda, exact)], plan(&[Cuda], Some(TensorRt)));
    rig.gate.send(()).unwrap();
    let standing = rig.until(|standing| standing.doing.is_none());
    assert_eq!(standing.on, Some(Cuda));
    let sentence = standing.sentence().unwrap();
    assert!(sentence.starts_with("execution provider cuda stands in: tensorrt: its answers disagree"), "{sentence}");
    assert_eq!(rig.frame().unwrap(), on_cuda);
    rig.end();
}

#[test]
fn out_of_memory_frees_the_model_first_loads_it_anew_and_the_second_time_elsewhere() {
    let exact = toy();
    let rig = rig(vec![(Cuda, exact.clone()), (Cpu, halved(&exact))], plan(&[Cuda], None));
    let on_cuda = rig.frame().unwrap();
    let reporter = rig.supervisor.reporter();
    reporter.failed(&out_of_memory());
    let loads = |count: usize| {
        let lines: Vec<String> = (0..count).map(|_| rig.log.recv_timeout(PATIENCE).unwrap()).collect();
        rig.until(|standing| standing.doing.is_none() && standing.on.is_some());
        lines
    };
    assert_eq!(loads(3), ["load cuda", "release", "load cuda"]);
    assert_eq!(rig.frame().unwrap(), on_cuda);
    reporter.failed(&out_of_memory());
    assert_eq!(loads(2), ["release", "load cpu"]);
    let standing = rig.until(|standing| standing.on == Some(Cpu));
    assert_eq!(standing.degraded, ["cuda: inference: out of memory (1 bytes asked for, 0 bytes left): test"]);
    assert_ne!(rig.frame().unwrap(), on_cuda);
    rig.end();
}

#[test]
fn where_nothing_is_left_it_gives_up_with_the_reason_and_still_stops() {
    let only_once = Plan { allow_fallback: false, ..plan(&[Cuda], None) };
    let rig = rig(vec![(Cuda, toy())], only_once);
    let reporter = rig.supervisor.reporter();
    let loads = |count| (0..count).for_each(|_| drop(rig.log.recv_timeout(PATIENCE).unwrap()));
    loads(1);
    reporter.failed(&out_of_memory());
    loads(2);
    rig.until(|standing| standing.on == Some(Cuda));
    reporter.failed(&out_of_memory());
    let standing = rig.until(|standing| standing.gave_up);
    assert!(standing.sentence().unwrap().starts_with("no execution provider is left: cuda: inference: out of memory"));
    rig.end();
}

#[test]
fn a_lost_context_is_told_at_once_in_the_middle_of_a_build_and_nothing_is_loaded_or_released_after_it() {
    let exact = toy();
    let rig = rig(vec![(TensorRt, halved(&exact)), (Cuda, exact)], plan(&[Cuda], Some(TensorRt)));
    let on_cuda = rig.frame().unwrap();
    rig.until(|standing| standing.doing.is_some());
    let lost = FrameError::Device { kind: FailureKind::ContextLost, cause: "test".to_owned() };
    rig.supervisor.reporter().failed(&lost);
    // The gate is closed: the build goes on.
    let standing = rig.standing.borrow().clone();
    let ends = standing.ends.clone().unwrap();
    assert!(ends.starts_with("cuda failed: inference: GPU lost to this process: test: "), "{ends}");
    assert_eq!((standing.on, standing.gave_up), (None, false));
    rig.gate.send(()).unwrap();
    // It comes to its end, and is neither compared nor put in place.
    rig.supervisor.reporter().failed(&out_of_memory());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(*rig.standing.borrow(), standing);
    assert_eq!(rig.log(), ["load cuda", "build tensorrt"]);
    assert_eq!(rig.frame().unwrap(), on_cuda);
    rig.end();
}

#[test]
fn after_a_lost_context_nothing_is_released_or_loaded_also_where_a_model_was_just_loaded_anew() {
    let rig = rig(vec![(Cuda, toy())], plan(&[Cuda], None));
    rig.supervisor.reporter().failed(&out_of_memory());
    let loads = ["load cuda", "release", "load cuda"].map(|_| rig.log.recv_timeout(PATIENCE).unwrap());
    assert_eq!(loads, ["load cuda", "release", "load cuda"]);
    rig.until(|standing| standing.on == Some(Cuda));
    let lost = FrameError::Device { kind: FailureKind::ContextLost, cause: "test".to_owned() };
    rig.supervisor.reporter().failed(&lost);
    rig.supervisor.reporter().failed(&lost);
    rig.until(|standing| standing.ends.is_some());
    thread::sleep(Duration::from_millis(300));
    assert!(rig.log().is_empty(), "nothing is released or loaded any more");
    rig.end();
}

/// Of a bundle that fails with CUDA's words on the CPU. From then on this process loads nothing through CUDA, which no other
/// test here does.
#[test]
fn once_cuda_s_context_was_lost_this_process_loads_nothing_through_cuda() {
    let bundle = without_context_above(250.0);
    let load = |provider| Model::load_on(&bundle, &on_cpu(), provider, Engines::Build);
    let before = load(Cuda).unwrap_err();
    assert_eq!(before.kind(), FailureKind::Other, "this library has no CUDA: {before}");
    let mut model = load(Cpu).unwrap();
    let error = model.run(&vec![255; bundle.contract.input_bytes()]).map(drop).unwrap_err();
    assert_eq!(error.kind(), FailureKind::ContextLost, "{error}");
    for provider in [Cuda, TensorRt] {
        let after = load(provider).unwrap_err();
        assert_eq!(after.kind(), FailureKind::ContextLost, "{after}");
        assert!(after.to_string().contains("only a process that is started anew can use it"), "{after}");
    }
    drop(load(Cpu).unwrap());
}

#[test]
fn a_stop_in_the_middle_of_a_build_is_bounded_and_nothing_is_put_in_place_after_it() {
    let exact = toy();
    let rig = rig(vec![(TensorRt, halved(&exact)), (Cuda, exact)], plan(&[Cuda], Some(TensorRt)));
    let on_cuda = rig.frame().unwrap();
    let Rig { supervisor, orders, gate, looping, mut standing, .. } = rig;
    assert!(!supervisor.stop(Duration::ZERO), "the build can't be interrupted");
    gate.send(()).unwrap();
    let until = Instant::now() + PATIENCE;
    while standing.has_changed().is_ok() {
        assert!(Instant::now() < until, "the thread never ends");
        standing.borrow_and_update();
        thread::sleep(Duration::from_millis(2));
    }
    let (reply, answer) = mpsc::channel();
    orders.send(Order::Frame(reply)).unwrap();
    assert_eq!(answer.recv_timeout(PATIENCE).unwrap().unwrap(), on_cuda);
    drop(orders);
    looping.join().unwrap();
}

#[test]
fn what_cannot_be_loaded_at_all_is_told_provider_by_provider() {
    let (log, _) = mpsc::channel();
    let gate = Mutex::new(mpsc::channel().1);
    let nothing = StandIns { bundles: HashMap::new(), gate, log };
    let gave_up = start(nothing, Plan { allow_fallback: false, ..plan(&[Cuda], Some(TensorRt)) }).err().unwrap();
    assert_eq!(
        gave_up.to_string(),
        "execution provider tensorrt can't be had: cuda: no memory; tensorrt: no memory. allow_fallback is off, so the CPU \
         may not stand in"
    );
}

#[test]
fn the_node_s_own_workshop_runs_what_this_machine_has() {
    let bundle = toy();
    let plan = Plan::of(&bundle, &on_cpu()).unwrap();
    let started = start(on(bundle, on_cpu()), plan).unwrap();
    assert_eq!(started.standing(), Standing { on: Some(Cpu), ..Standing::default() });
    assert_eq!(started.pipeline.provider().used, Cpu);

    let broken = with_graph(&toy(), b"no model".to_vec());
    for provider in [Cpu, ProviderChoice::Auto] {
        let infer = InferSettings { provider, ..on_cpu() };
        let plan = Plan::of(&broken, &infer).unwrap();
        let gave_up = start(on(broken.clone(), infer), plan).err().unwrap().to_string();
        assert!(gave_up.starts_with("the model can't be loaded: ") && gave_up.contains("cpu: "), "{gave_up}");
    }
}

#[test]
fn a_bundle_is_read_again_from_its_folder_and_refused_if_it_is_another_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let write = |bundle: &Bundle| {
        fs::write(folder.path().join(MODEL_FILE), &bundle.onnx).unwrap();
        fs::write(folder.path().join(CONTRACT_FILE), serde_yaml::to_string(&bundle.contract).unwrap()).unwrap();
    };
    let first = seeded("toy");
    write(&first);
    let source = from_folder(Bundle::load(folder.path()).unwrap());
    // In one piece although it is gone: the first time it is what was loaded before.
    fs::remove_file(folder.path().join(MODEL_FILE)).unwrap();
    assert_eq!(source().unwrap().onnx, first.onnx);
    assert!(source().is_err());
    write(&first);
    assert_eq!(source().unwrap().onnx, first.onnx);
    let mut other = first;
    other.contract.name = "other".to_owned();
    write(&other);
    let refusal = source().unwrap_err().to_string();
    assert!(refusal.contains("expected toy:") && refusal.contains("found other:"), "{refusal}");
}

#[test]
fn a_load_is_watched_and_an_engine_that_is_built_aside_is_not() {
    let workshop = Arc::new(on(Arc::new(slow_to_load_and_hungry_when_bright()), on_cpu()));
    let beats_during = |work: fn(&ModelWorkshop) -> Result<Box<Pipeline>, Failure>| {
        let worker = thread::spawn({
            let workshop = workshop.clone();
            move || drop(work(&workshop).unwrap())
        });
        let mut beats = false;
        while !worker.is_finished() {
            beats |= workshop.loading.busy_for(Instant::now()).is_some();
            thread::sleep(Duration::from_millis(1));
        }
        worker.join().unwrap();
        beats
    };
    assert!(beats_during(|workshop| workshop.load(Cpu)));
    assert_eq!(workshop.loading.busy_for(Instant::now()), None);
    assert!(!beats_during(|workshop| workshop.build(Cpu)));
}

#[test]
fn one_bundle_twice_agrees_exactly_f16_within_its_tolerance_and_other_weights_do_not() {
    let exact = toy();
    let answers = |bundle: &Arc<Bundle>| {
        let workshop = on(bundle.clone(), on_cpu());
        workshop.answers(&mut workshop.load(Cpu).unwrap()).unwrap()
    };
    let reference = answers(&exact);
    let found = |bundle: &Arc<Bundle>| on(exact.clone(), on_cpu()).disagreement(&reference, &answers(bundle)).unwrap();
    assert_eq!(found(&exact).found, 0.0);
    let half = found(&halved(&exact)).found;
    assert!(half > 0.0 && half < tolerance(exact.contract.provenance.precision, true), "{half}");
    let other = found(&wrong(&exact));
    assert!(!other.holds() && other.found > 0.2, "{other:?}");
    // Pictures that all look alike would find nothing.
    let pictures = Pictures::drawn(2, exact.contract.input);
    let mut pipeline = on(exact.clone(), on_cpu()).load(Cpu).unwrap();
    let maps: Vec<Answer> =
        pictures.iter().map(|picture| Answer::of(pipeline.answer_to(&picture.unwrap()).unwrap())).collect();
    assert_ne!(maps[0], maps[1]);
}
