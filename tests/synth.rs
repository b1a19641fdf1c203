//! The drawn dataset, through `looptrans synth` and on its pictures.
//!
//! Covers: layout, class list, held-out objects, occlusion levels, ground truth on the part, the same bytes from the same
//! seed, refusals. One tiny set is drawn once for all tests; pictures of the usual size are drawn singly.
//! Not asserted: how things look. The contact sheet is for that.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use looptrans_ros::{
    data::{Dataset, check_pictures, index::Source},
    perceive::decode::Limits,
    synth::{self, Affordance, Drawn, Occlusion, Shot, View, kinds::KINDS},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Of every file of the tiny set of seed 7. It changes with the drawing, and then the manifest's version has to.
const TINY_SET_SHA256: &str = "3aaa4fb64b1e3b94873d16f3d6218f97cc6a8d7701aa1ade542860126b039b9c";

struct Set {
    _folder: tempfile::TempDir,
    root: PathBuf,
    report: Value,
    manifest: Value,
}

/// The tiny set of seed 7.
fn tiny() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep/set");
        // Empty folders may be there already.
        fs::create_dir_all(&root).unwrap();
        let (code, stdout, stderr) = run(&["--out", root.to_str().unwrap(), "--seed", "7", "--size", "tiny", "--json"]);
        assert_eq!(code, Some(0), "{stderr}");
        let manifest = serde_json::from_slice(&fs::read(root.join("manifest.json")).unwrap()).unwrap();
        Set { _folder: folder, root, report: serde_json::from_str(&stdout).unwrap(), manifest }
    })
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_looptrans")).arg("synth").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn open(root: &Path, split: &str) -> Dataset {
    Dataset::open(&Source { root, split: Some(split), affordances: &[] }).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn every_split_is_a_sound_dataset_with_its_own_class_list() {
    let names: Vec<&str> = Affordance::ALL.iter().map(|affordance| affordance.name()).collect();
    assert!(names.is_sorted());
    assert_eq!(synth::splits(), ["Seen", "Unseen", "Seen_none", "Seen_partial", "Seen_full"]);
    for split in synth::splits() {
        let dataset = open(&tiny().root, &split);
        assert_eq!(dataset.affordances, names, "not AGD20K's list, though the folder is called {split}");
        assert_eq!(dataset.left_out, []);
        assert_eq!(check_pictures(&dataset, &Limits { max_image_pixels: 1 << 20 }, &|| ()), []);
        let counts = &tiny().report["splits"][&split];
        assert_eq!(counts["exo"], dataset.samples());
        assert_eq!(counts["tests"], dataset.test.len());
        let labels: BTreeSet<usize> = dataset.train.iter().map(|folder| folder.label).collect();
        assert_eq!(labels.len(), names.len(), "{split}: every action is trained");
        let tested: BTreeSet<usize> = dataset.test.iter().map(|item| item.label).collect();
        assert_eq!(tested.len(), names.len(), "{split}: every action is tested");
    }
}

