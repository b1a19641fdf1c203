//! Rules that hold whatever happens.

use proptest::prelude::*;

use super::*;

fn any_failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        2 => Just(OUT_OF_MEMORY),
        2 => Just(FailureKind::DeviceLost),
        2 => Just(FailureKind::Other),
        1 => Just(FailureKind::ContextLost),
        1 => Just(FailureKind::LibraryMissing),
    ]
    .prop_map(failure)
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Loaded),
        2 => any_failure().prop_map(Event::LoadFailed),
        2 => Just(Event::Built),
        1 => any_failure().prop_map(Event::BuildFailed),
        2 => prop_oneof![Just(0.0), Just(0.5), Just(f64::NAN)].prop_map(disagreement),
        1 => any_failure().prop_map(Event::CompareFailed),
        2 => Just(Event::Swapped),
        1 => any_failure().prop_map(Event::SwapFailed),
        1 => Just(Event::Discarded),
        3 => any_failure().prop_map(Event::RunFailed),
        1 => Just(Event::RunSucceeded),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let providers = prop::sample::subsequence(vec![TensorRt, Cuda, OpenVino, Cpu], 1..=4);
    (providers, any::<[bool; 4]>()).prop_map(|(candidates, [has_tensorrt, has_cuda, has_engines, allow_fallback])| {
        Plan::new(Auto, allow_fallback, Prospects { candidates, has_tensorrt, has_cuda, has_engines })
    })
}

/// Does the event answer the action?
fn answers(action: Action, event: &Event) -> bool {
    matches!(
        (action, event),
        (Action::Load { .. }, Event::Loaded | Event::LoadFailed(_))
            | (Action::Build { .. }, Event::Built | Event::BuildFailed(_))
            | (Action::Compare, Event::Compared(_) | Event::CompareFailed(_))
            | (Action::Swap, Event::Swapped | Event::SwapFailed(_))
            | (Action::Discard, Event::Discarded)
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_one_thing_is_asked_for_at_a_time_and_nothing_is_swapped_in_uncompared(
        plan in any_plan(),
        events in prop::collection::vec((0_u64..100, any_event()), 0..200),
    ) {
        let (mut machine, first) = Machine::new(plan.clone());
        let (mut now, mut asked) = (Duration::ZERO, Some(first));
        let mut loads = vec![now];
        for (seconds, event) in events {
            now += SECOND * seconds as u32;
            let next = machine.step(now, event.clone());
            let was_answered = asked.is_some_and(|asked| answers(asked, &event));
            if let Some(next) = next {
                let may_come = asked.is_none() || was_answered || next == Action::End;
                prop_assert!(may_come, "{asked:?} was not answered before {next:?}");
                if next == Action::Swap {
                    prop_assert_eq!(asked, Some(Action::Compare));
                    let holds = matches!(&event, Event::Compared(disagreement) if disagreement.holds());
                    prop_assert!(holds);
                }
                if let Action::Load { provider, .. } = next {
                    prop_assert!(provider != Cpu || plan.allow_fallback || plan.now.contains(&Cpu));
                    loads.push(now);
                }
            }
            if was_answered || next.is_some() {
                asked = next.filter(|next| !next.is_last());
            }
            let standing = machine.standing();
            // It runs, or is on its way, or says that it gave up, or has to end, and why.
            prop_assert!(standing.gave_up || standing.ends.is_some() || standing.on.is_some() || asked.is_some());
            prop_assert!(!standing.gave_up || (asked.is_none() && !standing.degraded.is_empty()));
            prop_assert!(standing.on.is_some() || standing.sentence().is_some());
            prop_assert!(standing.degraded.len() <= 4);
        }
        // The plan's four once; then of each of three in a row, a lost device's retries in each calm time.
        for (index, &from) in loads.iter().enumerate() {
            let within = loads[index..].iter().take_while(|at| **at < from + CALM).count();
            prop_assert!(within <= 4 + 3 * 2 * (DEVICE_PAUSES.len() + 1), "{within} loads in {CALM:?}");
        }
    }

    #[test]
    fn once_cuda_s_context_is_lost_nothing_is_asked_for_but_the_end_of_the_process(
        plan in any_plan(),
        events in prop::collection::vec((0_u64..100, any_event()), 0..100),
        runs_before in any::<bool>(),
        after in prop::collection::vec((0_u64..2000, any_event()), 1..100),
        told_by in prop_oneof![
            3 => Just(Event::RunFailed as fn(Failure) -> Event),
            1 => Just(Event::LoadFailed as fn(Failure) -> Event),
            1 => Just(Event::BuildFailed as fn(Failure) -> Event),
            1 => Just(Event::CompareFailed as fn(Failure) -> Event),
            1 => Just(Event::SwapFailed as fn(Failure) -> Event),
        ],
    ) {
        let (mut machine, first) = Machine::new(plan);
        let mut now = Duration::ZERO;
        let first_works = if matches!(first, Action::Build { .. }) { Event::Built } else { Event::Loaded };
        machine.step(now, first_works);
        if runs_before {
            for (seconds, event) in events {
                now += SECOND * seconds as u32;
                let mut further = machine.clone();
                if further.step(now, event).is_some_and(Action::is_last) {
                    break;
                }
                machine = further;
            }
        }
        prop_assert_eq!(machine.step(now, told_by(failure(FailureKind::ContextLost))), Some(Action::End));
        let told = machine.standing();
        prop_assert!(told.ends.is_some() && told.on.is_none());
        for (seconds, event) in after {
            now += SECOND * seconds as u32;
            prop_assert_eq!(machine.step(now, event), None);
        }
        prop_assert_eq!(machine.standing(), told);
    }

    #[test]
    fn before_anything_has_run_a_lost_context_leaves_only_what_does_without_cuda(
        plan in any_plan(),
        failures in prop::collection::vec(any_failure(), 8),
    ) {
        let (mut machine, first) = Machine::new(plan);
        let (mut asked, mut is_lost) = (first, false);
        for failure in failures {
            is_lost |= failure.kind == FailureKind::ContextLost;
            let event = match asked {
                Action::Load { .. } => Event::LoadFailed(failure),
                Action::Build { .. } => Event::BuildFailed(failure),
                _ => break,
            };
            asked = machine.step(Duration::ZERO, event).unwrap();
            prop_assert!(asked != Action::End);
            if let Action::Load { provider, .. } | Action::Build { provider } = asked {
                prop_assert!(!is_lost || !matches!(provider, TensorRt | Cuda), "{asked:?}");
            }
        }
        prop_assert_eq!(asked, Action::GiveUp);
    }

    #[test]
    fn where_everything_fails_the_end_comes_soon(
        plan in any_plan(),
        ran_before in any::<bool>(),
        kinds in prop_oneof![
            any_failure().prop_map(|failure| vec![failure; 24]),
            prop::collection::vec(any_failure(), 24),
        ],
    ) {
        let (mut machine, first) = Machine::new(plan);
        let mut asked = Some(first);
        let mut runs = ran_before;
        for failure in kinds {
            let event = match asked {
                Some(Action::Load { .. }) if std::mem::take(&mut runs) => Event::Loaded,
                Some(Action::Load { .. }) => Event::LoadFailed(failure),
                Some(Action::Build { .. }) => Event::BuildFailed(failure),
                Some(_) => break,
                None => Event::RunFailed(failure),
            };
            asked = machine.step(Duration::ZERO, event);
        }
        prop_assert!(asked.is_some_and(Action::is_last), "{asked:?}");
    }
}
