//! The machine without any hardware: tables of what happens, and rules that hold whatever happens.

mod context;
mod properties;

use std::time::Duration;

use ProviderChoice::{Auto, Cpu, Cuda, OpenVino, TensorRt};

use super::{
    machine::{CALM, DEVICE_PAUSES},
    *,
};
use crate::perceive::infer::Prospects;

const SECOND: Duration = Duration::from_secs(1);
const OUT_OF_MEMORY: FailureKind = FailureKind::OutOfMemory { asked_bytes: Some(5), available_bytes: None };

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, text: "test".to_owned() }
}

fn other() -> Failure {
    failure(FailureKind::Other)
}

fn disagreement(found: f64) -> Event {
    Event::Compared(Disagreement { found, allowed: 0.02 })
}

fn load(provider: ProviderChoice) -> Option<Action> {
    Some(Action::Load { provider, after: Duration::ZERO })
}

fn build(provider: ProviderChoice) -> Option<Action> {
    Some(Action::Build { provider })
}

/// TensorRT asked for, on a library that has everything, without engines.
fn tensorrt(allow_fallback: bool) -> Plan {
    let mut candidates = vec![TensorRt];
    candidates.extend(allow_fallback.then_some(Cpu));
    let prospects = Prospects { candidates, has_tensorrt: true, has_cuda: true, has_engines: false };
    Plan::new(TensorRt, allow_fallback, prospects)
}

/// One provider asked for, nothing to build.
fn only(provider: ProviderChoice, allow_fallback: bool) -> Plan {
    let now = if allow_fallback { vec![provider, Cpu] } else { vec![provider] };
    Plan { requested: provider, now, aside: None, allow_fallback, has_cuda: true }
}

/// Goes through what happens, each line a second after the one before, and holds the answers against the table.
fn follow(plan: Plan, table: Vec<(Event, Option<Action>)>) -> Machine {
    let (mut machine, _) = Machine::new(plan);
    for (index, (event, expected)) in table.into_iter().enumerate() {
        let found = machine.step(SECOND * index as u32, event.clone());
        assert_eq!(found, expected, "line {index}: {event:?}");
    }
    machine
}

fn sentence(machine: &Machine) -> String {
    machine.standing().sentence().unwrap_or_default()
}

#[test]
fn tensorrt_is_built_aside_unless_its_engines_are_there_or_the_library_has_none() {
    let plan = |candidates: &[ProviderChoice], has_tensorrt, has_engines| {
        let candidates = candidates.to_vec();
        let plan = Plan::new(Auto, true, Prospects { candidates, has_tensorrt, has_cuda: true, has_engines });
        (plan.now, plan.aside)
    };
    let auto = [TensorRt, Cuda, OpenVino, Cpu];
    assert_eq!(plan(&auto, true, false), (vec![Cuda, OpenVino, Cpu], Some(TensorRt)));
    assert_eq!(plan(&auto, true, true), (vec![TensorRt, Cuda, OpenVino, Cpu], Some(TensorRt)));
    assert_eq!(plan(&[TensorRt, Cpu], true, false), (vec![Cuda, Cpu], Some(TensorRt)), "asked for by name");
    assert_eq!(plan(&[TensorRt], false, false), (vec![TensorRt], None), "its own error is to be told");
    assert_eq!(plan(&[Cuda, Cpu], true, true), (vec![Cuda, Cpu], None));
    assert_eq!(plan(&[Cpu], false, false), (vec![Cpu], None));
}

#[test]
fn an_engine_is_built_compared_and_swapped_in_while_cuda_runs() {
    let (mut machine, first) = Machine::new(tensorrt(false));
    assert_eq!((Some(first), sentence(&machine).as_str()), (load(Cuda), "the model is loaded on cuda"));
    assert_eq!(machine.step(SECOND, Event::Loaded), build(TensorRt));
    assert_eq!(sentence(&machine), "running on cuda while the tensorrt engine is built");
    assert_eq!(machine.step(SECOND, Event::Built), Some(Action::Compare));
    assert_eq!(sentence(&machine), "running on cuda while the tensorrt engine is compared with it");
    assert_eq!(machine.step(SECOND, disagreement(0.001)), Some(Action::Swap));
    assert_eq!(machine.step(SECOND, Event::Swapped), None);
    assert_eq!(machine.standing(), Standing { on: Some(TensorRt), ..Standing::default() });
}

#[test]
fn an_engine_that_disagrees_is_discarded_and_the_figure_told() {
    let table = vec![
        (Event::Loaded, build(TensorRt)),
        (Event::Built, Some(Action::Compare)),
        (disagreement(0.3), Some(Action::Discard)),
        (Event::Discarded, None),
    ];
    let machine = follow(tensorrt(true), table);
    assert_eq!(
        sentence(&machine),
        "execution provider cuda stands in: tensorrt: its answers disagree with those of cuda by 0.300 of their range, \
         more than 0.02: kept cuda"
    );
    let nan = vec![
        (Event::Loaded, build(TensorRt)),
        (Event::Built, Some(Action::Compare)),
        (disagreement(f64::NAN), Some(Action::Discard)),
    ];
    follow(tensorrt(true), nan);
}

