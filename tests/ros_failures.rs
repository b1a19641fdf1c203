//! A sweep: each call of the system and of the middleware that can fail is made to fail, one run of the real node for each.
//!
//! Covers: files, threads, libraries, everything of rcl that the node calls, from the start until frames are processed.
//! Demanded each time: the node ends with status 1 and a line that says why, or it goes on and ends cleanly when asked.
//! Never a panic, a signal, a hang.
//! Needs: `source scripts/env.sh`, a C compiler. Not asserted: calls made by libraries among themselves.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use ros_support::{DEADLINE, domain::Domain, node};
use serde_json::json;

/// Of a function that is called again and again, these calls fail: the first ones are those of the start.
const MOST_OF_EACH: u32 = 24;
/// Functions called with every turn or frame: one failure early, one later.
const ENDLESS: &[(&str, &[u32])] = &[
    ("rcl_wait", &[1, 40]),
    ("rcl_wait_set_init", &[1, 40]),
    ("rcl_clock_get_now", &[1, 2, 20]),
    ("rcl_publisher_get_subscription_count", &[1, 8]),
    ("rcl_take_serialized_message", &[1, 3]),
    ("rcl_publish", &[1, 2, 3, 4, 12]),
    ("rcl_take", &[1, 2, 8]),
    ("rcl_publish_serialized_message", &[1, 2]),
    ("rcl_get_publishers_info_by_topic", &[1, 2]),
    ("read", &[1, 2, 3, 6, 12]),
];
/// Failures after which r2r corrupts the heap: where the clock cannot be made it frees a node that never was. The refusal is
/// written by then, the end may be an abort.
const OUT_OF_OUR_HANDS: &[&str] = &["rcl_clock_init:1"];
const SIGABRT: i32 = 6;
/// A node that goes on for so long after the failure has survived it.
const SURVIVED: Duration = Duration::from_millis(1000);
/// A call that has not come by then will not come.
const REACHED: Duration = Duration::from_secs(15);
/// Runs at one time: they mostly wait.
const WORKERS: usize = 4;

/// The library that makes calls fail.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("fail_nth_call.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fail_nth_call.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source).status();
    assert!(status.unwrap().success(), "cc builds {source}");
    library
}

/// What a run came to.
struct Run {
    status: ExitStatus,
    /// It was asked to end.
    survived: bool,
    stderr: String,
    calls: String,
}

/// Runs the node until it ends by itself or has survived.
fn run(scratch: &Path, library: &Path, plan: &str) -> Run {
    let name = plan.replace(':', "_");
    let (calls, log) = (scratch.join(format!("{name}.calls")), scratch.join(format!("{name}.log")));
    let domain = Domain::claim();
    let params = node::params_file(&node::parameters(json!({"stamp_policy": "accept"})));
    let mut command = node::command(&domain, params.path(), &["-r", "image:=/cam/image"]);
    // A log folder that is not there yet, and where a file that could not be deleted hurts nobody.
    command.env("ROS_LOG_DIR", scratch.join(&name).join("log"));
    command.env("LD_PRELOAD", library).env("LOOPTRANS_FAIL", plan).env("LOOPTRANS_FAIL_LOG", &calls);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut camera = ros_camera(&domain);
    let mut process = command.spawn().unwrap();
    // Nothing fails: until frames are published.
    let (awaited, patience) =
        if plan.starts_with("nothing") { ("rcl_publish_serialized_message ", DEADLINE) } else { ("failed ", REACHED) };
    let reached = || fs::read_to_string(&calls).is_ok_and(|calls| calls.contains(awaited));
    // It waits for work only once it has its signal handlers; before that TERM ends it at once.
    let spins = || fs::read_to_string(&calls).is_ok_and(|calls| calls.contains("rcl_wait "));
    let ended = ended_within(&mut process, patience, reached)
        .or_else(|| ended_within(&mut process, SURVIVED, || false))
        .or_else(|| ended_within(&mut process, DEADLINE, spins));
    let survived = ended.is_none();
    if survived {
        node::send("TERM", process.id());
    }
    let status = ended_within(&mut process, DEADLINE, || false);
    let _ = process.kill();
    end(&mut camera);
    let stderr = fs::read_to_string(&log).unwrap();
    let status = status.unwrap_or_else(|| panic!("{plan}: the node hangs; its log:\n{stderr}"));
    Run { status, survived, stderr, calls: fs::read_to_string(&calls).unwrap_or_default() }
}

