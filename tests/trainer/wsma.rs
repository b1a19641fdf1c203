//! WSMA: with a toy of CLIP's text encoder, and without one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

use looptrans_ros::{
    contract::PresenceSource,
    convert::clip::{TextSizes, text_entries},
    export::{
        layout::{Entry, Use},
        seeded::{self, Architecture},
        weights::{Weights, describe},
    },
    train::{
        TrainError,
        backbone::Keys,
        ranks::Alone,
        run::{Device, Event, FeatureOrigin, Job, Outcome, Plan},
        store::{Builder, Precision, Recipe},
    },
};
use tch::{Kind, Tensor};

use super::support::{Fixture, LIMITS, SAMPLES, settings};

/// The attention pool has 64 heads, so no toy is narrower.
pub const BACKBONE: Architecture = Architecture { name: "toy64", dim: 64, depth: 2, heads: 2, patch: 8, grid: 7 };
const TEXT: TextSizes = TextSizes { width: 64, shared: 32, layers: 2 };

struct Wsma {
    fixture: Fixture,
}

impl Wsma {
    fn new() -> Self {
        let wsma = Self { fixture: Fixture::new() };
        seeded::write(&wsma.backbone(), BACKBONE, &["cut", "hold"]).unwrap();
        write(&wsma.clip(), &text_encoder());
        wsma
    }

    fn backbone(&self) -> PathBuf {
        self.fixture.path("toy64.safetensors")
    }

    fn clip(&self) -> PathBuf {
        self.fixture.path("clip.safetensors")
    }

    fn plan(&self, out: &str, set: &[&str]) -> Plan {
        let set = [&["system=wsma"], set].concat();
        Plan::new(settings(&set), &self.backbone(), &self.fixture.path(out)).unwrap()
    }

    fn with_clip(&self, out: &str, clip: &Path) -> Result<Outcome, TrainError> {
        let key = format!("wsma.clip={}", clip.display());
        self.fixture.train(self.plan(out, &[&key, "epochs=1"]), 1)
    }

    fn resume(&self, out: &str, steps: usize) -> Outcome {
        self.fixture.train(Plan::resume(&self.fixture.path(out), None).unwrap(), steps).unwrap()
    }

    fn build_store(&self, keys: Keys) -> PathBuf {
        let (dataset, stop, out) = (self.fixture.dataset(), AtomicBool::new(false), self.fixture.path("store"));
        let job = Job { dataset: &dataset, device: Device::Cpu, limits: LIMITS, stop: &stop, ranks: &Alone };
        let augmentation = settings(&["system=wsma"]).augmentation;
        let (backbone, variants, precision) = (self.backbone(), 2, Precision::F32);
        let recipe = Recipe { backbone: &backbone, augmentation, variants, precision, keys, out: &out };
        assert!(Builder::new(recipe, job).unwrap().run(&mut |_| {}).unwrap());
        out
    }

    fn looptrans(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        let output = command.current_dir(self.fixture.folder.path()).args(arguments).output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), out, error)
    }
}

pub fn text_encoder() -> BTreeMap<String, Tensor> {
    let tensor = |key: &str, shape: &[u64]| {
        let shape: Vec<usize> = shape.iter().map(|&side| side as usize).collect();
        let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
        let values = seeded::tensor(&Entry { key: key.to_owned(), shape, used: Use::Unused });
        Tensor::from_slice(&values).reshape(sides)
    };
    text_entries(&TEXT).into_iter().map(|entry| (entry.key.clone(), tensor(&entry.key, &entry.shape))).collect()
}

pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    Tensor::write_safetensors(&tensors.iter().collect::<Vec<_>>(), path).unwrap();
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

#[test]
fn wsma_trains_with_clips_text_encoder_and_a_resumed_run_is_the_same_run() {
    let wsma = Wsma::new();
    let fixture = &wsma.fixture;
    let key = format!("wsma.clip={}", wsma.clip().display());
    let [straight, resumed] = ["straight", "resumed"].map(|out| wsma.plan(out, &[&key]));
    let outcome = fixture.train(straight, usize::MAX).unwrap();
    assert!(outcome.finished && outcome.state.best().is_some());
    fixture.train(resumed, 2).unwrap();
    // The checkpoint has the text encoder.
    let before = tensors(&wsma.clip());
    fs::remove_file(wsma.clip()).unwrap();
    wsma.resume("resumed", 2);
    assert!(wsma.resume("resumed", usize::MAX).finished);
    for file in ["weights.safetensors", "best.safetensors", "last.safetensors", "metrics.csv"] {
        let [a, b] = ["straight", "resumed"].map(|out| fixture.bytes(&format!("{out}/{file}")));
        assert!(a == b, "{file} differs");
    }

    let after = tensors(&fixture.path("straight/weights.safetensors"));
    let backbone = tensors(&wsma.backbone());
    let moved = |before: &BTreeMap<String, Tensor>, key: &str| !before[key].equal(&after[key]);
    for key in ["transformer.resblocks.1.mlp.c_fc.weight", "token_embedding.weight", "logit_scale", "ln_final.bias"] {
        assert!(moved(&before, key), "{key} is not trained");
    }
    assert!(!moved(&backbone, "vit_model.blocks.1.attn.qkv.weight"), "the backbone is trained");
    assert_eq!(after["prompt_learner.ctx"].size(), [16, 64]);
    assert_eq!(after["attnpool.c_proj.weight"].size(), [32, 64]);
    let (description, _) = describe(&fixture.path("straight/weights.safetensors")).unwrap();
    assert!(description.source.starts_with("Wsma trained on "), "{}", description.source);
}

