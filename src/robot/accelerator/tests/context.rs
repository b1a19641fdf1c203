//! CUDA's context of this process is lost; a library is not installed.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn lost() -> Failure {
    failure(FailureKind::ContextLost)
}

fn ends(plan: Plan, mut table: Vec<(Event, Option<Action>)>) -> Machine {
    if let Some(last) = table.last_mut() {
        last.1 = Some(Action::End);
    }
    // Nothing is mended, whatever comes.
    table.extend([(Event::RunSucceeded, None), (Event::Loaded, None), (Event::RunFailed(other()), None)]);
    follow(plan, table)
}

#[test]
fn a_lost_context_ends_the_process_at_once_whether_the_cpu_may_stand_in_or_not() {
    for allow_fallback in [true, false] {
        let machine = ends(only(Cuda, allow_fallback), vec![(Event::Loaded, None), (Event::RunFailed(lost()), None)]);
        let standing = machine.standing();
        assert_eq!((standing.on, standing.gave_up), (None, false));
        assert_eq!(standing.sentence().unwrap(), "cuda failed: test: the process must be started anew");
    }
}

#[test]
fn a_context_that_is_lost_aside_ends_the_process_too_for_what_runs_shares_it() {
    let building = || vec![(Event::Loaded, build(TensorRt))];
    let comparing = || [building(), vec![(Event::Built, Some(Action::Compare))]].concat();
    let swapping = || [comparing(), vec![(disagreement(0.0), Some(Action::Swap))]].concat();
    let then = |before: Vec<_>, event: Event| ends(tensorrt(true), [before, vec![(event, None)]].concat());
    for (machine, on) in [
        (then(building(), Event::BuildFailed(lost())), "tensorrt"),
        (then(building(), Event::RunFailed(lost())), "cuda"),
        (then(comparing(), Event::CompareFailed(lost())), "tensorrt"),
        (then(swapping(), Event::RunFailed(lost())), "cuda"),
    ] {
        assert!(sentence(&machine).starts_with(&format!("{on} failed: test: the process")), "{}", sentence(&machine));
    }
}

#[test]
fn a_device_that_was_away_and_a_context_that_is_lost_in_the_load_anew_end_the_process() {
    let table = vec![
        (Event::Loaded, None),
        (
            Event::RunFailed(failure(FailureKind::DeviceLost)),
            Some(Action::Load { provider: Cuda, after: DEVICE_PAUSES[0] }),
        ),
        (Event::LoadFailed(lost()), None),
    ];
    ends(only(Cuda, true), table);
}

#[test]
fn a_context_that_is_lost_in_the_first_load_follows_the_rule_of_fallback_without_cuda() {
    // Neither CUDA behind TensorRT nor TensorRT's engine aside: all of it is one context.
    let kept = |allow_fallback| {
        let candidates = if allow_fallback { vec![TensorRt, Cuda, Cpu] } else { vec![TensorRt, Cuda] };
        let prospects = Prospects { candidates, has_tensorrt: true, has_cuda: true, has_engines: true };
        Plan::new(Auto, allow_fallback, prospects)
    };
    let machine = follow(kept(true), vec![(Event::LoadFailed(lost()), load(Cpu)), (Event::Loaded, None)]);
    assert_eq!(sentence(&machine), "execution provider cpu stands in: tensorrt: test");
    let machine = follow(kept(false), vec![(Event::LoadFailed(lost()), Some(Action::GiveUp))]);
    assert!(machine.standing().gave_up);
}

#[test]
fn what_is_not_installed_is_no_loss_to_auto_unless_the_cpu_stands_in() {
    let missing = || failure(FailureKind::LibraryMissing);
    let plan = |requested| Plan { requested, ..tensorrt(true) };
    let table = || vec![(Event::Loaded, build(TensorRt)), (Event::BuildFailed(missing()), None)];
    assert_eq!(follow(plan(Auto), table()).standing(), Standing { on: Some(Cuda), ..Standing::default() });
    let named = "execution provider cuda stands in: tensorrt: test";
    assert_eq!(sentence(&follow(plan(TensorRt), table())), named, "asked for by name");
    let broken = vec![(Event::Loaded, build(TensorRt)), (Event::BuildFailed(other()), None)];
    assert_eq!(sentence(&follow(plan(Auto), broken)), named, "it is installed and fails");

    let neither = vec![
        (Event::LoadFailed(missing()), load(Cpu)),
        (Event::Loaded, build(TensorRt)),
        (Event::BuildFailed(missing()), None),
    ];
    let on_cpu = "execution provider cpu stands in: cuda: test; tensorrt: test";
    assert_eq!(sentence(&follow(plan(Auto), neither)), on_cpu);
    let nothing = vec![(Event::LoadFailed(missing()), Some(Action::GiveUp))];
    let machine = follow(Plan { requested: Auto, ..only(Cuda, false) }, nothing);
    assert_eq!(sentence(&machine), "no execution provider is left: cuda: test");
}

