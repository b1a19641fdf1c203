//! What the exporter refuses: weights that do not fit, unknown affordances, places that are taken. In each case one
//! line says what, and nothing is left on disk. No ONNX Runtime needed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests

mod export_support;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use export_support::{ACTIONS, Tensors, description, seeded_tensors, write_raw_weights, write_weights};
use looptrans_ros::{
    contract::{Bundle, CONTRACT_FILE, PresenceSource, sha256_hex},
    export::{
        bundle::{self, Settings},
        layout::{Entry, Sizes, Use},
        seeded::{self, Architecture},
        weights::DESCRIPTION,
    },
};
use tempfile::TempDir;

/// A folder with a weights file in it, and where its bundle would go.
struct Place {
    folder: TempDir,
    weights: PathBuf,
    bundle: PathBuf,
    settings: Settings,
}

impl Place {
    fn new(tensors: &Tensors) -> Self {
        let place = Self::empty();
        write_weights(&place.weights, tensors, &description(&ACTIONS, 3));
        place
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new("toy", PresenceSource::Scam);
        let (weights, bundle) = (folder.path().join("w.safetensors"), folder.path().join("bundle"));
        Self { folder, weights, bundle, settings }
    }

    fn export(&self) -> Result<(), String> {
        bundle::write(&self.weights, &self.bundle, &self.settings).map(|_| ()).map_err(|error| error.to_string())
    }

    /// The one line an export ends with; nothing else may have been written.
    fn refusal(&self) -> String {
        let before = self.listing();
        let line = self.export().expect_err("the export went through");
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(self.listing(), before, "left behind after: {line}");
        line
    }

