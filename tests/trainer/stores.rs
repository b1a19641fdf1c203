//! Feature stores: that training on one is training live on the same pixels, that builds survive, and what is refused.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use looptrans_ros::{
    data::{
        Dataset,
        augment::{Augmentation, ResizeRule},
        sampling::{Draw, PictureId, View},
    },
    export::{
        layout::Sizes,
        seeded::{self, Architecture},
    },
    train::{
        TrainError,
        backbone::Backbone,
        features::{FeatureSource, Live, LiveParts},
        run::{Device, FeatureOrigin, Job, Plan},
        store::{Builder, Kept, Precision, Progress, Reading, Recipe, Store},
        weights,
    },
};
use safetensors::SafeTensors;
use tch::{Tensor, nn::VarStore};

use super::support::{Fixture, LIMITS, settings};

const PATIENCE: Duration = Duration::from_secs(120);
/// The fixture's pictures to train on, and to test with.
const PICTURES: (u64, u64) = (18, 4);
/// Of the toy: 49 patches, 48 channels, 3 heads, f32.
const ROW_BYTES: u64 = 4 * (49 * 48 + 3 * 49);

/// Builds, and stops after so many reports of progress.
fn build(fixture: &Fixture, kept: Kept, reports: usize) -> Result<bool, TrainError> {
    let (dataset, stop, mut seen) = (fixture.dataset(), AtomicBool::new(false), 0);
    let (backbone, out) = (fixture.backbone(), fixture.path("store"));
    let Kept { variants, precision } = kept;
    let augmentation = settings(&[]).augmentation;
    let recipe = Recipe { backbone: &backbone, augmentation, variants, precision, out: &out };
    Builder::new(recipe, job(&dataset, &stop))?.run(&mut |_| {
        seen += 1;
        stop.store(seen >= reports, Ordering::Relaxed);
    })
}

fn job<'a>(dataset: &'a Dataset, stop: &'a AtomicBool) -> Job<'a> {
    Job { dataset, device: Device::Cpu, limits: LIMITS, stop }
}

fn f32s(variants: u32) -> Kept {
    Kept { variants, precision: Precision::F32 }
}

/// The fixture's backbone as a network of its own.
struct Toy {
    parameters: VarStore,
    backbone: Backbone,
    sizes: Sizes,
}

const CUT: Augmentation = Augmentation { resize: ResizeRule::Square, resized: 64, crop: 56 };

impl Toy {
    fn new(fixture: &Fixture) -> Self {
        let sizes = Architecture::named("toy").unwrap().sizes(0);
        let parameters = VarStore::new(Device::Cpu);
        let backbone = Backbone::new(&(parameters.root() / "vit_model"), &sizes);
        weights::load(&parameters, &backbone_alone(fixture), "vit_model.").unwrap();
        Self { parameters, backbone, sizes }
    }

    fn open(&self, fixture: &Fixture, verify: bool, augmentation: Augmentation) -> Result<Store, TrainError> {
        let (dataset, folder) = (fixture.dataset(), fixture.path("store"));
        let (parameters, sizes, device) = (&self.parameters, &self.sizes, Device::Cpu);
        Store::open(&Reading { folder: &folder, verify, parameters, sizes, augmentation, dataset: &dataset, device })
    }

    #[track_caller]
    fn refused(&self, fixture: &Fixture, verify: bool, words: &[&str]) {
        let error = self.open(fixture, verify, CUT).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

/// The backbone of the fixture's whole model under a DINO file's names.
fn backbone_alone(fixture: &Fixture) -> PathBuf {
    let path = fixture.path("alone.safetensors");
    let own = Tensor::read_safetensors(fixture.backbone()).unwrap();
    let own: Vec<(&str, &Tensor)> =
        own.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("vit_model.")?, tensor))).collect();
    Tensor::write_safetensors(&own, &path).unwrap();
    path
}