#[test]
fn an_engine_that_cannot_be_built_or_run_leaves_what_runs() {
    for (event, next) in [(Event::BuildFailed(failure(OUT_OF_MEMORY)), None), (Event::Built, Some(Action::Compare))] {
        let machine = follow(tensorrt(false), vec![(Event::Loaded, build(TensorRt)), (event, next)]);
        assert_eq!(machine.standing().on, Some(Cuda));
    }
    let table = vec![
        (Event::Loaded, build(TensorRt)),
        (Event::Built, Some(Action::Compare)),
        (Event::CompareFailed(failure(OUT_OF_MEMORY)), Some(Action::Discard)),
        (Event::Discarded, None),
    ];
    assert_eq!(sentence(&follow(tensorrt(false), table)), "execution provider cuda stands in: tensorrt: test");
}

#[test]
fn an_engine_that_cannot_be_put_in_place_is_gone_and_what_runs_goes_on() {
    let table = vec![
        (Event::Loaded, build(TensorRt)),
        (Event::Built, Some(Action::Compare)),
        (disagreement(0.0), Some(Action::Swap)),
        (Event::RunFailed(failure(OUT_OF_MEMORY)), None),
        (Event::SwapFailed(other()), None),
    ];
    let machine = follow(tensorrt(false), table);
    assert_eq!((machine.standing().on, machine.standing().doing), (Some(Cuda), None));
    assert_eq!(machine.standing().degraded, ["tensorrt: test"]);
}

#[test]
fn engines_that_are_there_are_loaded_at_once_and_built_anew_aside_where_they_are_of_no_use() {
    let kept = Plan { now: vec![TensorRt, Cuda], ..tensorrt(false) };
    assert_eq!(sentence(&follow(kept.clone(), vec![(Event::Loaded, None)])), "");
    let table = vec![(Event::LoadFailed(other()), load(Cuda)), (Event::Loaded, build(TensorRt))];
    let machine = follow(kept, table);
    assert_eq!(machine.standing().on, Some(Cuda));
}

#[test]
fn where_nothing_else_runs_the_engine_is_built_first() {
    let table = vec![(Event::LoadFailed(other()), build(TensorRt)), (Event::Built, None)];
    assert_eq!(sentence(&follow(tensorrt(false), table)), "", "it is what was asked for");
    let table = vec![
        (Event::LoadFailed(other()), build(TensorRt)),
        (Event::BuildFailed(other()), Some(Action::GiveUp)),
        (Event::Loaded, None),
    ];
    let machine = follow(tensorrt(false), table);
    assert!(machine.standing().gave_up);
    assert_eq!(sentence(&machine), "no execution provider is left: cuda: test; tensorrt: test");
}

#[test]
fn the_cpu_runs_while_the_engine_is_built_where_cuda_cannot_be_had() {
    let table = vec![
        (Event::LoadFailed(other()), load(Cpu)),
        (Event::Loaded, build(TensorRt)),
        (Event::BuildFailed(other()), None),
    ];
    let machine = follow(tensorrt(true), table);
    assert_eq!(sentence(&machine), "execution provider cpu stands in: cuda: test; tensorrt: test");
}

#[test]
fn out_of_memory_at_load_is_told_and_ends_without_a_stand_in() {
    let failed = || Event::LoadFailed(failure(OUT_OF_MEMORY));
    follow(only(Cuda, false), vec![(failed(), Some(Action::GiveUp))]);
    let machine = follow(only(Cuda, true), vec![(failed(), load(Cpu)), (Event::Loaded, None)]);
    assert_eq!(sentence(&machine), "execution provider cpu stands in: cuda: test");
}

#[test]
fn out_of_memory_in_a_run_is_mended_once_and_then_the_rule_of_fallback_holds() {
    let failed = || Event::RunFailed(failure(OUT_OF_MEMORY));
    let mended = || vec![(Event::Loaded, None), (failed(), load(Cuda)), (Event::Loaded, None)];
    let again = |next| [mended(), vec![(failed(), next)]].concat();
    let machine = follow(only(Cuda, false), again(Some(Action::GiveUp)));
    assert_eq!(sentence(&machine), "no execution provider is left: cuda: test");
    let machine = follow(only(Cuda, true), again(load(Cpu)));
    assert_eq!(
        sentence(&machine),
        "cuda failed: test: the model is loaded on cpu; no execution provider runs: cuda: test"
    );
    // After a calm time it is a new failure.
    let mut machine = follow(only(Cuda, false), mended());
    assert_eq!(machine.step(CALM + SECOND, failed()), load(Cuda));
    // A load anew that fails is no better than a run that does.
    let table =
        vec![(Event::Loaded, None), (failed(), load(Cuda)), (Event::LoadFailed(failure(OUT_OF_MEMORY)), load(Cpu))];
    follow(only(Cuda, true), table);
}

