//! A dataset of drawn pictures, a toy backbone, and runs on them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use image::{GrayImage, Luma, Rgb, RgbImage};
use looptrans_ros::{
    data::{Dataset, index::Source},
    export::{
        layout::{Entry, Use},
        seeded::{self, Architecture},
    },
    perceive::decode::Limits,
    train::{
        TrainError,
        ranks::Alone,
        run::{Device, Event, Job, Outcome, Plan},
        settings::{Assignment, Settings},
    },
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::Tensor;

pub const LIMITS: Limits = Limits { max_image_pixels: 1_000_000 };
/// Samples of an epoch.
pub const SAMPLES: usize = 10;

/// A dataset of two actions, and a backbone's file.
pub struct Fixture {
    pub folder: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        for (action, hue) in [("cut", 40), ("hold", 200)] {
            for n in 0..5 {
                fixture.picture(&format!("trainset/exocentric/{action}/knife/{n}.png"), hue, n);
            }
            for n in 0..4 {
                fixture.picture(&format!("trainset/egocentric/{action}/knife/{n}.png"), hue, n + 7);
            }
            for n in 0..2 {
                fixture.picture(&format!("testset/egocentric/{action}/knife/{n}.png"), hue, n + 20);
                let truth = fixture.path(&format!("data/testset/GT/{action}/knife/{n}.png"));
                GrayImage::from_fn(48, 40, |x, y| Luma([if x < 16 && y < 20 { 255 } else { 0 }])).save(truth).unwrap();
            }
        }
        let toy = Architecture::named("toy").unwrap();
        seeded::write(&fixture.backbone(), toy, &["cut", "hold"]).unwrap();
        fixture
    }

    /// A bright patch of the action's hue on a striped ground.
    fn picture(&self, path: &str, hue: u8, n: u32) {
        let picture = RgbImage::from_fn(48, 40, |x, y| {
            let near = x / 16 == n % 3 && y / 20 == n % 2;
            let ground = ((x * 5 + y * 3 + 11 * n) % 90) as u8;
            Rgb(if near { [hue, 255 - hue, 128] } else { [ground, ground, ground / 2] })
        });
        picture.save(self.path(&format!("data/{path}"))).unwrap();
    }

    /// A path in the fixture, its folders made.
    pub fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn backbone(&self) -> PathBuf {
        self.path("toy.safetensors")
    }

    pub fn dataset(&self) -> Dataset {
        Dataset::open(&Source { root: &self.data(), split: None, affordances: &[] }).unwrap()
    }

    /// A new run.
    pub fn plan(&self, out: &str, set: &[&str]) -> Result<Plan, TrainError> {
        Plan::new(settings(set), &self.backbone(), &self.path(out))
    }

    /// Trains, and stops after so many steps of this call.
    pub fn train(&self, plan: Plan, steps: usize) -> Result<Outcome, TrainError> {
        self.watched(plan, steps, &mut |_| {})
    }

    pub fn watched(&self, plan: Plan, steps: usize, watch: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome, TrainError> {
        let (dataset, stop, mut done) = (self.dataset(), AtomicBool::new(false), 0);
        let job = Job { dataset: &dataset, device: Device::Cpu, limits: LIMITS, stop: &stop, ranks: &Alone };
        plan.train(&job, &mut |event| {
            if let Event::Step { .. } = event {
                done += 1;
                stop.store(done >= steps, Ordering::Relaxed);
            }
            watch(event);
        })
    }

    pub fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }
}

/// Small and quick, with one thread, then what `set` says.
pub fn settings(set: &[&str]) -> Settings {
    let set: Vec<Assignment> =
        ["threads=1", "batch=4", "epochs=2"].iter().chain(set).map(|text| assignment(text)).collect();
    Settings::read("{}", "test", &set).unwrap()
}

fn assignment(text: &str) -> Assignment {
    let (key, value) = text.split_once('=').unwrap();
    Assignment { key: key.to_owned(), value: value.to_owned() }
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Trained concept clusters: numbers by rule, of two layers.
pub fn clusters(path: &Path) {
    const DIM: usize = 48;
    let mut entries = vec![("tokens.weight".to_owned(), vec![4, DIM])];
    for layer in 0..2 {
        for kind in ["cross_attn_layers", "self_attn_layers"] {
            let at = format!("{kind}.{layer}");
            entries.push((format!("{at}.in_proj_weight"), vec![3 * DIM, DIM]));
            entries.push((format!("{at}.in_proj_bias"), vec![3 * DIM]));
            entries.push((format!("{at}.out_proj.weight"), vec![DIM, DIM]));
            entries.push((format!("{at}.out_proj.bias"), vec![DIM]));
        }
        for (at, outputs, inputs) in [(0, 2 * DIM, DIM), (3, DIM, 2 * DIM)] {
            entries.push((format!("ffn_layers.{layer}.net.{at}.weight"), vec![outputs, inputs]));
            entries.push((format!("ffn_layers.{layer}.net.{at}.bias"), vec![outputs]));
        }
        entries.push((format!("norm_layers.{layer}.weight"), vec![DIM]));
        entries.push((format!("norm_layers.{layer}.bias"), vec![DIM]));
    }
    let tensors: Vec<(String, Tensor)> = entries
        .into_iter()
        .map(|(name, shape)| {
            let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
            let key = format!("cluster.{name}");
            let values = seeded::tensor(&Entry { key: key.clone(), shape, used: Use::Unused });
            (key, Tensor::from_slice(&values).reshape(sides))
        })
        .collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}

/// The backbone of a whole model's file as a file of its own, as DINO's is, after `change`.
pub fn flat(whole: &Path, out: &Path, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let bytes = fs::read(whole).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = Tensor::read_safetensors(whole).unwrap().into_iter();
    let mut tensors: BTreeMap<String, Tensor> =
        file.filter_map(|(key, tensor)| Some((key.strip_prefix("vit_model.")?.to_owned(), tensor))).collect();
    change(&mut tensors);
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(key, tensor)| {
            let values = Vec::<f32>::try_from(tensor.contiguous().flatten(0, -1)).unwrap();
            let shape = tensor.size().into_iter().map(|side| side as usize).collect();
            (key, shape, values.into_iter().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let views =
        data.iter().map(|(key, shape, bytes)| (key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(out, safetensors::serialize(views, metadata.metadata().clone()).unwrap()).unwrap();
}
