//! Comparisons: `looptrans ablate` and `looptrans benchmark`.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use looptrans_ros::{
    data::{Dataset, index::Source, truth},
    export::seeded,
    metrics::{self, Mean},
    train::{
        TrainError,
        losses::looptrans::Saliency,
        run::Device,
        settings::{Settings, TestedMaps},
        store::{Kept, Precision},
        study::{Arm, Event, Floors, Host, Request, Set, Statistic, Study, Table, ablation, chosen, systems},
    },
};
use ndarray::Array2;

use super::{
    support::{Fixture, LIMITS, exists, settings},
    wsma,
};

/// The fixture's data as splits: `Seen`; `Unseen`, with the same pictures to train on and fewer to test with; `Seen_full`,
/// with other exocentric pictures.
fn splits(fixture: &Fixture) {
    for split in ["Seen", "Unseen", "Seen_full"] {
        copy(&fixture.data(), &fixture.path(&format!("set/{split}")));
        // Else the published lists of these names.
        fs::write(fixture.path(&format!("set/{split}/affordances.txt")), "cut\nhold\n").unwrap();
    }
    fs::remove_dir_all(fixture.path("set/Unseen/testset/egocentric/cut")).unwrap();
    for action in ["cut", "hold"] {
        let folder = fixture.path(&format!("set/Seen_full/trainset/exocentric/{action}/knife"));
        fs::copy(folder.join("1.png"), folder.join("0.png")).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

struct Wish<'a> {
    out: &'a str,
    arms: Vec<Arm>,
    seeds: &'a [u64],
    splits: &'a [&'a str],
    /// Stop after so many steps and ends of runs.
    until: usize,
}

fn named(base: &Settings, names: &[&str]) -> Vec<Arm> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    chosen(systems(base, None).unwrap(), &names).unwrap()
}

/// A fixture with splits whose backbone is wide enough for WSMA.
fn wide() -> Fixture {
    let fixture = Fixture::new();
    splits(&fixture);
    fs::remove_file(fixture.backbone()).unwrap();
    seeded::write(&fixture.backbone(), wsma::BACKBONE, &["cut", "hold"]).unwrap();
    fixture
}

/// The table; None if it was stopped.
fn compare(fixture: &Fixture, wish: Wish<'_>) -> Result<Option<Table>, TrainError> {
    let Wish { out, arms, seeds, splits, until } = wish;
    let (root, backbone, out, stop) =
        (fixture.path("set"), fixture.backbone(), fixture.path(out), AtomicBool::new(false));
    let set = |split: &&str| {
        let dataset = Dataset::open(&Source { root: &root, split: Some(split), affordances: &[] }).unwrap();
        Set { name: (*split).to_owned(), dataset }
    };
    let request = Request {
        command: "test",
        arms,
        seeds: seeds.to_vec(),
        root: &root,
        sets: splits.iter().map(set).collect(),
        backbone: &backbone,
        store: None,
        kept: Kept { variants: 2, precision: Precision::F32 },
        out: &out,
        keep_weights: false,
    };
    let host = Host { device: Device::Cpu, limits: LIMITS, stop: &stop };
    let study = Study::prepare(request, host, &mut |_| {})?.unwrap();
    let estimate = study.measure(&mut |_| {})?.unwrap();
    let mut events = 0;
    let finished = study.run(&estimate, &mut |event| {
        if let Event::Work { .. } = event {
            events += 1;
            stop.store(events >= until, Ordering::Relaxed);
        }
    })?;
    if finished { study.report().map(Some) } else { Ok(None) }
}

fn one_epoch() -> Settings {
    settings(&["epochs=1"])
}

#[test]
fn locate_finds_its_salient_patches_as_the_others_do() {
    let base = settings(&["looptrans.options.saliency=border_contrast"]);
    let [locate] = &named(&base, &["locate"])[..] else { panic!("one row") };
    assert_eq!(locate.settings.locate.unwrap().saliency, Saliency::BorderContrast);
    let [published] = &named(&one_epoch(), &["locate"])[..] else { panic!("one row") };
    assert_eq!(published.settings.locate.unwrap().saliency, Saliency::ClsAttention);
}

