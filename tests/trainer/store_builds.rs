//! Builds of feature stores: that they survive everything, and do nothing twice.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tch::{Kind, Tensor};

use super::{
    running::Running,
    store_support::{
        CUT, PATIENCE, PICTURES, ROW_BYTES, Toy, build, computed, content, f32s, looptrans, marked, text, worst,
    },
    support::Fixture,
};

#[test]
fn a_build_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let fixture = Fixture::new();
    let (variants, rows) = (120, (PICTURES.0 * 120 + PICTURES.1) as usize);
    let mut kills = 0;
    loop {
        let before = marked(&fixture);
        let mut run = Running::start(&mut looptrans(&fixture, &variants.to_string()));
        let start = Instant::now();
        while run.try_wait().unwrap().is_none() && marked(&fixture) < before + 64 {
            assert!(start.elapsed() < PATIENCE, "no progress");
            thread::sleep(Duration::from_millis(1));
        }
        // Anywhere in the batch that follows.
        thread::sleep(Duration::from_millis(13 * kills));
        let ended = run.try_wait().unwrap().is_some();
        let _ = run.kill();
        let output = run.ended();
        assert!(marked(&fixture) >= before, "rows that were whole are lost");
        kills += 1;
        if ended || kills == 6 {
            assert!(!ended || output.status.success(), "{}", text(&output));
            break;
        }
    }
    assert!(kills > 2, "it was quicker than the test");
    let output = looptrans(&fixture, &variants.to_string()).output().unwrap();
    assert!(output.status.success() && text(&output).contains(&format!("{rows} of {rows}")), "{}", text(&output));
    let killed = content(&fixture);
    fs::remove_dir_all(fixture.path("store")).unwrap();
    assert!(build(&fixture, f32s(variants), usize::MAX).unwrap());
    for (name, bytes) in content(&fixture) {
        assert!(killed[name] == bytes, "{name} differs");
    }
}

#[test]
fn ctrl_c_keeps_what_is_done_and_ends_well() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut looptrans(&fixture, "400"));
    let start = Instant::now();
    while marked(&fixture) == 0 {
        assert!(run.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(2));
    }
    run.signal("-INT");
    let output = run.ended();
    assert!(output.status.success() && text(&output).contains("the same command goes on"), "{}", text(&output));
    let done = marked(&fixture);
    assert!(text(&output).contains(&format!("{done} of {}", PICTURES.0 * 400 + PICTURES.1)), "{}", text(&output));
    Toy::new(&fixture).refused(&fixture, false, &["done.bin", "expected all 7204 views", &format!("found {done}")]);
}

#[test]
fn size_and_variants_are_said_before_anything_is_computed() {
    let fixture = Fixture::new();
    let output = looptrans(&fixture, "2").arg("--json").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.starts_with("40 views (2 of each training picture, 4 to test with)"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["done"], &report["bytes"]), (&40.into(), &(40 * ROW_BYTES).into()));
}

