//! Models with numbers by rule.

use looptrans_ros::export::{
    layout::{Entry, Sizes, Use, is_counter},
    seeded::{self, Architecture},
};
use looptrans_ros::train::backbone::{Grid, LastBlock};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Noise heads of LoopTrans.
pub const NOISE_HEADS: usize = 15;

pub fn small_16(channels: usize) -> Sizes {
    Sizes { channels, ..Architecture::named("vit_small_16").unwrap().sizes(0) }
}

/// A model whose every parameter has the numbers that follow from its name.
pub fn seeded<M>(build: impl FnOnce(&tch::nn::Path<'_>) -> M) -> (VarStore, M) {
    let parameters = VarStore::new(Device::Cpu);
    let model = build(&parameters.root());
    tch::no_grad(|| {
        for (key, mut parameter) in parameters.variables() {
            if !is_counter(&key) {
                let shape = parameter.size().iter().map(|&side| side as usize).collect();
                parameter.copy_(&rule(&key, shape));
            }
        }
    });
    (parameters, model)
}

fn rule(key: &str, shape: Vec<usize>) -> Tensor {
    let sides: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
    Tensor::from_slice(&seeded::tensor(&Entry { key: key.to_owned(), shape, used: Use::Maps })).reshape(sides)
}

/// u(name, shape) in [-1, 1).
pub fn uniform(name: &str, shape: &[i64]) -> Tensor {
    let values: Vec<f32> = seeded::uniform(name, shape.iter().product::<i64>() as usize).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// An image as the rule has it, taken as already normalised.
pub fn image(name: &str, shape: &[i64]) -> Tensor {
    uniform(name, shape) * 2.0
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.to_kind(Kind::Double).contiguous().flatten(0, -1)).unwrap()
}

pub fn assert_close(what: &str, found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = values(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{what:40} max error {worst:.1e} of {tolerance:.0e}");
    assert!(worst <= tolerance, "{what}: {found:?}, expected {expected:?}");
}

/// Each number within a part of itself, or of the largest.
pub fn assert_relative(what: &str, found: &Tensor, expected: &[f64], tolerance: f64) {
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    assert_close(what, found, expected, tolerance * largest);
}

/// Labels of the two egocentric images of [`views`].
pub const LABELS: [i64; 2] = [3, 20];

/// Two egocentric images and three exocentric ones of each that no network made.
pub fn views() -> (LastBlock, LastBlock) {
    (view("ego", 2, |b| 2 * b), view("exo", 6, |b| 2 * b + 1))
}

/// A last block that no network made: nine groups of similar patches, shifted from image to image, and noise.
pub fn view(tag: &str, images: i64, shift: impl Fn(i64) -> i64) -> LastBlock {
    let base = uniform("key.group", &[9, 6, 64]);
    let noise = uniform(&format!("key.noise.{tag}"), &[images, 6, 197, 64]) * 0.4;
    let keys = (0..images).map(|b| {
        let groups = (0..196).map(|p| ((p / 14 / 5) * 3 + p % 14 / 5 + shift(b) % 9) % 9);
        let groups = Tensor::from_slice(&groups.collect::<Vec<i64>>());
        // [196, 6, 64] -> [6, 196, 64]
        let patches = base.index_select(0, &groups).transpose(0, 1) * 0.8;
        let cls = Tensor::zeros([6, 1, 64], (Kind::Float, tch::Device::Cpu));
        Tensor::cat(&[cls, patches], 1)
    });
    let key = Tensor::stack(&keys.collect::<Vec<_>>(), 0) + noise;
    let attention = (uniform(&format!("attn.{tag}"), &[images, 6, 197, 197]) * 2.0).softmax(-1, Kind::Float);
    LastBlock { grid: Grid { rows: 14, columns: 14 }, key, attention }
}