#[test]
fn looptrans_data_check_passes() {
    let output = Command::new(env!("CARGO_BIN_EXE_looptrans"))
        .args(["data", "check", "--split", "Seen_partial"])
        .arg(&tiny().root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn objects_held_out_are_in_no_training_and_are_all_that_unseen_tests() {
    let held_out: BTreeSet<&str> = KINDS.iter().filter(|kind| kind.held_out).map(|kind| kind.name).collect();
    let tested = |split: &str| -> BTreeSet<String> {
        open(&tiny().root, split).test.into_iter().map(|item| item.object).collect()
    };
    for split in synth::splits() {
        for folder in open(&tiny().root, &split).train {
            assert!(!held_out.contains(folder.object.as_str()), "{split} trains with {}", folder.object);
        }
    }
    assert_eq!(tested("Unseen").iter().map(String::as_str).collect::<BTreeSet<_>>(), held_out);
    assert!(tested("Seen").iter().all(|object| !held_out.contains(object.as_str())));
}

#[test]
fn the_levels_differ_in_exocentric_pictures_only() {
    let root = &tiny().root;
    for path in files(&root.join("Seen_none")) {
        let same = path.strip_prefix(root.join("Seen_none")).unwrap();
        let bytes = |split: &str| fs::read(root.join(split).join(same)).unwrap();
        let exo = same.starts_with("trainset/exocentric");
        assert_eq!(bytes("Seen_none") != bytes("Seen_full"), exo, "{}", same.display());
        let mixed = bytes("Seen");
        let levels = ["Seen_none", "Seen_partial", "Seen_full"].map(bytes);
        assert!(levels.contains(&mixed), "{}: Seen mixes them", same.display());
    }
}

#[test]
fn each_level_hides_more_of_the_part_than_the_one_before() {
    let mut levels: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for picture in tiny().manifest["exo"].as_array().unwrap() {
        let paths: Vec<&str> = picture["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert!(paths.iter().all(|path| tiny().root.join(path).is_file()), "{paths:?}");
        let scene = paths[0].split_once('/').unwrap().1.to_owned();
        let level = picture["occlusion"].as_str().unwrap().to_owned();
        levels.entry(scene).or_default().insert(level, picture["occluded"].as_f64().unwrap());
    }
    assert_eq!(levels.len(), tiny().report["splits"]["Seen"]["exo"].as_u64().unwrap() as usize);
    for (scene, levels) in levels {
        let (none, partial, full) = (levels["none"], levels["partial"], levels["full"]);
        assert!(none < 0.05 && (0.3..0.7).contains(&partial) && full > 0.8, "{scene}: {none} {partial} {full}");
    }
}

fn draw(kind: usize, view: View) -> Drawn {
    Shot { kind, affordance: KINDS[kind].affordances[kind % 2], view, number: 5 }.draw(3, 112)
}

#[test]
fn only_the_actor_moves_between_the_levels() {
    for kind in [0, 12, 15] {
        let pictures = Occlusion::ALL.map(|level| draw(kind, View::Exo(level)).picture);
        for other in &pictures[1..] {
            let same = pictures[0].pixels().zip(other.pixels()).filter(|(a, b)| a == b).count();
            let share = same as f64 / f64::from(112 * 112);
            assert!((0.2..0.999).contains(&share), "{}: {share} is the same", KINDS[kind].name);
        }
    }
}

/// The pixels within `reach` of the mask's, along both axes.
fn grown(mask: &[u8], side: usize, reach: usize) -> Vec<bool> {
    let around = |place: usize| place.saturating_sub(reach)..(place + reach + 1).min(side);
    let rows: Vec<bool> =
        (0..side * side).map(|index| around(index % side).any(|x| mask[index / side * side + x] > 127)).collect();
    (0..side * side).map(|index| around(index / side).any(|y| rows[y * side + index % side])).collect()
}

#[test]
fn the_truth_lies_on_the_part_and_nowhere_else() {
    let side = 112;
    for (index, kind) in KINDS.iter().enumerate() {
        let drawn = draw(index, View::Test);
        let truth = synth::density(&drawn.mask, side);
        let part = synth::part_box(&drawn.mask, &truth, side).unwrap();
        assert!(part.pixels > 25, "{}: {part:?}", kind.name);
        let peak = part.peak[1] * side + part.peak[0];
        assert!(drawn.mask[peak] > 127 && truth[peak] > 127, "{}: {part:?}", kind.name);
        // Two deviations of the blur: 6 % of the side.
        let near = grown(&drawn.mask, side, 7);
        let mass = |wanted: &dyn Fn(usize) -> bool| -> f64 {
            truth.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, level)| f64::from(*level)).sum()
        };
        let (on, all) = (mass(&|at| near[at]), mass(&|_| true));
        assert!(on > 0.97 * all && all > 0.0, "{}: {on} of {all}", kind.name);
        // And all of the part is marked.
        let unmarked = (0..side * side).filter(|at| drawn.mask[*at] > 127 && truth[*at] < 10).count();
        assert!(unmarked * 20 < part.pixels, "{}: {unmarked} of {}", kind.name, part.pixels);
    }
}

#[test]
fn the_manifest_knows_each_test_picture_s_part() {
    let tests = tiny().manifest["tests"].as_array().unwrap();
    assert_eq!(tests.len(), KINDS.iter().map(|kind| kind.affordances.len()).sum::<usize>());
    for test in tests {
        let numbers = |key: &str| -> Vec<u64> {
            test[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
        };
        let (peak, bounds) = (numbers("peak"), numbers("box"));
        assert!((bounds[0]..bounds[2]).contains(&peak[0]) && (bounds[1]..bounds[3]).contains(&peak[1]), "{test}");
        assert!(bounds[2] <= 64 && bounds[3] <= 64, "{test}");
    }
    assert_eq!((&tiny().manifest["seed"], &tiny().manifest["version"]), (&Value::from(7), &Value::from(1)));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mut hash = Sha256::new();
    for path in files(&tiny().root) {
        hash.update(path.strip_prefix(&tiny().root).unwrap().to_str().unwrap());
        hash.update(fs::read(&path).unwrap());
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, TINY_SET_SHA256);
}

#[test]
fn other_seeds_and_numbers_give_other_pictures() {
    let shot = Shot { kind: 2, affordance: Affordance::Open, view: View::Ego, number: 0 };
    let picture = shot.draw(1, 64).picture;
    assert_eq!(picture, shot.draw(1, 64).picture);
    assert_ne!(picture, shot.draw(2, 64).picture);
    assert_ne!(picture, Shot { number: 1, ..shot }.draw(1, 64).picture);
    assert_ne!(picture, Shot { view: View::Test, ..shot }.draw(1, 64).picture, "tests are not training pictures");
}

#[test]
fn what_is_there_already_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, file) = (folder.path().join("kept"), folder.path().join("file"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("mine.txt"), "mine").unwrap();
    fs::write(&file, "mine").unwrap();
    let refusals = [(kept.clone(), "mine.txt"), (file.clone(), "a file or link"), (file.join("set"), "file")];
    for (out, reason) in refusals {
        let (code, stdout, stderr) = run(&["--out", out.to_str().unwrap(), "--size", "tiny"]);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
    for unnamed in [".", "..", "kept/.."] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        command.current_dir(folder.path()).args(["synth", "--size", "tiny", "--out", unnamed]);
        let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(stderr.contains("a folder that is not called by its name; choose another place"), "{stderr}");
    }
    let (code, _, stderr) = run(&["--sheet", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("already there"), "{stderr}");
    assert_eq!(files(folder.path()), [file, kept.join("mine.txt")], "nothing was left behind");
}

#[test]
fn wrong_arguments_are_refused_with_what_is_right() {
    for (arguments, hint) in [
        (&["--seed", "1"][..], "--out"),
        (&["--out", "x", "--size", "huge"], "tiny, default, full"),
        (&["--out", "x", "--seed=1.5"], "--seed"),
    ] {
        let (code, _, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(hint), "{stderr}");
    }
}

#[test]
fn nothing_is_left_beside_the_set() {
    let parent = tiny().root.parent().unwrap();
    let names: Vec<_> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["set"]);
}