    fn listing(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn toy_sizes() -> Sizes {
    Architecture::named("toy").unwrap().sizes(ACTIONS.len())
}

fn toy() -> Tensors {
    seeded_tensors(&toy_sizes())
}

fn without(key: &str) -> Tensors {
    let mut tensors = toy();
    let before = tensors.len();
    tensors.retain(|(entry, _)| entry.key != key);
    assert_eq!(tensors.len() + 1, before, "{key}");
    tensors
}

/// The toy's tensors with the one of this key changed.
fn with(key: &str, change: impl FnOnce(&mut Vec<usize>, &mut Vec<f32>)) -> Tensors {
    let mut tensors = toy();
    let (entry, values) = tensors.iter_mut().find(|(entry, _)| entry.key == key).unwrap();
    change(&mut entry.shape, values);
    tensors
}

#[track_caller]
fn assert_names(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

#[test]
fn every_missing_unexpected_and_mis_shaped_key_is_in_one_error() {
    let mut tensors = with("pixel_dec.3.weight", |shape, _| shape.swap(0, 2));
    tensors.retain(|(entry, _)| !entry.key.starts_with("aff_proj.fc2"));
    tensors.iter_mut().find(|(entry, _)| entry.key == "vit_model.norm.bias").unwrap().0.key = "head.bias".to_owned();
    tensors.iter_mut().find(|(entry, _)| entry.key == "scam.0.bias").unwrap().1[3] = f32::NAN;
    let line = Place::new(&tensors).refusal();
    assert_names(
        &line,
        &[
            "w.safetensors",
            "2 missing: aff_proj.fc2.weight, aff_proj.fc2.bias",
            "1 unexpected: head.bias",
            "1 of another shape: pixel_dec.3.weight (expected F32 [48, 48, 3, 3], found F32 [3, 48, 48, 3])",
            "1 not finite: scam.0.bias",
        ],
    );
}

#[test]
fn any_one_needed_tensor_missing_is_named() {
    for (entry, _) in toy() {
        let place = Place::new(&without(&entry.key));
        let after_last_key = ["norm2", "attn.proj", "mlp"].iter().any(|part| entry.key.contains(part));
        let unused =
            entry.key.starts_with("vit_model.norm.") || entry.key.starts_with("vit_model.blocks.1.") && after_last_key;
        if unused {
            place.export().unwrap();
        } else {
            assert_names(&place.refusal(), &[&format!("1 missing: {}", entry.key)]);
        }
    }
}

#[test]
fn presence_from_theta_pixel_needs_no_shared_branch() {
    let mut tensors = toy();
    tensors.retain(|(entry, _)| !entry.key.starts_with("scam."));
    let mut place = Place::new(&tensors);
    assert_names(&place.refusal(), &["12 missing: scam.0.weight"]);
    place.settings.presence = PresenceSource::Pixel;
    place.export().unwrap();
}

#[test]
fn infinity_and_negative_variance_are_refused() {
    for (key, value) in [("aff_fc.bias", f32::INFINITY), ("pixel_dec.1.running_var", -0.5)] {
        let line = Place::new(&with(key, |_, values| values[0] = value)).refusal();
        assert_names(&line, &[&format!("1 not finite: {key}")]);
    }
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let line = Place::new(&with("vit_model.pos_embed", |shape, _| *shape = vec![1, 48, 50])).refusal();
    assert_names(&line, &["pos_embed", "expected 1 + a square number of positions", "found 48"]);
    let line = Place::new(&with("aff_fc.weight", |shape, _| *shape = vec![18, 48])).refusal();
    assert_names(&line, &["aff_fc.weight (expected 4 sides, found [18, 48])"]);
    let line = Place::new(&with("vit_model.patch_embed.proj.weight", |shape, _| *shape = vec![48, 3, 4, 16])).refusal();
    assert_names(&line, &["patch_embed.proj.weight (expected F32 [48, 3, 16, 16], found F32 [48, 3, 4, 16])"]);
}

#[test]
fn a_backbone_of_more_blocks_than_any_has_is_refused_before_its_tensors_are_listed() {
    let mut tensors = toy();
    let block = |index| Entry { key: format!("vit_model.blocks.{index}.x"), shape: vec![0], used: Use::Unused };
    tensors.extend((0..300).map(|index| (block(index), Vec::new())));
    assert_names(&Place::new(&tensors).refusal(), &["transformer blocks: expected at most 256, found 300"]);
}

#[test]
fn what_the_file_says_about_itself_is_checked() {
    let place = Place::empty();
    let described = |json: &str| {
        write_raw_weights(&place.weights, &toy(), Some(HashMap::from([(DESCRIPTION.to_owned(), json.to_owned())])));
        place.refusal()
    };
    assert_names(&described("{"), &["safetensors metadata \"looptrans\"", "expected JSON like"]);
    assert_names(&described(r#"{"actions": ["a"], "trained": true}"#), &["found missing field `source`"]);
    assert_names(&described(r#"{"actions": [], "trained": true, "source": "x"}"#), &["actions: expected at least one"]);
    let many: Vec<String> = (0..19).map(|index| format!("a{index}")).collect();
    let json = serde_json::json!({"actions": many, "trained": true, "source": "x", "heads": 3}).to_string();
    assert_names(&described(&json), &["expected at most 18", "found 19"]);
    for heads in [5, 0] {
        let json = format!(r#"{{"actions": ["a"], "trained": true, "source": "x", "heads": {heads}}}"#);
        assert_names(&described(&json), &["attention heads: expected a divisor", &format!("found {heads} heads")]);
    }
    // 48 channels are not a multiple of 64: without a word on heads this can't be guessed.
    assert_names(&described(r#"{"actions": ["a"], "trained": true, "source": "x"}"#), &["attention heads"]);
    assert_names(&described(r#"{"actions": ["a", "a"], "trained": true, "source": "x", "heads": 3}"#), &["actions[1]"]);
    write_raw_weights(&place.weights, &toy(), None);
    assert_names(&place.refusal(), &["safetensors metadata", "found none"]);
}

#[test]
fn a_file_that_is_no_weights_file_is_refused() {
    let place = Place::empty();
    assert_names(&place.refusal(), &["cannot read", "w.safetensors", "No such file"]);
    let sound = {
        write_weights(&place.weights, &toy(), &description(&ACTIONS, 3));
        fs::read(&place.weights).unwrap()
    };
    let halves = [0, 7, 8, 100, sound.len() / 2, sound.len() - 1].map(|len| sound[..len].to_vec());
    for bytes in halves.into_iter().chain([b"PK\x03\x04 a pickle".to_vec(), vec![0xff; 64]]) {
        fs::write(&place.weights, &bytes).unwrap();
        assert_names(&place.refusal(), &["w.safetensors", "expected a safetensors file, found"]);
    }
}

#[test]
fn an_unknown_affordance_is_answered_with_the_known_ones() {
    let mut place = Place::new(&toy());
    place.settings.affordances = vec!["hodl".to_owned()];
    assert_names(&place.refusal(), &["\"hodl\"", "expected one of cut hold open", "did you mean \"hold\"?"]);
    place.settings.affordances = vec!["cut".to_owned(), "cut".to_owned()];
    assert_names(&place.refusal(), &["actions[1]: expected each action once"]);
}

#[test]
fn a_contract_that_its_reader_would_refuse_is_not_written() {
    let mut place = Place::new(&toy());
    place.settings.heat_threshold = f32::NAN;
    assert_names(&place.refusal(), &["heat_threshold: expected 0 to 1, found NaN"]);
}

#[test]
fn an_existing_bundle_is_replaced_only_by_force() {
    let mut place = Place::new(&toy());
    place.export().unwrap();
    let before = fs::read(place.bundle.join(CONTRACT_FILE)).unwrap();
    place.settings.name = "second".to_owned();
    assert_names(&place.refusal(), &["bundle exists", "found a bundle", "give --force"]);
    assert_eq!(fs::read(place.bundle.join(CONTRACT_FILE)).unwrap(), before);
    place.settings.force = true;
    place.export().unwrap();
    assert_eq!(Bundle::load(&place.bundle).unwrap().contract.name, "second");
    assert_eq!(place.listing().len(), 2, "only the weights and the bundle: {:?}", place.listing());
}

#[test]
fn force_never_removes_what_is_not_a_bundle() {
    let mut place = Place::new(&toy());
    place.settings.force = true;
    fs::create_dir(&place.bundle).unwrap();
    fs::write(place.bundle.join("thesis.tex"), "years of work").unwrap();
    assert_names(&place.refusal(), &["found a folder with \"thesis.tex\" in it"]);
    assert!(place.bundle.join("thesis.tex").exists());
    fs::remove_dir_all(&place.bundle).unwrap();
    fs::write(&place.bundle, "a file").unwrap();
    assert_names(&place.refusal(), &["found a file or link"]);
    fs::remove_file(&place.bundle).unwrap();
    std::os::unix::fs::symlink(place.folder.path(), &place.bundle).unwrap();
    assert_names(&place.refusal(), &["found a file or link"]);
}

#[test]
fn an_empty_folder_and_missing_parents_are_no_obstacle() {
    let mut place = Place::new(&toy());
    fs::create_dir(&place.bundle).unwrap();
    place.export().unwrap();
    place.bundle = place.folder.path().join("models/here");
    place.export().unwrap();
    Bundle::load(&place.bundle).unwrap();
}

#[test]
fn a_bundle_has_the_usual_permissions_and_what_a_killed_export_left_is_no_obstacle() {
    let place = Place::new(&toy());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    // Of a process with the same number, in another container say.
    fs::create_dir(place.folder.path().join(format!(".bundle.{}.tmp", std::process::id()))).unwrap();
    place.export().unwrap();
    let (usual_folder, usual_file) = (place.folder.path().join("folder"), place.folder.path().join("file"));
    fs::create_dir(&usual_folder).unwrap();
    fs::write(&usual_file, "").unwrap();
    assert_eq!(mode(&place.bundle), mode(&usual_folder));
    assert_eq!(mode(&place.bundle.join(CONTRACT_FILE)), mode(&usual_file));
    let written = place.folder.path().join("deep/written");
    bundle::write_file(&written, b"bytes").unwrap();
    assert_eq!(mode(&written), mode(&usual_file));
}

#[test]
fn the_contract_tells_where_the_bundle_comes_from() {
    let place = Place::empty();
    let toy = Architecture::named("toy").unwrap();
    seeded::write(&place.weights, toy, &ACTIONS).unwrap();
    place.export().unwrap();
    let contract = Bundle::load(&place.bundle).unwrap().contract;
    assert!(!contract.provenance.trained);
    assert!(contract.provenance.source.contains("heat means nothing"), "{}", contract.provenance.source);
    assert_eq!(contract.provenance.weights_sha256, sha256_hex(&fs::read(&place.weights).unwrap()));
    assert_eq!(contract.actions, ACTIONS);
}

#[test]
fn equal_weights_give_equal_bundles() {
    let (first, second) = (Place::new(&toy()), Place::new(&toy()));
    first.export().unwrap();
    second.export().unwrap();
    let sha = |place: &Path| Bundle::load(place).unwrap().contract.sha256;
    assert_eq!(sha(&first.bundle), sha(&second.bundle));
}
