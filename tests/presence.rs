//! `looptrans export --calibrate`: which source of presence is better, how good it is, and that the graph has its
//! calibration. On drawn pictures and seeded weights, whose presence means nothing: the machinery is tested here.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

mod models;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output},
};

use looptrans_ros::{
    contract::{Bundle, PresenceSource},
    parity::pictures::Pictures,
    perceive::infer::Model,
};

fn looptrans(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_looptrans")).current_dir(folder).args(arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = looptrans(folder, arguments);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    assert!(!folder.join("b").exists());
    text
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Test pictures, and pairs of one with an action that its object has and with one that it has not.
fn counted(split: &Path, actions: usize) -> (u32, usize, usize) {
    let (mut affords, mut pictures) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
    for part in ["trainset/exocentric", "testset/egocentric"] {
        for action in names(&split.join(part)) {
            for object in names(&split.join(part).join(&action)) {
                affords.entry(object.clone()).or_default().insert(action.clone());
                if part.starts_with("testset") {
                    let folder = split.join(part).join(&action).join(&object);
                    pictures.extend(names(&folder).into_iter().map(|name| (object.clone(), name)));
                }
            }
        }
    }
    let positives = pictures.iter().skip(1).step_by(2).map(|(object, _)| affords[object].len()).sum();
    let measured = pictures.len() / 2;
    (pictures.len() as u32, positives, measured * actions - positives)
}

/// Presence of a drawn picture by a bundle.
fn presence(bundle: &Bundle) -> Vec<f64> {
    let mut model = Model::load(bundle, &models::on_cpu()).unwrap();
    let pictures = Pictures::drawn(1, bundle.contract.input);
    let pixels = pictures.iter().next().unwrap().unwrap();
    model.run(&pixels).unwrap().presence.iter().map(|value| f64::from(*value)).collect()
}

#[test]
fn the_better_source_is_chosen_and_its_calibration_is_in_the_graph_and_in_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(folder, &["synth", "--out", "set", "--seed", "7", "--size", "tiny"]);
    let actions = fs::read_to_string(folder.join("set/Seen/affordances.txt")).unwrap();
    let actions: Vec<&str> = actions.lines().collect();
    succeed(folder, &["seed-weights", "--arch", "toy", "--actions", &actions.join(","), "--out", "w.safetensors"]);
    let table = succeed(folder, &["export", "w.safetensors", "--out", "b", "--calibrate", "set/Seen"]);

    let bundle = Bundle::load(&folder.join("b")).unwrap();
    let quality = bundle.contract.provenance.presence.clone().unwrap();
    let (pictures, positives, negatives) = counted(&folder.join("set/Seen"), actions.len());
    assert_eq!((quality.fitted_on + quality.measured_on, quality.measured_on), (pictures, pictures / 2));
    assert_eq!((quality.positives as usize, quality.negatives as usize), (positives, negatives));

    let sources: Vec<PresenceSource> = quality.sources.iter().map(|source| source.source).collect();
    assert_eq!(sources, [PresenceSource::Scam, PresenceSource::Pixel]);
    let own = quality.sources.iter().find(|source| source.source == bundle.contract.presence.source).unwrap();
    assert_eq!(own.calibration, quality.calibration);
    for source in &quality.sources {
        assert!((0.0..=1.0).contains(&source.auroc) && source.ece_after < source.ece_before, "{source:?}");
        assert!(table.contains(&format!("AUROC {:.3}", source.auroc)), "{table}");
    }

    let name = if own.source == PresenceSource::Pixel { "pixel" } else { "scam" };
    succeed(folder, &["export", "w.safetensors", "--out", "raw", "--presence", name, "--parity", "0"]);
    let raw = Bundle::load(&folder.join("raw")).unwrap();
    assert_eq!(raw.contract.provenance.presence, None);
    for (raw, calibrated) in presence(&raw).into_iter().zip(presence(&bundle)) {
        let logit = (raw / (1.0 - raw)).ln() / quality.calibration.temperature + quality.calibration.bias;
        let expected = 1.0 / (1.0 + (-logit).exp());
        assert!((calibrated - expected).abs() < 1e-5, "{calibrated} {expected}");
    }

    // In another precision, the figures of the bundle's own source are those of the bundle; the fit is the same.
    let fp16 = ["--precision", "fp16", "--calibrate", "set/Seen", "--parity", "0"];
    succeed(folder, &[&["export", "w.safetensors", "--out", "half"], fp16.as_slice()].concat());
    let half = Bundle::load(&folder.join("half")).unwrap().contract.provenance.presence.unwrap();
    assert_eq!(half.calibration, quality.calibration);
    for (half, full) in half.sources.iter().zip(&quality.sources) {
        let apart = (half.ece_after - full.ece_after).abs();
        assert_eq!(apart > 0.0, full.source == own.source, "{half:?} {full:?}");
        assert!(apart < 0.01 && (half.auroc - full.auroc).abs() < 0.02, "{half:?} {full:?}");
        assert!((half.ece_before - full.ece_before).abs() < 0.01, "{half:?} {full:?}");
    }

    // One kind of object: nothing is a negative of nothing.
    let (action, object) = (actions[0], names(&folder.join("set/Seen/testset/egocentric").join(actions[0])).remove(0));
    for part in ["egocentric", "GT"] {
        let from = folder.join("set/Seen/testset").join(part).join(action).join(&object);
        let to = folder.join("one/testset").join(part).join(action);
        fs::create_dir_all(&to).unwrap();
        fs::rename(from, to.join(&object)).unwrap();
    }
    fs::remove_dir_all(folder.join("b")).unwrap();
    let text = fail(folder, &["export", "w.safetensors", "--out", "b", "--calibrate", "one"]);
    assert!(text.contains("several kinds of objects"), "{text}");
    let text = fail(folder, &["export", "w.safetensors", "--out", "b", "--presence", "auto"]);
    assert!(text.contains("give --calibrate FOLDER"), "{text}");
}