#[test]
fn the_table_has_every_row_and_says_which_maps_it_judges_by() {
    let fixture = wide();
    let arms = systems(&one_epoch(), None).unwrap();
    let wish = Wish { out: "study", arms, seeds: &[1], splits: &["Seen"], until: usize::MAX };
    let table = compare(&fixture, wish).unwrap().unwrap();
    let [seen] = &table.sets[..] else { panic!("{table:?}") };
    let rows: Vec<(&str, TestedMaps)> = seen.reported().map(|row| (row.arm.as_str(), row.maps)).collect();
    let (p, g_ego) = (TestedMaps::Pixel, TestedMaps::Scam);
    let expected = [
        ("baseline", p),
        ("cam", g_ego),
        ("denoise", p),
        ("cam_pixel", p),
        ("cam_denoise", g_ego),
        ("wsma_no_text", p),
        ("locate", p),
        ("looptrans", p),
    ];
    assert_eq!(rows, expected);
    // Both maps of all but WSMA and LOCATE, which have one.
    assert_eq!(seen.rows.len(), 2 * expected.len() - 2);
    let by_name: BTreeMap<&str, f64> = seen.reported().map(|row| (row.arm.as_str(), row.kld.mean)).collect();
    let different: Vec<f64> = by_name.values().copied().collect();
    for (place, kld) in different.iter().enumerate() {
        assert!(kld.is_finite() && !different[place + 1..].contains(kld), "{by_name:?}");
    }
    assert!(seen.rows.iter().all(|row| row.published.is_none() && row.kld.deviation.is_none()));
    let text = String::from_utf8(fixture.bytes("study/table.md")).unwrap();
    for title in [
        "baseline",
        "+ shared CAM + pixel",
        "| WSMA without text |",
        "not the published method",
        "LOCATE",
        "LoopTrans (all)",
        "*centred Gaussian*",
    ] {
        assert!(text.contains(title), "{title} in {text}");
    }
    assert!(String::from_utf8(fixture.bytes("study/table.json")).unwrap().contains("\"wsma_no_text\""));
    let figure = String::from_utf8(fixture.bytes("study/figure.svg")).unwrap();
    assert_eq!(figure.matches("<title>").count(), 3 * expected.len());
    let sheet = image::open(fixture.path("study/pictures_Seen.png")).unwrap();
    // Picture, the first row, WSMA, LOCATE, the last row, truth; four test pictures.
    let cell = sheet.width() / 6;
    assert!(cell > 140 && sheet.height() > 4 * cell && sheet.height() < 5 * cell, "{}", sheet.width());
    assert!(exists(&fixture.path("study/runs/locate/seed_1/Seen/metrics.csv")));
    assert!(!exists(&fixture.path("study/runs/locate/seed_1/Seen/last.safetensors")));
    assert!(!exists(&fixture.path("study/.measured")));
}

#[test]
fn wsma_with_a_text_encoder_is_a_row_of_its_own_that_resumes_and_notices_another_file() {
    let fixture = wide();
    let (clip, mut tensors) = (fixture.path("clip.safetensors"), wsma::text_encoder());
    wsma::write(&clip, &tensors);
    let arms = || {
        let base = settings(&["epochs=2", "save_every_steps=1"]);
        let arms = systems(&base, Some(&clip.to_string_lossy())).unwrap();
        chosen(arms, &["wsma".to_owned(), "looptrans".to_owned()]).unwrap()
    };
    let wish = |out, until| Wish { out, arms: arms(), seeds: &[1], splits: &["Seen", "Unseen"], until };
    let straight = compare(&fixture, wish("straight", usize::MAX)).unwrap().unwrap();
    assert!(compare(&fixture, wish("resumed", 2)).unwrap().is_none());
    assert!(exists(&fixture.path("resumed/runs/wsma/seed_1/Seen/last.safetensors")));
    let resumed = compare(&fixture, wish("resumed", usize::MAX)).unwrap().unwrap();
    assert_eq!(straight, resumed);
    for set in &straight.sets {
        let rows: Vec<(&str, &str)> = set.reported().map(|row| (row.arm.as_str(), row.title.as_str())).collect();
        assert_eq!(rows, [("wsma", "WSMA"), ("looptrans", "LoopTrans (all)")]);
    }
    assert!(straight.notes.is_empty());
    // What LoopTrans reads is a store of its own.
    let size = |store: &str| fs::metadata(fixture.path(&format!("resumed/{store}/descriptors.bin"))).unwrap().len();
    assert_eq!(size("store-two-blocks"), 2 * size("store"));

    // The row without a text encoder is another, and may stand beside.
    let bare = Wish {
        arms: named(&settings(&["epochs=2", "save_every_steps=1"]), &["wsma_no_text"]),
        ..wish("resumed", usize::MAX)
    };
    assert!(compare(&fixture, bare).unwrap().is_some());
    let bias = &tensors["ln_final.bias"] + 1.0;
    tensors.insert("ln_final.bias".to_owned(), bias);
    wsma::write(&clip, &tensors);
    let error = compare(&fixture, wish("resumed", usize::MAX)).unwrap_err().to_string();
    assert!(error.contains("wsma with a text encoder of SHA-256"), "{error}");
    fs::write(&clip, b"PK\x03\x04").unwrap();
    let error = compare(&fixture, wish("new", usize::MAX)).unwrap_err().to_string();
    assert!(error.contains("looptrans convert RN50.pt") && !exists(&fixture.path("new/store")), "{error}");
}