#[test]
fn without_a_text_encoder_it_learns_all_the_same_and_says_what_is_missing() {
    let wsma = Wsma::new();
    let mut totals = Vec::new();
    let plan = wsma.plan("run", &["epochs=6"]);
    let outcome = wsma.fixture.watched(plan, usize::MAX, &mut |event| {
        if let Event::Step { total, .. } = event {
            totals.push(*total);
        }
    });
    let outcome = outcome.unwrap();
    let steps = SAMPLES.div_ceil(4);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert!(mean(&totals[5 * steps..]) < 0.8 * mean(&totals[..steps]), "{totals:?}");

    let weights = wsma.fixture.path("run/weights.safetensors");
    let after = tensors(&weights);
    assert!(after.contains_key("class_embedding") && !after.contains_key("token_embedding.weight"));
    let (description, _) = describe(&weights).unwrap();
    assert!(description.source.starts_with("Wsma without text encoder"), "{}", description.source);
    let html = String::from_utf8(wsma.fixture.bytes("run/report.html")).unwrap();
    assert!(html.contains("has no text encoder and no learned prompts"));

    // What the run's own test says, eval says; nothing exports it.
    let (code, out, error) = wsma.looptrans(&["eval", "run/weights.safetensors", "data", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let (found, expected) = (&report["overall"], outcome.state.scores.last().unwrap().unwrap());
    for (name, expected) in [("kld", expected.kld), ("sim", expected.sim)] {
        let found = found[name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5, "{name}: {found} {expected}");
    }
    let error = Weights::read(&weights, PresenceSource::Pixel).unwrap_err().to_string();
    assert!(error.contains("expected LoopTrans or LOCATE, found WSMA"), "{error}");
}

#[test]
fn the_program_takes_the_text_encoder_by_clip_and_says_what_is_off_without_it() {
    let wsma = Wsma::new();
    let train = |out: &str, more: &[&str]| {
        let fixed = ["train", "data", "--backbone", "toy64.safetensors", "--out", out, "--set", "system=wsma"];
        wsma.looptrans(&[&fixed[..], &["--epochs", "1", "--batch", "5", "--set", "threads=1"], more].concat())
    };
    let (code, _, error) = train("with", &["--clip", "clip.safetensors"]);
    assert!(code == Some(0) && !error.contains("no --clip"), "{error}");
    assert!(tensors(&wsma.fixture.path("with/weights.safetensors")).contains_key("token_embedding.weight"));
    let (code, _, error) = train("without", &[]);
    assert!(code == Some(0) && error.contains("no --clip: WSMA has no text encoder and no learned prompts"), "{error}");
    let (code, _, error) = train("refused", &["--clip", "toy64.safetensors"]);
    assert!(code == Some(1) && error.contains("text_projection (expected [width, shared], found none)"), "{error}");
}

#[test]
fn wsma_trains_from_a_store_of_two_blocks_keys_and_refuses_one_of_the_last_alone() {
    let wsma = Wsma::new();
    let store = wsma.build_store(Keys::LastTwo);
    let origin = FeatureOrigin::Store { folder: store.clone(), verify: true };
    let plan = wsma.plan("run", &["epochs=1"]).with_features(origin.clone());
    assert!(wsma.fixture.train(plan, usize::MAX).unwrap().finished);
    fs::remove_dir_all(store).unwrap();
    wsma.build_store(Keys::Last);
    let error = wsma.fixture.train(wsma.plan("other", &[]).with_features(origin), 1).unwrap_err().to_string();
    assert!(
        error.contains("keys of how many of the last blocks: 2, found keys of how many of the last blocks: 1"),
        "{error}"
    );
}

#[test]
fn a_file_of_clip_that_does_not_fit_is_refused_by_what_was_expected_and_found() {
    let wsma = Wsma::new();
    let file = wsma.fixture.path("other.safetensors");
    let refusal = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = text_encoder();
        change(&mut tensors);
        write(&file, &tensors);
        wsma.with_clip("run", &file).unwrap_err().to_string()
    };
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
    let error = refusal(&|tensors| drop(tensors.insert("positional_embedding".to_owned(), zeros(&[76, 64]))));
    assert!(error.contains("positional_embedding (expected [77, 64], found [76, 64])"), "{error}");
    assert!(error.contains("other.safetensors"), "{error}");
    let error = refusal(&|tensors| drop(tensors.remove("transformer.resblocks.1.ln_2.weight")));
    assert!(error.contains("1 missing: transformer.resblocks.1.ln_2.weight"), "{error}");
    let error = refusal(&|tensors| drop(tensors.insert("token_embedding.weight".to_owned(), zeros(&[100, 64]))));
    assert!(error.contains("expected 49408 words, found 100"), "{error}");
    let error = refusal(&|tensors| drop(tensors.insert("ln_final.bias".to_owned(), zeros(&[64]) * f64::NAN)));
    assert!(error.contains("1 not finite: ln_final.bias"), "{error}");
    let error = refusal(&BTreeMap::clear);
    assert!(error.contains("token_embedding.weight (expected [words, width], found none)"), "{error}");

    fs::write(&file, b"PK\x03\x04 and so on").unwrap();
    let error = wsma.with_clip("run", &file).unwrap_err().to_string();
    assert!(error.contains("looptrans convert RN50.pt") && error.contains("found an archive of PyTorch"), "{error}");
    let error = wsma.with_clip("run", &wsma.fixture.path("none")).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");

    // Half precision and the picture's half of CLIP are no hindrance.
    let mut whole: BTreeMap<String, Tensor> =
        text_encoder().into_iter().map(|(key, tensor)| (key, tensor.to_kind(Kind::Half))).collect();
    whole.insert("visual.conv1.weight".to_owned(), zeros(&[2, 3]));
    write(&file, &whole);
    wsma.with_clip("run", &file).unwrap();
}
