//! Numbers that the published code gave for seeded weights (CPU, f32), printed with six to seven digits.

use looptrans_ros::train::{
    backbone::{Backbone, Grid},
    looptrans::LoopTrans,
};
use tch::{IndexOp, Kind};

use crate::support::{assert_close, image, seeded, small_16};

/// Twelve blocks of f32 sums in another order than the reference's: measured at most 6e-6 on values up to 6.5; another
/// CPU's kernels may differ by more.
const DEEP: f64 = 1e-4;
/// Attention is a probability: measured at most 8e-9, which is the printed digits.
const ATTENTION: f64 = 1e-7;
/// Heads alone: measured at most 1.5e-6, a third of which is rounding of the printed digits.
const SHALLOW: f64 = 1e-5;

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
