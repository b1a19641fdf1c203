//! Stores of the fixture's dataset.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use looptrans_ros::{
    data::{
        Dataset,
        augment::{Augmentation, ResizeRule},
        sampling::{Draw, PictureId, View},
    },
    export::{layout::Sizes, seeded::Architecture},
    train::{
        TrainError,
        backbone::{Backbone, Keys},
        ranks::Alone,
        run::{Device, FeatureOrigin, Job},
        store::{Builder, Kept, Precision, Progress, Reading, Recipe, Store},
        weights,
    },
};
use tch::{Tensor, nn::VarStore};

use super::support::{Fixture, LIMITS, settings};

pub const PATIENCE: Duration = Duration::from_secs(120);
/// The fixture's pictures to train on, and to test with.
pub const PICTURES: (u64, u64) = (18, 4);
/// Of the toy: 49 patches, 48 channels, 3 heads, f32.
pub const ROW_BYTES: u64 = 4 * (49 * 48 + 3 * 49);

/// Builds, and stops after so many reports of progress.
pub fn build(fixture: &Fixture, kept: Kept, reports: usize) -> Result<bool, TrainError> {
    let (dataset, stop, mut seen) = (fixture.dataset(), AtomicBool::new(false), 0);
    let (backbone, out) = (fixture.backbone(), fixture.path("store"));
    let Kept { variants, precision } = kept;
    let augmentation = settings(&[]).augmentation;
    let recipe = Recipe { backbone: &backbone, augmentation, variants, precision, keys: Keys::Last, out: &out };
    Builder::new(recipe, job(&dataset, &stop))?.run(&mut |_| {
        seen += 1;
        stop.store(seen >= reports, Ordering::Relaxed);
    })
}

pub fn job<'a>(dataset: &'a Dataset, stop: &'a AtomicBool) -> Job<'a> {
    Job { dataset, device: Device::Cpu, limits: LIMITS, stop, ranks: &Alone }
}

pub fn f32s(variants: u32) -> Kept {
    Kept { variants, precision: Precision::F32 }
}

/// The fixture's backbone as a network of its own.
pub struct Toy {
    pub parameters: VarStore,
    pub backbone: Backbone,
    pub sizes: Sizes,
}

pub const CUT: Augmentation = Augmentation { resize: ResizeRule::Square, resized: 64, crop: 56 };

impl Toy {
    pub fn new(fixture: &Fixture) -> Self {
        let sizes = Architecture::named("toy").unwrap().sizes(0);
        let parameters = VarStore::new(Device::Cpu);
        let backbone = Backbone::new(&(parameters.root() / "vit_model"), &sizes);
        weights::load(&parameters, &backbone_alone(fixture), "vit_model.").unwrap();
        Self { parameters, backbone, sizes }
    }

    pub fn open(&self, fixture: &Fixture, verify: bool, augmentation: Augmentation) -> Result<Store, TrainError> {
        let (dataset, folder) = (fixture.dataset(), fixture.path("store"));
        let (parameters, sizes, device) = (&self.parameters, &self.sizes, Device::Cpu);
        Store::open(&Reading {
            folder: &folder,
            verify,
            parameters,
            sizes,
            augmentation,
            keys: Keys::Last,
            dataset: &dataset,
            device,
        })
    }

    #[track_caller]
    pub fn refused(&self, fixture: &Fixture, verify: bool, words: &[&str]) {
        let error = self.open(fixture, verify, CUT).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

/// The backbone of the fixture's whole model under a DINO file's names.
pub fn backbone_alone(fixture: &Fixture) -> PathBuf {
    let path = fixture.path("alone.safetensors");
    let own = Tensor::read_safetensors(fixture.backbone()).unwrap();
    let own: Vec<(&str, &Tensor)> =
        own.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("vit_model.")?, tensor))).collect();
    Tensor::write_safetensors(&own, &path).unwrap();
    path
}

/// Every draw that a store of so many variants holds.
pub fn draws(dataset: &Dataset, variants: u64) -> Vec<Draw> {
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

pub fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

/// The store's files but for the index's place in time: what has to be the same however it was built.
pub fn content(fixture: &Fixture) -> BTreeMap<&'static str, Vec<u8>> {
    ["index.json", "descriptors.bin", "attention.bin", "done.bin"]
        .map(|name| (name, fixture.bytes(&format!("store/{name}"))))
        .into()
}

pub fn looptrans(fixture: &Fixture, variants: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.args(["store", "build", "--skip-check", "--variants", variants]).arg(fixture.data());
    command.arg("--backbone").arg(fixture.backbone()).arg("--out").arg(fixture.path("store"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn marked(fixture: &Fixture) -> usize {
    fs::read(fixture.path("store/done.bin")).map_or(0, |marks| marks.iter().filter(|&&mark| mark == 1).count())
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// The rows that a build computed, by its reports of progress.
pub fn computed(fixture: &Fixture, kept: Kept) -> u64 {
    let (dataset, stop, mut seen) = (fixture.dataset(), AtomicBool::new(false), Vec::new());
    let (backbone, out) = (fixture.backbone(), fixture.path("store"));
    let Kept { variants, precision } = kept;
    let augmentation = settings(&[]).augmentation;
    let recipe = Recipe { backbone: &backbone, augmentation, variants, precision, keys: Keys::Last, out: &out };
    let built = Builder::new(recipe, job(&dataset, &stop)).unwrap().run(&mut |progress| {
        if let Progress::Rows { done, .. } = progress {
            seen.push(done);
        }
    });
    assert!(built.unwrap());
    seen[seen.len() - 1] - seen[0]
}

pub fn of(fixture: &Fixture) -> FeatureOrigin {
    FeatureOrigin::Store { folder: fixture.path("store"), verify: false }
}
