//! One LoopTrans training step at batch 16 on ViT-S/16, two ways in turn on the same network and the same draws: features
//! read from a store and losses on the whole batch; and, as published, the backbone run live and losses sample by sample.
//!
//! `source scripts/env-train.sh && cargo bench --features train --bench train_step [-- ROUNDS]` prints the medians of
//! both and of their ratio within a round, and the peak resident memory. The losses differ by the step between them.

use std::{error::Error, fs, path::Path, sync::atomic::AtomicBool, time::Instant};

use image::{Rgb, RgbImage};
use looptrans_ros::{
    data::{
        Dataset,
        augment::{Augmentation, ResizeRule},
        index::Source,
        sampling::{Sample, Sampler, Variants},
    },
    export::{layout::Sizes, seeded::Architecture},
    perceive::decode::Limits,
    train::{
        backbone::{Features, Keys},
        concepts::spherical_k_means,
        features::{FeatureSource, Live, LiveParts},
        looptrans::{LoopTrans, Step},
        loss_report::System,
        losses::looptrans::{Inputs, Options, Weights, terms},
        optimizer::{Optimizer, Sgd},
        ranks::Alone,
        run::{Device, Job},
        settings::Settings,
        store::{Builder, Precision, Reading, Recipe, Store},
    },
};
use tch::{Tensor, nn::VarStore};

const BATCH: i64 = 16;
const EXO: i64 = 3;
const ACTIONS: i64 = 36;
const PARTS: i64 = 4;
const LIMITS: Limits = Limits { max_image_pixels: 10_000_000 };

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir()?;
    draw_pictures(folder.path())?;
    let dataset = Dataset::open(&Source { root: folder.path(), split: None, affordances: &[] })?;
    let sizes = Architecture::named("vit_small_16").ok_or("no ViT-S/16")?.sizes(ACTIONS as usize);
    let parameters = VarStore::new(Device::Cpu);
    let network = LoopTrans::new(&parameters.root(), &sizes);
    for (_, mut parameter) in parameters.variables().into_iter().filter(|(name, _)| name.starts_with("vit_model.")) {
        let _ = parameter.requires_grad_(false);
    }
    let augmentation = Augmentation { resize: ResizeRule::Square, resized: 256, crop: 224 };
    let mut store = store(folder.path(), &dataset, (&parameters, &sizes, augmentation))?;
    let backbone = &network.backbone;
    let device = Device::Cpu;
    let mut live = Live::new(LiveParts { backbone, dataset: &dataset, augmentation, limits: LIMITS, device });
    let mut optimizer = Optimizer::new(&parameters, Sgd::default());
    let sampler = Sampler::new(&dataset, 1, Variants::Fixed(1));
    let order = sampler.order(0);
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    // The first round warms both up.
    for round in 0..=rounds {
        let samples: Vec<Sample> =
            (0..BATCH as usize).map(|place| sampler.sample(order[place % order.len()], round, place as u64)).collect();
        let started = Instant::now();
        let batch = Batch::read(&mut store, &samples)?;
        let total = whole(&network, &batch)?;
        let loss = total.double_value(&[]);
        optimizer.step(&optimizer.gradients(&total), 1e-6);
        let from_store = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let batch = Batch::read(&mut live, &samples)?;
        let total = sample_by_sample(&network, &batch)?;
        optimizer.step(&optimizer.gradients(&total), 1e-6);
        let as_published = started.elapsed().as_secs_f64();
        if round > 0 {
            let again = total.double_value(&[]);
            println!(
                "round {round}: store {from_store:.3} s (loss {loss:.4}), live {as_published:.3} s (loss {again:.4})"
            );
            fast.push(from_store);
            slow.push(as_published);
        }
    }
    let ratios: Vec<f64> = fast.iter().zip(&slow).map(|(fast, slow)| fast / slow).collect();
    let [fast, slow, ratio] = [fast, slow, ratios].map(median);
    println!("medians: store {fast:.3} s, live {slow:.3} s, ratio within a round {ratio:.3}");
    let status = fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no VmHWM"));
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One object of one action: 16 exocentric and 16 egocentric JPEGs of AGD20K's usual size.
fn draw_pictures(folder: &Path) -> Result<(), Box<dyn Error>> {
    for view in ["exocentric", "egocentric"] {
        let folder = folder.join(format!("trainset/{view}/cut/knife"));
        fs::create_dir_all(&folder)?;
        for n in 0..BATCH as u32 {
            let picture = RgbImage::from_fn(480, 360, |x, y| {
                Rgb([(x * (n + 1) / 3) as u8, (y * 2 + n) as u8, ((x * y) / (n + 90)) as u8])
            });
            picture.save(folder.join(format!("{n}.jpg")))?;
        }
    }
    Ok(())
}