#[test]
fn a_backbone_that_can_t_carry_wsma_is_refused_before_anything_is_computed() {
    let fixture = Fixture::new();
    splits(&fixture);
    let arms = named(&one_epoch(), &["wsma_no_text", "looptrans"]);
    let wish = Wish { out: "study", arms, seeds: &[1], splits: &["Seen"], until: usize::MAX };
    let error = compare(&fixture, wish).unwrap_err().to_string();
    assert!(error.contains("64 heads (or --rows without wsma_no_text), found 48"), "{error}");
    assert!(!exists(&fixture.path("study/store/index.json")));
}

#[test]
fn the_program_s_estimate_counts_wsma_and_says_what_it_lacks() {
    let fixture = wide();
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.args([
        "benchmark",
        "set",
        "--splits",
        "Seen",
        "--backbone",
        "toy.safetensors",
        "--out",
        "study",
        "--seeds",
        "1",
    ]);
    command.args(["--epochs", "1", "--batch", "5", "--variants", "1", "--set", "threads=1", "--estimate", "--json"]);
    let output = command.current_dir(fixture.folder.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.contains("no --clip: WSMA has no text encoder"), "{error}");
    let estimate: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(estimate["runs"], 8);
    let row = &estimate["arms"]["wsma_no_text"];
    assert!(row["step"].as_f64().unwrap() > 0.0 && row["all"].as_f64().unwrap() > 0.0, "{estimate}");
}

#[test]
fn what_was_stopped_or_killed_ends_as_if_nothing_had_been() {
    let fixture = Fixture::new();
    splits(&fixture);
    let base = settings(&["epochs=2", "save_every_steps=1"]);
    let wish = |out, until| Wish {
        out,
        arms: named(&base, &["looptrans"]),
        seeds: &[1, 2],
        splits: &["Seen", "Unseen", "Seen_full"],
        until,
    };
    let straight = compare(&fixture, wish("straight", usize::MAX)).unwrap().unwrap();
    // Seen and Unseen share their runs.
    let trained_on: Vec<(&str, &str)> =
        straight.sets.iter().map(|set| (set.name.as_str(), set.trained_on.as_str())).collect();
    assert_eq!(trained_on, [("Seen", "Seen"), ("Unseen", "Seen"), ("Seen_full", "Seen_full")]);
    assert_eq!(straight.sets.iter().map(|set| set.items).collect::<Vec<_>>(), [4, 2, 4]);
    assert!(!exists(&fixture.path("straight/runs/looptrans/seed_1/Unseen")));
    // A run has six steps. In the first one, in the second one, and as if the first one's result had been lost.
    assert!(compare(&fixture, wish("resumed", 2)).unwrap().is_none());
    assert!(exists(&fixture.path("resumed/runs/looptrans/seed_1/Seen/last.safetensors")));
    assert!(!exists(&fixture.path("resumed/runs/looptrans/seed_1/Seen/result.json")));
    assert!(compare(&fixture, wish("resumed", 8)).unwrap().is_none());
    fs::remove_file(fixture.path("resumed/runs/looptrans/seed_1/Seen/result.json")).unwrap();
    let resumed = compare(&fixture, wish("resumed", usize::MAX)).unwrap().unwrap();
    assert_eq!(straight, resumed);
    for file in ["table.json", "table.md", "figure.svg", "pictures_Seen_full.png"] {
        let [a, b] = ["straight", "resumed"].map(|out| fixture.bytes(&format!("{out}/{file}")));
        assert!(a == b, "{file} differs");
    }
    let row = &straight.sets[0].rows[0];
    let klds: Vec<f64> = row.by_seed.iter().map(|mean| mean.kld).collect();
    assert!(klds.len() == 2 && klds[0] != klds[1]);
    assert_eq!(Statistic::of(&klds), Some(row.kld));
}

