//! The program, interrupted in every way.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use looptrans_ros::train::run::Plan;

use super::{running::Running, support::Fixture};

const PATIENCE: Duration = Duration::from_secs(120);

fn looptrans(fixture: &Fixture) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.arg("train").arg(fixture.data()).args(["--out"]).arg(fixture.path("run"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn new_run(fixture: &Fixture, epochs: usize) -> Command {
    let mut command = looptrans(fixture);
    command.arg("--backbone").arg(fixture.backbone()).args(["--batch", "4", "--epochs", &epochs.to_string()]);
    command.args(["--set", "threads=1", "--set", "save_every_steps=1"]);
    command
}

/// Waits until the run has gone so many lines on.
fn wait_for_lines(run: &mut Running, metrics: &Path, count: usize) {
    let start = Instant::now();
    while fs::read_to_string(metrics).map_or(0, |text| text.lines().count()) < count {
        assert!(run.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(start.elapsed() < PATIENCE, "no progress");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ctrl_c_saves_and_ends_well_and_resume_ends_as_if_nothing_had_been() {
    let fixture = Fixture::new();
    let metrics = fixture.path("run/metrics.csv");
    let mut run = Running::start(&mut new_run(&fixture, 400));
    wait_for_lines(&mut run, &metrics, 5);
    run.signal("-INT");
    let output = run.ended();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("--resume"), "{text}");

    let done = fs::read_to_string(&metrics).unwrap();
    let (epoch, _) = done.lines().last().unwrap().split_once(',').unwrap();
    let epochs = (epoch.parse::<usize>().unwrap() + 1).to_string();
    let output = looptrans(&fixture).args(["--resume", "--epochs", &epochs]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::read_to_string(&metrics).unwrap().starts_with(&done), "what was done is done again");

    let straight = fixture.plan("straight", &["save_every_steps=1", &format!("epochs={epochs}")]).unwrap();
    fixture.train(straight, usize::MAX).unwrap();
    assert!(fixture.bytes("run/weights.safetensors") == fixture.bytes("straight/weights.safetensors"));
}

#[test]
fn a_killed_run_leaves_a_whole_checkpoint_at_any_moment() {
    let fixture = Fixture::new();
    let metrics = fixture.path("run/metrics.csv");
    let mut run = Running::start(&mut new_run(&fixture, 400));
    for round in 0..4 {
        let lines = fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
        wait_for_lines(&mut run, &metrics, lines + 2);
        // Anywhere between two steps' ends.
        thread::sleep(Duration::from_millis(7 * round));
        run.signal("-KILL");
        run.wait().unwrap();
        Plan::resume(&fixture.path("run"), None).unwrap();
        run = Running::start(looptrans(&fixture).arg("--resume"));
    }
    let lines = fs::read_to_string(&metrics).unwrap().lines().count();
    wait_for_lines(&mut run, &metrics, lines + 1);
    run.signal("-INT");
    assert!(run.ended().status.success());
    let left: Vec<String> = fs::read_dir(fixture.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".lock")
        .collect();
    assert!(left.is_empty(), "what killed writers left is not removed: {left:?}");
}

#[test]
fn a_full_disk_is_named_and_the_checkpoint_stays() {
    let fixture = Fixture::new();
    let output = new_run(&fixture, 1).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let before = fixture.bytes("run/last.safetensors");
    // Files may not grow beyond 64 KiB: writing fails as on a full disk.
    let resume = looptrans(&fixture);
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "bash"]);
    shell.arg(resume.get_program()).args(resume.get_args()).args(["--resume", "--epochs", "2"]);
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("cannot write") && text.contains("last.safetensors"), "{text}");
    assert!(fixture.bytes("run/last.safetensors") == before);
}

#[test]
fn settings_that_do_not_exist_are_refused_with_a_hint() {
    let fixture = Fixture::new();
    let output = new_run(&fixture, 1).args(["--set", "optimizer.momentun=0.5"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("did you mean momentum?"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn unreadable_pictures_are_left_out_by_name() {
    let fixture = Fixture::new();
    fs::write(fixture.path("data/trainset/exocentric/cut/knife/2.png"), b"").unwrap();
    let output = new_run(&fixture, 1).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("exocentric/cut/knife/2.png: can't be read"), "{text}");
    let metrics = fs::read_to_string(fixture.path("run/metrics.csv")).unwrap();
    // Nine samples by four: three steps.
    assert_eq!(metrics.lines().count(), 1 + 3 + 1);
}