/// Asks until it ends, since Python loses a signal that comes while rclpy starts. Killed it would leave its shared memory behind.
fn end(peer: &mut Child) {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        node::send("INT", peer.id());
        if ended_within(peer, Duration::from_secs(1), || false).is_some() {
            return;
        }
    }
    let _ = peer.kill();
}

/// None: it still runs after that time, or when there is `enough`.
fn ended_within(process: &mut Child, time: Duration, enough: impl Fn() -> bool) -> Option<ExitStatus> {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline && !enough() {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// A camera and somebody who listens to everything, so that every road is walked.
fn ros_camera(domain: &Domain) -> Child {
    let mut command = Command::new(std::env::var_os("LOOPTRANS_PYTHON").unwrap());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/failures_peer.py"));
    domain.apply(&mut command);
    Domain::make_room(&mut command, "fastdds_camera.xml");
    // It ends when this end of its stdin does.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Which calls to fail: every one of the first run's, but for those that never end.
fn plans(calls: &str) -> Vec<String> {
    let mut counts = BTreeMap::<&str, u32>::new();
    for line in calls.lines() {
        let (name, _) = line.split_once(' ').unwrap();
        *counts.entry(name).or_default() += 1;
    }
    let chosen = |name: &str, count: u32| -> Vec<u32> {
        match ENDLESS.iter().find(|(endless, _)| *endless == name) {
            Some((_, numbers)) => numbers.to_vec(),
            None => (1..=count.min(MOST_OF_EACH)).collect(),
        }
    };
    counts
        .iter()
        .flat_map(|(name, count)| chosen(name, *count).into_iter().map(move |n| format!("{name}:{n}")))
        .collect()
}

fn verdict(plan: &str, run: &Run) -> Result<(), String> {
    // What main() prints of the error that ended it.
    let refused = run.status.code() == Some(1) && run.stderr.lines().any(|line| line.starts_with("affordance_node: "));
    let stopped = run.survived && run.status.code() == Some(0);
    let out_of_our_hands = OUT_OF_OUR_HANDS.contains(&plan) && run.status.signal() == Some(SIGABRT);
    if !run.stderr.contains("panicked") && (refused || stopped || out_of_our_hands) {
        return Ok(());
    }
    let asked = if run.survived { "asked to end" } else { "by itself" };
    Err(format!("--- {plan}: the node ended, {asked}, with {}\n{}", run.status, run.stderr))
}

#[test]
fn whatever_call_fails_the_node_says_so_or_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let library = library(scratch.path());
    let sound = run(scratch.path(), &library, "nothing:0");
    verdict("nothing fails", &sound).unwrap();
    let has_published = sound.calls.contains("rcl_publish_serialized_message ");
    assert!(sound.survived && has_published, "{}\n{}", sound.stderr, sound.calls);

    let plans = Mutex::new(plans(&sound.calls));
    let results = Mutex::new(Vec::<(String, bool, Result<(), String>)>::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(plan) = { plans.lock().unwrap().pop() } {
                    let run = run(scratch.path(), &library, &plan);
                    let (failed, verdict) = (run.calls.contains("failed "), verdict(&plan, &run));
                    results.lock().unwrap().push((plan, failed, verdict));
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let wrong: Vec<String> = results.iter().filter_map(|(_, _, verdict)| verdict.clone().err()).collect();
    let missed: Vec<&str> = results.iter().filter(|(_, failed, _)| !failed).map(|(plan, ..)| plan.as_str()).collect();
    println!("{} of {} calls were reached and failed; not {missed:?}", results.len() - missed.len(), results.len());
    assert!(missed.len() * 4 <= results.len(), "most of the planned calls must be reached, not missed: {missed:?}");
    assert!(wrong.is_empty(), "{} of {} failures are not survived:\n{}", wrong.len(), results.len(), wrong.join("\n"));
}