#[test]
fn other_settings_pictures_or_folders_are_refused_and_further_seeds_and_rows_are_not() {
    let fixture = Fixture::new();
    splits(&fixture);
    let wish = |base: &Settings, names: &[&str], seeds| Wish {
        out: "study",
        arms: named(base, names),
        seeds,
        splits: &["Seen"],
        until: usize::MAX,
    };
    compare(&fixture, wish(&one_epoch(), &["baseline"], &[1])).unwrap().unwrap();
    let refused = |base: &Settings, words: &[&str]| {
        let error = compare(&fixture, wish(base, &["baseline"], &[1])).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(&settings(&["epochs=2"]), &["study.json", "epochs", "2", "1"]);
    refused(&settings(&["epochs=1", "looptrans.weights.corr=3"]), &["corr", "3"]);
    let before = fixture.bytes("study/runs/baseline/seed_1/Seen/result.json");
    let table = compare(&fixture, wish(&one_epoch(), &["baseline", "cam"], &[1, 2])).unwrap().unwrap();
    assert_eq!(table.sets[0].reported().map(|row| row.by_seed.len()).collect::<Vec<_>>(), [2, 2]);
    assert!(before == fixture.bytes("study/runs/baseline/seed_1/Seen/result.json"), "what was done is done again");

    let picture = fixture.path("set/Seen/trainset/egocentric/cut/knife/0.png");
    fs::copy(fixture.path("set/Seen/trainset/egocentric/cut/knife/1.png"), picture).unwrap();
    refused(&one_epoch(), &["study.json", "pictures"]);
    fs::write(fixture.path("other/thesis.txt"), "mine").unwrap();
    let error = compare(&fixture, Wish { out: "other", ..wish(&one_epoch(), &["baseline"], &[1]) }).unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    let error = compare(&fixture, wish(&one_epoch(), &["baseline"], &[3, 3])).unwrap_err();
    assert!(error.to_string().contains("3 twice"), "{error}");
    assert!(ablation(&settings(&["system=locate"])).is_err());
}

#[test]
fn a_summary_is_the_mean_and_the_sample_deviation() {
    // 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, over 2.
    assert_eq!(Statistic::of(&[1.0, 2.0, 6.0]), Some(Statistic { mean: 3.0, deviation: Some(7.0_f64.sqrt()) }));
    assert_eq!(Statistic::of(&[0.5]), Some(Statistic { mean: 0.5, deviation: None }));
    assert_eq!(Statistic::of(&[]), None);
}

#[test]
fn the_floors_are_what_the_metrics_say_of_maps_that_look_at_nothing() {
    let fixture = Fixture::new();
    let dataset = fixture.dataset();
    let floors = Floors::of(&dataset, &LIMITS);
    let gaussian = Array2::from_shape_fn((224, 224), |(row, column)| {
        let squares = [row, column].map(|place| (place as f64 - 111.5).powi(2)).iter().sum::<f64>();
        (-squares / (2.0 * (0.2 * 224.0_f64).powi(2))).exp()
    });
    for (found, map) in [(floors.uniform, Array2::ones((224, 224))), (floors.centred_gaussian, gaussian)] {
        let score = |item: &looptrans_ros::data::TestItem| {
            let truth = truth::load(&item.truth, &LIMITS).unwrap();
            metrics::score(map.view(), metrics::resize(truth.view(), (224, 224)).unwrap().view()).unwrap()
        };
        let scores: Vec<_> = dataset.test.iter().map(score).collect();
        let (found, expected) = (found.unwrap(), Mean::of(scores.iter()).unwrap());
        assert_eq!((found.items, found.nss.is_some()), (expected.items, expected.nss.is_some()));
        for (found, expected) in [(found.kld, expected.kld), (found.sim, expected.sim)] {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
    assert!(floors.uniform.unwrap().nss.is_none());
}
