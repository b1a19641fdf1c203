//! Layer by layer against scripts/parity/trace_models.py, an implementation that shares nothing with this one but the
//! rule for the numbers.

use std::{collections::BTreeMap, path::Path, process::Command};

use looptrans_ros::{
    export::{layout::Sizes, seeded::Architecture},
    train::{locate::Locate, looptrans::LoopTrans},
};
use tch::{Kind, Tensor};

use crate::support::{image, seeded, small_16};

/// Largest difference as a part of the tensor's largest value. Both sides run the same libtorch kernels on the same CPU:
/// measured 0, to the last bit. The room is for kernels that choose another order of sums by alignment or thread count.
const TOLERANCE: f64 = 1e-5;

fn reference(case: &str) -> BTreeMap<String, Tensor> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("trace.safetensors");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/parity/trace_models.py");
    let output = Command::new("python3").arg(script).arg(case).arg(&out).output().expect("python3 with torch on PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Tensor::read_safetensors(out).unwrap().into_iter().collect()
}

/// Compares all tensors of both sides, prints a table, and names the first layer that is off.
fn assert_same<'a>(case: &str, found: impl Iterator<Item = (&'a str, &'a Tensor)>) {
    let mut expected = reference(case);
    println!("{case}\n{:36} {:>22} {:>9} {:>9}", "layer", "shape", "max", "relative");
    let mut first_off = None;
    for (name, found) in found {
        let expected = expected.remove(name).unwrap_or_else(|| panic!("{case}: the reference has no {name}"));
        assert_eq!(found.size(), expected.size(), "{case}: {name}");
        let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
        let error = (found - &expected).abs().max().double_value(&[]);
        let relative = error / expected.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
        println!("{name:36} {:>22} {error:9.1e} {relative:9.1e}", format!("{:?}", expected.size()));
        // A NaN is off as well.
        if (relative.is_nan() || relative > TOLERANCE) && first_off.is_none() {
            first_off = Some(format!("{name}: {relative:.1e}"));
        }
    }
    assert!(expected.is_empty(), "{case}: not recorded here: {:?}", expected.keys());
    assert_eq!(first_off, None, "{case}: first layer above {TOLERANCE:.0e}");
}

fn looptrans(case: &str, sizes: &Sizes, shape: &[i64]) {
    let (_, model) = seeded(|root| LoopTrans::new(root, sizes));
    let (maps, trace) = tch::no_grad(|| model.forward_traced(&image("parity.image", shape))).unwrap();
    assert_same(case, trace.entries());
    // The untraced door gives the same.
    assert_eq!(tch::no_grad(|| model.class_maps(&image("parity.image", shape))).unwrap(), maps.pixel);
    let (_, traced) = trace.entries().find(|(name, _)| *name == "scam.maps").unwrap();
    assert_eq!(traced, &maps.scam);
}

#[test]
fn looptrans_is_the_same_layer_by_layer() {
    looptrans("looptrans", &small_16(51), &[1, 3, 224, 224]);
}

#[test]
fn another_image_size_interpolates_positions_as_dino_does() {
    looptrans("looptrans_wide", &small_16(51), &[1, 3, 224, 320]);
}

#[test]
fn patches_of_8_and_three_heads_are_the_same() {
    let sizes = Architecture::named("vit_tiny_8").unwrap().sizes(36);
    looptrans("looptrans_tiny_8", &sizes, &[2, 3, 96, 64]);
}

#[test]
fn the_base_width_is_the_same() {
    let sizes = Sizes { depth: 2, ..Architecture::named("vit_base_16").unwrap().sizes(36) };
    looptrans("looptrans_base_16", &sizes, &[1, 3, 224, 224]);
}

#[test]
fn patches_of_14_are_the_same() {
    let hidden = 512;
    let (block_hidden, adapter_hidden) = (hidden, hidden);
    let sizes = Sizes { dim: 128, depth: 2, heads: 2, patch: 14, grid: 5, block_hidden, adapter_hidden, channels: 51 };
    looptrans("looptrans_patch_14", &sizes, &[1, 3, 112, 98]);
}

#[test]
fn locate_is_the_same_layer_by_layer() {
    let (_, model) = seeded(|root| Locate::new(root, &small_16(36)));
    let picture = image("parity.image", &[1, 3, 224, 224]);
    let (maps, trace) = tch::no_grad(|| model.forward_traced(&picture)).unwrap();
    assert_same("locate", trace.entries());
    assert_eq!(tch::no_grad(|| model.class_maps(&picture)).unwrap(), maps);
}

#[test]
fn a_training_step_is_the_same_and_moves_the_same_statistics() {
    let (parameters, model) = seeded(|root| LoopTrans::new(root, &small_16(51)));
    let (_, trace) = tch::no_grad(|| {
        let ego = model.backbone.forward(&image("parity.ego", &[2, 3, 224, 224])).unwrap();
        let exo = model.backbone.forward(&image("parity.exo", &[4, 3, 224, 224])).unwrap();
        model.step_traced(&ego.features(), &exo.features()).unwrap()
    });
    let is_statistic = |key: &str| key.contains(".running_") || key.ends_with("num_batches_tracked");
    let after: Vec<(String, Tensor)> =
        parameters.variables().into_iter().filter(|(key, _)| is_statistic(key)).collect();
    let after: Vec<(String, Tensor)> = after.into_iter().map(|(key, value)| (format!("after.{key}"), value)).collect();
    assert_same("looptrans_step", trace.entries().chain(after.iter().map(|(key, value)| (key.as_str(), value))));
}