#[test]
fn only_what_is_missing_or_changed_is_computed() {
    let fixture = Fixture::new();
    assert_eq!(computed(&fixture, f32s(2)), 40);
    let whole = content(&fixture);
    assert_eq!(computed(&fixture, f32s(2)), 0);

    // A row whose mark never came, and one whose data are cut off.
    let marks = OpenOptions::new().write(true).open(fixture.path("store/done.bin")).unwrap();
    marks.write_all_at(&[0], 7).unwrap();
    let data = OpenOptions::new().write(true).open(fixture.path("store/attention.bin")).unwrap();
    data.set_len(data.metadata().unwrap().len() - 1).unwrap();
    data.write_all_at(&[9; 600], 7 * 588).unwrap();
    drop((marks, data));
    // The row behind the 7th was written over as well, and nobody knows: 12 bytes of it.
    let toy = Toy::new(&fixture);
    toy.refused(&fixture, false, &["done.bin", "expected all 40 views", "found 39"]);
    OpenOptions::new().write(true).open(fixture.path("store/done.bin")).unwrap().write_all_at(&[0], 8).unwrap();
    assert_eq!(computed(&fixture, f32s(2)), 3);
    // Three rows are a batch of another size, of which a library of products may round another way.
    let again = content(&fixture);
    for (name, bytes) in &whole {
        let same = match *name {
            "descriptors.bin" | "attention.bin" => {
                let numbers = |bytes: &[u8]| Tensor::from_data_size(bytes, &[bytes.len() as i64 / 4], Kind::Float);
                worst(&numbers(&again[name]), &numbers(bytes)) <= 1e-5
            }
            _ => again[name] == *bytes,
        };
        assert!(same, "{name} differs");
    }

    // Another picture under the same name and of the same length.
    let picture = fixture.path("data/trainset/egocentric/hold/knife/1.png");
    let before = fs::read(&picture).unwrap();
    let mut now = before.clone();
    let at = now.len() - 14;
    now[at] ^= 1;
    fs::write(&picture, &now).unwrap();
    toy.open(&fixture, false, CUT).unwrap();
    toy.refused(&fixture, true, &["egocentric/hold/knife/1.png", "expected the picture", "SHA-256"]);
    // One that can be read.
    fs::copy(fixture.path("data/trainset/egocentric/cut/knife/0.png"), &picture).unwrap();
    assert_eq!(computed(&fixture, f32s(2)), 2);
    assert!(content(&fixture) != whole);
    toy.open(&fixture, true, CUT).unwrap();
}

#[test]
fn a_full_disk_keeps_what_was_built_and_the_same_command_goes_on() {
    let fixture = Fixture::new();
    // Files may not grow beyond 1 MiB: writing fails as on a full disk, after 111 rows of descriptors.
    let build = looptrans(&fixture, "10");
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "bash"]).arg(build.get_program());
    let output = shell.args(build.get_args()).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("cannot write") && said.contains("descriptors.bin"), "{said}");
    let done = marked(&fixture);
    assert_eq!(done, 96, "whole batches of 16 below 111");
    assert!(said.contains("96 of 184 views are kept") && !said.contains("panicked"), "{said}");
    assert_eq!(computed(&fixture, f32s(10)), 184 - 96);
}

#[test]
fn a_store_that_is_being_built_or_cannot_be_written_to_is_left_alone() {
    let fixture = Fixture::new();
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).open(fixture.path("store/done.bin")).unwrap();
    lock.lock().unwrap();
    let error = build(&fixture, f32s(1), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("expected a store that nobody else is building"), "{error}");
    drop(lock);
    fs::remove_dir_all(fixture.path("store")).unwrap();
    fs::write(fixture.path("store"), b"a file").unwrap();
    let error = build(&fixture, f32s(1), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("cannot create"), "{error}");
}

#[test]
fn pictures_that_cannot_be_read_are_named_and_no_variants_are_none() {
    let fixture = Fixture::new();
    let error = build(&fixture, f32s(0), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("at least one variant"), "{error}");
    fs::write(fixture.path("data/trainset/exocentric/hold/knife/2.png"), b"").unwrap();
    let error = build(&fixture, f32s(1), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("exocentric/hold/knife/2.png"), "{error}");
}

#[test]
fn the_program_trains_on_what_it_built_and_says_what_a_resumed_run_needs() {
    let fixture = Fixture::new();
    let output = looptrans(&fixture, "2").arg("--half").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let train = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        command.arg("train").arg(fixture.data()).arg("--out").arg(fixture.path("run")).args(arguments);
        command.output().unwrap()
    };
    let (backbone, store) = (fixture.backbone(), fixture.path("store"));
    let new = ["--backbone", backbone.to_str().unwrap(), "--batch", "4", "--epochs", "1"];
    let store = ["--store", store.to_str().unwrap(), "--verify-store"];
    let output = train(&[&new[..], &store].concat());
    assert!(output.status.success(), "{}", text(&output));
    let output = train(&["--resume", "--epochs", "2"]);
    assert!(!output.status.success() && text(&output).contains("name it with --store"), "{}", text(&output));
    for (epochs, how) in [("2", &store[..]), ("3", &["--no-store"])] {
        let output = train(&[&["--resume", "--epochs", epochs], how].concat());
        assert!(output.status.success(), "{}", text(&output));
    }
}
