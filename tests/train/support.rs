//! Models with numbers by rule.

use looptrans_ros::export::{
    layout::{Entry, Sizes, Use, is_counter},
    seeded::{self, Architecture},
};
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