/// Every draw that a store of so many variants holds.
fn draws(dataset: &Dataset, variants: u64) -> Vec<Draw> {
    let mut draws = Vec::new();
    for (folder, pictures) in dataset.train.iter().enumerate() {
        for (view, count) in [(View::Exo, pictures.exo.len()), (View::Ego, pictures.ego.len())] {
            for picture in 0..count {
                draws.extend((0..variants).map(|seed| Draw { id: PictureId { folder, view, picture }, seed }));
            }
        }
    }
    draws
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

#[test]
fn a_store_gives_what_the_backbone_says_live_bit_for_bit_and_close_to_it_in_half_the_room() {
    let fixture = Fixture::new();
    let (toy, dataset) = (Toy::new(&fixture), fixture.dataset());
    let (backbone, device) = (&toy.backbone, Device::Cpu);
    let mut live = Live::new(LiveParts { backbone, dataset: &dataset, augmentation: CUT, limits: LIMITS, device });
    // Odd ones, backwards, one twice.
    let mut some: Vec<Draw> = draws(&dataset, 3).into_iter().rev().step_by(2).collect();
    some.push(some[0]);
    let expected = [live.train(&some).unwrap(), live.test(&[3, 0, 2]).unwrap()];
    for (precision, tolerance, bytes) in [(Precision::F32, 0.0, 4), (Precision::F16, 1e-2, 2)] {
        let _ = fs::remove_dir_all(fixture.path("store"));
        assert!(build(&fixture, Kept { variants: 3, precision }, usize::MAX).unwrap());
        let mut store = toy.open(&fixture, true, CUT).unwrap();
        let found = [store.train(&some).unwrap(), store.test(&[3, 0, 2]).unwrap()];
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.grid, expected.grid);
            let error = worst(&found.descriptors, &expected.descriptors);
            assert!(error <= tolerance, "{precision:?} {error}");
            let error = worst(&found.cls_attention, &expected.cls_attention);
            assert!(error <= tolerance, "{precision:?} {error}");
        }
        let rows = PICTURES.0 * 3 + PICTURES.1;
        assert_eq!(fs::metadata(fixture.path("store/descriptors.bin")).unwrap().len(), rows * 49 * 48 * bytes);
    }
}

#[test]
fn variants_of_a_picture_differ() {
    let fixture = Fixture::new();
    build(&fixture, f32s(2), usize::MAX).unwrap();
    let toy = Toy::new(&fixture);
    let mut store = toy.open(&fixture, false, CUT).unwrap();
    let id = PictureId { folder: 0, view: View::Ego, picture: 1 };
    let found = store.train(&[Draw { id, seed: 0 }, Draw { id, seed: 1 }]).unwrap();
    assert!(worst(&found.descriptors.get(0), &found.descriptors.get(1)) > 0.0);
    let error = store.train(&[Draw { id, seed: 2 }]).unwrap_err().to_string();
    assert!(error.contains("expected less than 2") && error.contains("found 2"), "{error}");
}

/// The store's files but for the index's place in time: what has to be the same however it was built.
fn content(fixture: &Fixture) -> BTreeMap<&'static str, Vec<u8>> {
    ["index.json", "descriptors.bin", "attention.bin", "done.bin"]
        .map(|name| (name, fixture.bytes(&format!("store/{name}"))))
        .into()
}

