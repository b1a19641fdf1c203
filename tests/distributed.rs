//! `mpirun -n 2 looptrans train`: that two processes train as one does, and what ends them.
//!
//! Needs libtorch and an MPI (`make test-train`). The CPU alone, and one machine: nothing here ran across a network or on a
//! GPU.
#![cfg(feature = "distributed")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "trainer/running.rs"]
#[allow(dead_code, reason = "the trainer's tests use the rest")]
mod running;
#[path = "trainer/support.rs"]
#[allow(dead_code, reason = "the trainer's tests use the rest")]
mod support;

use std::{
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use running::Running;
use support::{Fixture, SAMPLES};
use tch::{Kind, Tensor};

const PATIENCE: Duration = Duration::from_secs(120);
/// Ten samples by three: the last step of an epoch has one sample, and so a rank without any.
const BATCH: &str = "batch=3";

/// `mpirun -n 2 looptrans train`, as root and with more processes than cores if need be.
fn two_ranks(fixture: &Fixture, out: &str) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", "2", env!("CARGO_BIN_EXE_looptrans"), "train"]).arg(fixture.data());
    command.arg("--out").arg(fixture.path(out)).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (key, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ] {
        command.env(key, value);
    }
    command
}

fn new_run(fixture: &Fixture, out: &str, set: &[&str]) -> Command {
    let mut command = two_ranks(fixture, out);
    command.arg("--backbone").arg(fixture.backbone());
    for set in ["threads=1", BATCH].iter().chain(set) {
        command.args(["--set", set]);
    }
    command
}

fn ended_well(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All numbers of `metrics.csv`, without its header.
fn metrics(fixture: &Fixture, out: &str) -> Vec<Vec<Option<f64>>> {
    let text = String::from_utf8(fixture.bytes(&format!("{out}/metrics.csv"))).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().ok()).collect()).collect()
}

/// Losses, scores and weights agree to so large a part of each. Momentum is left out: that of a bias before a batch
/// normalisation is nothing but rounding, for its true gradient is 0.
#[track_caller]
fn same_run(fixture: &Fixture, (one, two): (&str, &str), relative: f64) {
    let (expected, found) = (metrics(fixture, one), metrics(fixture, two));
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
        let close = match (expected, found) {
            // Scores near 0 are differences of numbers near 1.
            (Some(a), Some(b)) => (a - b).abs() <= relative * a.abs().max(0.1),
            (a, b) => a == b,
        };
        assert!(close, "{two}: {found:?}, one process: {expected:?}");
    }
    let weights = |out: &str| {
        let file = Tensor::read_safetensors(fixture.path(&format!("{out}/last.safetensors"))).unwrap().into_iter();
        file.filter(|(name, _)| !name.starts_with("optimizer.")).collect::<Vec<_>>()
    };
    let (mut expected, mut found) = (weights(one), weights(two));
    for tensors in [&mut expected, &mut found] {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
    }
    assert_eq!(expected.len(), found.len());
    for ((name, expected), (_, found)) in expected.iter().zip(&found) {
        let length = |x: &Tensor| x.to_kind(Kind::Double).norm().double_value(&[]);
        let apart = length(&(expected.to_kind(Kind::Double) - found.to_kind(Kind::Double)));
        assert!(apart <= relative * length(expected).max(1e-3), "{name}: {apart} of {}", length(expected));
    }
}

#[test]
fn two_ranks_train_as_one_process_does_with_the_same_batch() {
    let fixture = Fixture::new();
    for (name, set) in
        [("looptrans", ["system=looptrans", "accumulation=2"]), ("locate", ["system=locate", "epochs=3"])]
    {
        let [one, two] = ["one", "two"].map(|ranks| format!("{name}/{ranks}"));
        fixture.train(fixture.plan(&one, &[&[BATCH], &set[..]].concat()).unwrap(), usize::MAX).unwrap();
        let text = ended_well(&new_run(&fixture, &two, &[&["epochs=2"], &set[..]].concat()).output().unwrap());
        assert_eq!(text.matches("weights.safetensors").count(), 1, "one rank talks: {text}");
        same_run(&fixture, (&one, &two), 3e-5);
        assert!(fixture.path(&format!("{two}/report.html")).exists());
    }
}