#[test]
fn a_lost_device_is_tried_again_with_growing_pauses_and_then_the_rule_of_fallback_holds() {
    let again = |index: usize| Some(Action::Load { provider: Cuda, after: DEVICE_PAUSES[index] });
    let failed = |kind| Event::LoadFailed(failure(kind));
    for (allow_fallback, end) in [(true, load(Cpu)), (false, Some(Action::GiveUp))] {
        let table = vec![
            (Event::Loaded, None),
            (Event::RunFailed(failure(FailureKind::DeviceLost)), again(0)),
            (failed(FailureKind::DeviceLost), again(1)),
            // A driver that is gone is told in other words.
            (failed(FailureKind::Other), again(2)),
            (failed(FailureKind::DeviceLost), end),
        ];
        follow(only(Cuda, allow_fallback), table);
    }
    assert!(DEVICE_PAUSES.is_sorted() && DEVICE_PAUSES[0] > Duration::ZERO);
    let table = vec![
        (Event::Loaded, None),
        (Event::RunFailed(failure(FailureKind::DeviceLost)), again(0)),
        (Event::Loaded, None),
        (Event::RunSucceeded, None),
    ];
    assert_eq!(sentence(&follow(only(Cuda, true), table)), "", "it is back");
}

#[test]
fn other_failures_count_from_the_third_in_a_row_and_end_nothing() {
    let failed = || (Event::RunFailed(other()), None);
    let mut table = vec![(Event::Loaded, None), failed(), failed(), (Event::RunSucceeded, None), failed(), failed()];
    table.push((Event::RunFailed(other()), load(Cpu)));
    table.push((Event::Loaded, None));
    table.extend((0..9).map(|_| failed()));
    let machine = follow(only(Cpu, true), table);
    assert_eq!(machine.standing(), Standing { on: Some(Cpu), ..Standing::default() }, "the next picture may work");
    // On a GPU the CPU takes over.
    let mut table = vec![(Event::Loaded, None), failed(), failed(), (Event::RunFailed(other()), load(Cuda))];
    table.extend([(Event::Loaded, None), failed(), failed(), (Event::RunFailed(other()), load(Cpu))]);
    follow(only(Cuda, true), table);
}

#[test]
fn tensorrt_that_fails_gives_way_to_cuda_unless_the_device_is_lost() {
    let failed = || (Event::RunFailed(other()), None);
    let mut table = vec![
        (Event::Loaded, build(TensorRt)),
        (Event::Built, Some(Action::Compare)),
        (disagreement(0.0), Some(Action::Swap)),
        (Event::Swapped, None),
    ];
    table.extend([failed(), failed(), (Event::RunFailed(other()), load(TensorRt)), (Event::Loaded, None)]);
    table.extend([failed(), failed(), (Event::RunFailed(other()), load(Cuda)), (Event::Loaded, None)]);
    let machine = follow(tensorrt(false), table);
    assert_eq!(sentence(&machine), "execution provider cuda stands in: tensorrt: test");

    let kept = || Plan { now: vec![TensorRt, Cuda], ..tensorrt(false) };
    let mut table = vec![(Event::Loaded, None), (Event::RunFailed(failure(OUT_OF_MEMORY)), load(TensorRt))];
    table.push((Event::LoadFailed(failure(OUT_OF_MEMORY)), load(Cuda)));
    follow(kept(), table);
    let (mut lost, _) = Machine::new(kept());
    lost.step(SECOND, Event::Loaded);
    lost.step(SECOND, Event::RunFailed(failure(FailureKind::DeviceLost)));
    let last = (0..3).map(|_| lost.step(SECOND, Event::LoadFailed(failure(FailureKind::DeviceLost)))).last();
    assert_eq!(last, Some(Some(Action::GiveUp)));
}

#[test]
fn a_failure_while_the_engine_is_built_waits_for_it() {
    let failed = || (Event::RunFailed(failure(OUT_OF_MEMORY)), None);
    let building = || vec![(Event::Loaded, build(TensorRt)), failed()];
    let machine = follow(tensorrt(true), building());
    assert_eq!(sentence(&machine), "running on cuda while the tensorrt engine is built; cuda fails meanwhile: test");
    // The engine takes over, or what failed is mended.
    let swapped =
        [(Event::Built, Some(Action::Compare)), (disagreement(0.0), Some(Action::Swap)), (Event::Swapped, None)];
    follow(tensorrt(true), [building(), swapped.to_vec()].concat());
    follow(tensorrt(true), [building(), vec![(Event::BuildFailed(other()), load(Cuda))]].concat());
    let discarded = [
        (Event::Built, Some(Action::Compare)),
        (disagreement(1.0), Some(Action::Discard)),
        (Event::Discarded, load(Cuda)),
    ];
    follow(tensorrt(true), [building(), discarded.to_vec()].concat());
    // A run that works again needs nothing.
    let well = [(Event::RunSucceeded, None), (Event::BuildFailed(other()), None)];
    follow(tensorrt(true), [building(), well.to_vec()].concat());
}