fn looptrans(fixture: &Fixture, variants: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.args(["store", "build", "--skip-check", "--variants", variants]).arg(fixture.data());
    command.arg("--backbone").arg(fixture.backbone()).arg("--out").arg(fixture.path("store"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn marked(fixture: &Fixture) -> usize {
    fs::read(fixture.path("store/done.bin")).map_or(0, |marks| marks.iter().filter(|&&mark| mark == 1).count())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_build_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let fixture = Fixture::new();
    let (variants, rows) = (60, (PICTURES.0 * 60 + PICTURES.1) as usize);
    let mut kills = 0;
    loop {
        let before = marked(&fixture);
        let mut run = looptrans(&fixture, &variants.to_string()).spawn().unwrap();
        let start = Instant::now();
        while run.try_wait().unwrap().is_none() && marked(&fixture) < before + 64 {
            assert!(start.elapsed() < PATIENCE, "no progress");
            thread::sleep(Duration::from_millis(1));
        }
        // Anywhere in the batch that follows.
        thread::sleep(Duration::from_millis(13 * kills));
        let ended = run.try_wait().unwrap().is_some();
        let _ = run.kill();
        let output = run.wait_with_output().unwrap();
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
    let mut run = looptrans(&fixture, "400").spawn().unwrap();
    let start = Instant::now();
    while marked(&fixture) == 0 {
        assert!(run.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
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

/// The rows that a build computed, by its reports of progress.
fn computed(fixture: &Fixture, kept: Kept) -> u64 {
    let (dataset, stop, mut seen) = (fixture.dataset(), AtomicBool::new(false), Vec::new());
    let (backbone, out) = (fixture.backbone(), fixture.path("store"));
    let Kept { variants, precision } = kept;
    let augmentation = settings(&[]).augmentation;
    let recipe = Recipe { backbone: &backbone, augmentation, variants, precision, out: &out };
    let built = Builder::new(recipe, job(&dataset, &stop)).unwrap().run(&mut |progress| {
        if let Progress::Rows { done, .. } = progress {
            seen.push(done);
        }
    });
    assert!(built.unwrap());
    seen[seen.len() - 1] - seen[0]
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
    assert!(content(&fixture) == whole);

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
fn another_backbone_augmentation_or_dataset_is_refused() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let toy = Toy::new(&fixture);
    let other = Augmentation { resize: ResizeRule::ShortSide, ..CUT };
    let error = toy.open(&fixture, false, other).unwrap_err().to_string();
    assert!(error.contains("expected features of augmentation ShortSide to 64") && error.contains("found"), "{error}");
    for (kept, words) in [
        (f32s(2), "expected features of variants 2, found variants 1"),
        (Kept { variants: 1, precision: Precision::F16 }, "expected features of precision F16, found precision F32"),
    ] {
        let error = build(&fixture, kept, usize::MAX).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    toy.open(&fixture, false, CUT).unwrap();

    let picture = fixture.path("data/testset/egocentric/cut/knife/1.png");
    let before = fs::read(&picture).unwrap();
    fs::write(&picture, [&before[..], b"!"].concat()).unwrap();
    let (was, is) = (format!("{} bytes", before.len()), format!("found {} bytes", before.len() + 1));
    toy.refused(&fixture, false, &["testset/egocentric/cut/knife/1.png", &was, &is]);
    fs::write(&picture, before).unwrap();

    let picture = fixture.path("data/trainset/exocentric/cut/knife/new.png");
    fs::copy(picture.with_file_name("1.png"), &picture).unwrap();
    let name = "features of trainset/exocentric/cut/knife/new.png";
    toy.refused(&fixture, false, &["index.json", name, "none of it"]);
    let error = build(&fixture, f32s(1), usize::MAX).unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    // A part of the pictures is served.
    fs::remove_file(&picture).unwrap();
    fs::remove_file(picture.with_file_name("1.png")).unwrap();
    toy.open(&fixture, true, CUT).unwrap();

    let backbone = fixture.path("other.safetensors");
    let mut bytes = fs::read(fixture.backbone()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("vit_model.blocks.1.norm1.bias").unwrap().data().as_ptr();
    // The least bit of one number.
    let at = bias as usize - bytes.as_ptr() as usize;
    bytes[at] ^= 1;
    fs::write(&backbone, &bytes).unwrap();
    let plan = Plan::new(settings(&[]), &backbone, &fixture.path("run")).unwrap();
    let error = fixture.train(plan.with_features(of(&fixture)), 1).unwrap_err().to_string();
    assert!(error.contains("expected features of backbone of SHA-256 ") && error.contains("found backbone"), "{error}");
}

fn of(fixture: &Fixture) -> FeatureOrigin {
    FeatureOrigin::Store { folder: fixture.path("store"), verify: false }
}

#[test]
fn files_of_another_length_and_hostile_indices_are_refused() {
    let fixture = Fixture::new();
    let toy = Toy::new(&fixture);
    toy.refused(&fixture, false, &["index.json", "store build"]);
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let whole = content(&fixture);
    for name in ["descriptors.bin", "attention.bin", "done.bin"] {
        let bytes = &whole[name];
        for length in [0, 1, bytes.len() - 1, bytes.len() + 1] {
            let file = OpenOptions::new().write(true).open(fixture.path(&format!("store/{name}"))).unwrap();
            file.set_len(length as u64).unwrap();
            let found = format!("found {length} ");
            toy.refused(&fixture, false, &[name, &format!("expected {} bytes", bytes.len()), &found]);
        }
        fs::write(fixture.path(&format!("store/{name}")), bytes).unwrap();
    }
    let text = String::from_utf8(whole["index.json"].clone()).unwrap();
    let huge = u64::MAX.to_string();
    for (from, to) in [
        ("\"variants\":1", "\"variants\":0"),
        ("\"variants\":1", "\"variants\":4294967295"),
        ("\"variants\":1", "\"variants\":-1"),
        ("\"crop\":56", "\"crop\":4294967295"),
        ("\"patch\":8", "\"patch\":0"),
        ("\"dim\":48", &format!("\"dim\":{huge}")),
        ("\"heads\":3", "\"heads\":0"),
        ("\"format\":1", "\"format\":2"),
        ("trainset/exocentric/cut/knife/0.png", "../../../etc/passwd"),
        ("{", "["),
        ("\"train\":[", "\"train\":[{},"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(fixture.path("store/index.json"), text.replacen(from, to, 1)).unwrap();
        toy.refused(&fixture, false, &["expected", "found"]);
        let error = build(&fixture, f32s(1), usize::MAX).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("expected") && error.contains("index.json"), "{from} {to}: {error}");
    }
    let index = OpenOptions::new().write(true).open(fixture.path("store/index.json")).unwrap();
    index.set_len(1 << 40).unwrap();
    toy.refused(&fixture, false, &["index.json", "found 1099511627776 bytes, more than"]);
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_refused() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    let mut store = Toy::new(&fixture).open(&fixture, false, CUT).unwrap();
    store.test(&[0]).unwrap();
    OpenOptions::new().write(true).open(fixture.path("store/descriptors.bin")).unwrap().set_len(10).unwrap();
    let error = store.test(&[0]).unwrap_err().to_string();
    assert!(error.contains("descriptors.bin") && error.contains("found 10"), "{error}");
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
fn both_networks_learn_from_a_store_and_a_resumed_run_is_the_same_run() {
    let fixture = Fixture::new();
    build(&fixture, f32s(4), usize::MAX).unwrap();
    for system in ["looptrans", "locate"] {
        // LOCATE's own resize rule would need a store of its own.
        let set = [&format!("system={system}"), "augmentation.resize=square"];
        let plan = |out: &str| fixture.plan(&format!("{system}/{out}"), &set).unwrap().with_features(of(&fixture));
        let state = fixture.train(plan("straight"), usize::MAX).unwrap().state;
        assert_eq!(state.features, Some(f32s(4)));
        fixture.train(plan("resumed"), 2).unwrap();
        let resume = || Plan::resume(&fixture.path(&format!("{system}/resumed")), None).unwrap();
        let error = fixture.train(resume(), 1).unwrap_err().to_string();
        assert!(error.contains("expected of a store, as before (variants: 4, F32)"), "{error}");
        fixture.train(resume().with_features(of(&fixture)), usize::MAX).unwrap();
        for file in ["weights.safetensors", "metrics.csv"] {
            let [a, b] = ["straight", "resumed"].map(|out| fixture.bytes(&format!("{system}/{out}/{file}")));
            assert!(a == b, "{system}: {file} differs");
        }
    }
    // Pictures are not opened: but for tests' ground truth the store is enough.
    let live = fixture.plan("live", &[]).unwrap().with_features(of(&fixture));
    fixture.train(live, 1).unwrap();
    let resume = Plan::resume(&fixture.path("live"), None).unwrap();
    let ended = fixture.train(resume.with_features(FeatureOrigin::Live), usize::MAX).unwrap();
    assert!(ended.finished && ended.state.features.is_none());
}

#[test]
fn a_store_is_known_by_the_backbone_not_by_the_file_that_it_is_in() {
    let fixture = Fixture::new();
    build(&fixture, f32s(1), usize::MAX).unwrap();
    // The same backbone within a model with other heads.
    let other = fixture.path("other.safetensors");
    seeded::write(&other, Architecture::named("toy").unwrap(), &["cut", "hold", "pour"]).unwrap();
    let plan = Plan::new(settings(&["epochs=1"]), &other, &fixture.path("run")).unwrap();
    fixture.train(plan.with_features(of(&fixture)), 1).unwrap();
}