#[test]
fn ctrl_c_at_mpirun_ends_both_after_the_step_and_resume_goes_on() {
    let fixture = Fixture::new();
    let (path, start) = (fixture.path("two/metrics.csv"), Instant::now());
    let run = Running::start(&mut new_run(&fixture, "two", &["epochs=400", "save_every_steps=1000"]));
    while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < 7 {
        assert!(start.elapsed() < PATIENCE, "no progress");
        thread::sleep(Duration::from_millis(5));
    }
    run.signal("-INT");
    run.ended();
    let done = metrics(&fixture, "two");
    let steps = SAMPLES.div_ceil(3) + 1;
    let epochs = done.len() / steps + 1;
    // The checkpoint is of the last step: nothing of it is done again.
    let before = fs::read_to_string(&path).unwrap();
    let resumed = two_ranks(&fixture, "two").args(["--resume", "--epochs", &epochs.to_string()]).output().unwrap();
    ended_well(&resumed);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&before), "what was done is done again");
    // Not compared with one process: hard choices in the losses make much of rounding within some epochs.
    let all = metrics(&fixture, "two");
    assert_eq!(all.len(), epochs * steps);
    assert!(all.iter().flatten().flatten().all(|value| value.is_finite()));
}

/// The lines of the program itself, not of `mpirun`.
fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !text.contains("panicked"), "{text}");
    text.lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect()
}

#[test]
fn a_rank_that_fails_ends_all_with_one_line() {
    let fixture = Fixture::new();
    // In the slice of one rank, of which the other knows nothing.
    fs::write(fixture.path("data/trainset/exocentric/cut/knife/2.png"), b"").unwrap();
    let lines = errors(&new_run(&fixture, "one", &[]).arg("--skip-check").output().unwrap());
    assert!(matches!(&lines[..], [line] if line.contains("cut/knife/2.png")), "{lines:?}");
    // The same on both.
    let lines = errors(&new_run(&fixture, "both", &["optimizer.lr=1e30"]).output().unwrap());
    assert!(matches!(&lines[..], [line] if line.contains("last good state")), "{lines:?}");
}

#[test]
fn processes_that_do_not_meet_are_refused() {
    let fixture = Fixture::new();
    let mut alone = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    alone.arg("train").arg(fixture.data()).arg("--out").arg(fixture.path("run"));
    alone.arg("--backbone").arg(fixture.backbone()).env("OMPI_COMM_WORLD_SIZE", "2");
    let lines = errors(&alone.output().unwrap());
    assert!(
        matches!(&lines[..], [line] if line.contains("2 processes that meet") && line.ends_with("found 1")),
        "{lines:?}"
    );
    assert!(!fixture.path("run/last.safetensors").exists());
}

#[test]
fn what_one_process_alone_can_do_is_refused_to_several_in_one_line() {
    let fixture = Fixture::new();
    let lines = errors(&new_run(&fixture, "wsma", &["system=wsma"]).output().unwrap());
    assert!(
        matches!(&lines[..], [line] if line.contains("expected one process for WSMA") && line.ends_with("found 2")),
        "{lines:?}"
    );
    for command in ["ablate", "benchmark"] {
        let mut study = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        study.arg(command).arg(fixture.data()).arg("--out").arg(fixture.path(command));
        study.arg("--backbone").arg(fixture.backbone()).env("OMPI_COMM_WORLD_SIZE", "2");
        let lines = errors(&study.output().unwrap());
        assert!(
            matches!(&lines[..], [line] if line.starts_with(&format!("error: {command}: expected one process"))),
            "{lines:?}"
        );
    }
    for folder in ["wsma/last.safetensors", "ablate", "benchmark"] {
        assert!(!fixture.path(folder).exists(), "{folder}");
    }
}