/// A store of one variant of each picture, by this network's backbone.
fn store(
    folder: &Path,
    dataset: &Dataset,
    (parameters, sizes, augmentation): (&VarStore, &Sizes, Augmentation),
) -> Result<Store, Box<dyn Error>> {
    let (file, out) = (folder.join("backbone.safetensors"), folder.join("store"));
    let own = parameters.variables();
    let own: Vec<(&str, &Tensor)> =
        own.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("vit_model.")?, tensor))).collect();
    Tensor::write_safetensors(&own, &file)?;
    let stop = AtomicBool::new(false);
    let job = Job { dataset, device: Device::Cpu, limits: LIMITS, stop: &stop, ranks: &Alone };
    let settings = Settings::published(System::LoopTrans);
    let (precision, variants) = (Precision::F32, 1);
    let recipe = Recipe {
        backbone: &file,
        augmentation: settings.augmentation,
        variants,
        precision,
        keys: Keys::Last,
        out: &out,
    };
    Builder::new(recipe, job)?.run(&mut |_| {})?;
    let (folder, verify, device) = (out.as_path(), false, Device::Cpu);
    Ok(Store::open(&Reading { folder, verify, parameters, sizes, augmentation, keys: Keys::Last, dataset, device })?)
}

/// A step's features.
struct Batch {
    ego: Features,
    exo: Features,
    labels: Tensor,
}

impl Batch {
    fn read(source: &mut dyn FeatureSource, samples: &[Sample]) -> Result<Self, Box<dyn Error>> {
        let ego = samples.iter().map(|sample| sample.ego);
        let draws: Vec<_> = ego.chain(samples.iter().flat_map(|sample| sample.exo)).collect();
        let features = source.train(&draws)?;
        let labels: Vec<i64> = samples.iter().map(|sample| sample.label as i64).collect();
        Ok(Self {
            ego: part(&features, 0, BATCH),
            exo: part(&features, BATCH, BATCH * EXO),
            labels: Tensor::from_slice(&labels),
        })
    }
}

fn part(features: &Features, start: i64, count: i64) -> Features {
    Features {
        grid: features.grid,
        descriptors: features.descriptors.narrow(0, start, count),
        cls_attention: features.cls_attention.narrow(0, start, count),
    }
}

/// The total loss of a step's maps and the features that they came from.
fn loss(step: &Step, batch: &Batch) -> Result<Tensor, Box<dyn Error>> {
    let saliency = batch.ego.saliency();
    let inputs = Inputs {
        step,
        ego_descriptors: &batch.ego.descriptors,
        exo_descriptors: &batch.exo.descriptors,
        similarity: &spherical_k_means(&batch.ego.descriptors, &saliency, PARTS)?,
        saliency: &saliency,
        labels: &batch.labels,
        actions: ACTIONS,
    };
    Ok(terms(&inputs, &Options::default())?.total(&Weights::default()))
}

fn whole(network: &LoopTrans, batch: &Batch) -> Result<Tensor, Box<dyn Error>> {
    loss(&network.step(&batch.ego, &batch.exo)?, batch)
}

/// Its mean over the samples, each computed alone; the network itself runs on the whole batch, as published.
fn sample_by_sample(network: &LoopTrans, batch: &Batch) -> Result<Tensor, Box<dyn Error>> {
    let step = network.step(&batch.ego, &batch.exo)?;
    let mut sum = Tensor::from(0.0_f32);
    for at in 0..BATCH {
        let own = |tensor: &Tensor| tensor.narrow(0, at, 1);
        let own_step = Step {
            exo_maps: own(&step.exo_maps),
            ego_maps: own(&step.ego_maps),
            pixel_maps: own(&step.pixel_maps),
            exo_logits: own(&step.exo_logits),
            ego_logits: own(&step.ego_logits),
        };
        let (ego, exo) = (part(&batch.ego, at, 1), part(&batch.exo, at * EXO, EXO));
        sum += loss(&own_step, &Batch { ego, exo, labels: own(&batch.labels) })?;
    }
    Ok(sum / BATCH as f64)
}