#[test]
fn a_library_that_a_run_lacks_counts_as_any_other_failure() {
    let failed = |next| (Event::RunFailed(failure(FailureKind::LibraryMissing)), next);
    let table = vec![(Event::Loaded, None), failed(None), failed(None), failed(load(Cuda)), (Event::Loaded, None)];
    follow(only(Cuda, true), table);
}

/// A pipeline that counts when it is freed.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The first that is asked answers; the others lose the context.
struct Loses {
    freed: Arc<AtomicUsize>,
    asked: AtomicUsize,
}

impl Workshop for Loses {
    type Pipeline = Counted;
    type Answers = ();

    fn load(&self, _: ProviderChoice) -> Result<Counted, Failure> {
        Ok(Counted(self.freed.clone()))
    }

    fn build(&self, provider: ProviderChoice) -> Result<Counted, Failure> {
        self.load(provider)
    }

    fn answers(&self, _: &mut Counted) -> Result<(), Failure> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 { Ok(()) } else { Err(lost()) }
    }

    fn disagreement(&self, (): &(), (): &()) -> Result<Disagreement, Failure> {
        Ok(Disagreement { found: 0.0, allowed: 1.0 })
    }
}

/// Holds the pipeline. The frame at work when another takes its place loses the context.
struct LosesAtPut {
    works: Option<Counted>,
    reporter: Arc<OnceLock<Reporter>>,
    was_put: mpsc::Sender<()>,
}

impl Seat<Counted> for LosesAtPut {
    fn put(&mut self, pipeline: Counted) -> Result<Option<Counted>, NotPlaced> {
        let frame = FrameError::Device { kind: FailureKind::ContextLost, cause: "test".to_owned() };
        self.reporter.get().unwrap().failed(&frame);
        let _ = self.was_put.send(());
        Ok(self.works.replace(pipeline))
    }

    fn release(&mut self) {}
}

#[test]
fn what_the_lost_context_holds_is_never_freed() {
    let freed = Arc::new(AtomicUsize::new(0));
    let workshop = || Loses { freed: freed.clone(), asked: AtomicUsize::new(0) };
    let seat = |works| {
        let ((was_put, put), reporter) = (mpsc::channel(), Arc::<OnceLock<Reporter>>::default());
        (LosesAtPut { works, reporter: reporter.clone(), was_put }, reporter, put)
    };
    let ends = |supervisor: &Supervisor| {
        let until = std::time::Instant::now() + PATIENCE;
        while supervisor.standing().borrow().ends.is_none() {
            assert!(std::time::Instant::now() < until, "{:?}", supervisor.standing().borrow());
            std::thread::sleep(Duration::from_millis(2));
        }
    };

    // The candidate, which does not run.
    let (nothing, _, _) = seat(None);
    let (runs, supervisor) = start(workshop(), tensorrt(false)).ok().unwrap().supervise(nothing).unwrap();
    ends(&supervisor);
    assert!(supervisor.stop(PATIENCE));
    assert_eq!(freed.load(Ordering::SeqCst), 0);

    // What ran until a model that was loaded anew took its place.
    let (holds, reporter, put) = seat(Some(runs));
    let (_works, supervisor) = start(workshop(), only(Cuda, false)).ok().unwrap().supervise(holds).unwrap();
    reporter.set(supervisor.reporter()).unwrap();
    let frame = FrameError::Device { kind: OUT_OF_MEMORY, cause: "test".to_owned() };
    supervisor.reporter().failed(&frame);
    put.recv_timeout(PATIENCE).unwrap();
    ends(&supervisor);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(freed.load(Ordering::SeqCst), 0);
    // What the seat holds is the node's to keep.
    assert!(supervisor.stop(PATIENCE));
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}
