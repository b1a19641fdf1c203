//! Numbers that the published code gave for seeded weights (CPU, f32), printed with six to seven digits.

use looptrans_ros::train::{
    backbone::{Backbone, Grid, LastBlock},
    looptrans::LoopTrans,
};
use tch::{IndexOp, Kind, Tensor};

use crate::support::{NOISE_HEADS, assert_close, image, seeded, small_16, uniform};

/// Twelve blocks of f32 sums in another order than the reference's: measured at most 6e-6 on values up to 6.5; another
/// CPU's kernels may differ by more.
const DEEP: f64 = 1e-4;
/// Attention is a probability: measured at most 8e-9, which is the printed digits.
const ATTENTION: f64 = 1e-7;
/// Heads alone: measured at most 1.5e-6, a third of which is rounding of the printed digits.
const SHALLOW: f64 = 1e-5;

/// Labels of the two egocentric images.
const LABELS: [i64; 2] = [3, 20];
const EXO_PER_EGO: i64 = 3;

#[test]
fn the_backbone_gives_dinos_keys_attention_and_descriptors() {
    let (_, backbone) = seeded(|root| Backbone::new(&(root / "vit_model"), &small_16(51)));
    let last = tch::no_grad(|| backbone.forward(&image("img.vit", &[1, 3, 224, 224]))).unwrap();
    assert_eq!(last.grid, Grid { rows: 14, columns: 14 });
    let key = last.key.i((0, 2, 57, ..5));
    assert_close("key[0, 2, 57, :5]", &key, &[-0.463747, 0.675235, -0.957318, 0.417582, -0.478525], DEEP);
    assert_close("mean |key|", &last.key.abs().mean(Kind::Float), &[0.805846], SHALLOW);
    let attention = last.attention.i((0, 1, 0, 1..6));
    let expected = [0.00468477, 0.00714810, 0.00709571, 0.00292058, 0.00493300];
    assert_close("attention[0, 1, 0, 1:6]", &attention, &expected, ATTENTION);
    assert_close("cls_attention[0, 1, :5]", &last.cls_attention().i((0, 1, ..5)), &expected, ATTENTION);
    let expected = [1.831154, -0.481345, 1.267421, 0.105068, -0.786444, 0.130419, 0.792480, 2.891384];
    assert_close("descriptors[0, 10, :8]", &last.descriptors().i((0, 10, ..8)), &expected, DEEP);
}

#[test]
fn the_last_blocks_tokens_are_dinos_before_its_final_norm() {
    let (_, model) = seeded(|root| LoopTrans::new(root, &small_16(51)));
    let (_, trace) = tch::no_grad(|| model.forward_traced(&image("img.vit", &[1, 3, 224, 224]))).unwrap();
    let (_, tokens) = trace.entries().find(|(name, _)| *name == "vit_model.blocks.11").unwrap();
    let expected = [0.771694, -0.625453, 6.516692, 0.042496, -4.531437];
    assert_close("tokens[0, 0, :5]", &tokens.i((0, 0, ..5)), &expected, DEEP);
}

#[test]
fn a_training_step_and_the_evaluation_after_it_are_looptrans() {
    let (parameters, model) = seeded(|root| LoopTrans::new(root, &small_16(36 + NOISE_HEADS)));
    let (ego, exo) = (view("ego", 2, |b| 2 * b), view("exo", 6, |b| 2 * b + 1));
    let step = tch::no_grad(|| model.step(&ego, &exo)).unwrap();

    let expected = [0.255581, 0.344992, 0.568907, 0.131786];
    assert_close("ego saliency[0, :4]", &ego.saliency().i((0, ..4)), &expected, SHALLOW);
    let expected = [-0.412337, -0.193918, -0.323890, 0.505289, 0.443048];
    assert_close("exo logits[0, 0, :5]", &step.exo_logits.i((0, 0, ..5)), &expected, SHALLOW);
    let labels = Tensor::from_slice(&LABELS);
    assert_close("ego cross-entropy", &step.ego_logits.cross_entropy_for_logits(&labels), &[3.808854], SHALLOW);
    let each = (0..EXO_PER_EGO).map(|n| step.exo_logits.i((.., n)).cross_entropy_for_logits(&labels));
    let exo_cross_entropy = Tensor::stack(&each.collect::<Vec<_>>(), 0).mean(Kind::Float);
    assert_close("exo cross-entropy", &exo_cross_entropy, &[3.810517], SHALLOW);

    // The running statistics moved once (Theta_pixel) and are used now.
    let maps = tch::no_grad(|| model.class_maps_of(&ego)).i((.., ..36)).contiguous();
    let map = Tensor::stack(&[maps.i((0, LABELS[0])), maps.i((1, LABELS[1]))], 0);
    let expected = [-0.059733, -0.119458, 0.062291, 0.049708, 0.048292];
    assert_close("eval map[0, 0, :5]", &map.i((0, 0, ..5)), &expected, SHALLOW);
    let first = map.i(0);
    let extremes = Tensor::stack(&[first.min(), first.max()], 0);
    assert_close("eval map[0], least and most", &extremes, &[-0.631353, 0.779473], SHALLOW);

    // Theta_scam saw two batches, Theta_pixel one.
    let counters = parameters.variables();
    for (key, batches) in [("scam.1", 2), ("scam.4", 2), ("pixel_dec.1", 1), ("pixel_dec.4", 1)] {
        assert_eq!(counters[&format!("{key}.num_batches_tracked")].int64_value(&[]), batches, "{key}");
    }
}

/// A last block that no network made: nine groups of similar patches, shifted from image to image, and noise.
fn view(tag: &str, images: i64, shift: impl Fn(i64) -> i64) -> LastBlock {
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
