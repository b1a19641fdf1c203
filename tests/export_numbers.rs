//! The exported graph computes LoopTrans: against an independent f64 evaluation, and against values published with the
//! rule for seeded weights (computed by the method authors' own code).
//!
//! Needs ONNX Runtime (`ORT_DYLIB_PATH`); fails without it. Not covered: other execution providers than the CPU.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

mod export_support;

use std::path::Path;

use export_support::{
    ACTIONS, TOLERANCE, Tensors, bytes, description, difference,
    reference::Reference,
    revealing_toy,
    runtime::{run, session},
    seeded_tensors,
};
use looptrans_ros::{
    contract::{Bundle, PresenceSource},
    export::{
        bundle::{self, Settings},
        graph::{Graph, Port},
        heads,
        recipe::Recipe,
        rewrites::Rewrites,
        seeded::Architecture,
        vit::{self, ImageInput},
        weights::Weights,
    },
    onnx::FLOAT,
};
use ndarray::{Array1, Array3, Array4, ArrayD, Axis, Ix3, s};
use prost::Message;

fn settings(presence: PresenceSource, affordances: &[&str]) -> Settings {
    let affordances = affordances.iter().map(|&name| name.to_owned()).collect();
    Settings { affordances, ..Settings::new("toy", presence) }
}

fn export_toy(folder: &Path, presence: PresenceSource, affordances: &[&str]) -> (Bundle, Reference) {
    let (toy, tensors) = revealing_toy();
    let weights = folder.join("toy.safetensors");
    export_support::write_weights(&weights, &tensors, &description(&ACTIONS, toy.heads));
    let place = folder.join("bundle");
    bundle::write(&weights, &place, &settings(presence, affordances)).unwrap();
    (Bundle::load(&place).unwrap(), Reference::new(&tensors, toy.heads, toy.depth))
}

/// Compares a bundle's two outputs for `batch` images with the reference; `classes` are the channels it should give.
fn compare(presence: PresenceSource, affordances: &[&str], classes: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    let (bundle, reference) = export_toy(folder.path(), presence, affordances);
    let mut session = session(&bundle.onnx);
    for batch in [1, 3] {
        let images = bytes("images", &[batch, 56, 56, 3]);
        let [maps, scores] = run(&mut session, images.view(), &["heatmap", "presence"]).try_into().unwrap();
        assert_eq!(maps.shape(), [batch, classes.len(), 7, 7]);
        assert_eq!(scores.shape(), [batch, classes.len()]);
        for (index, image) in images.outer_iter().enumerate() {
            let image = image.to_owned().into_dimensionality::<Ix3>().unwrap();
            let features = reference.adapt(&reference.descriptor(&image));
            let pixel = reference.class_maps(&reference.branch("pixel_dec", &features));
            let scored = match presence {
                PresenceSource::Pixel => pixel.clone(),
                PresenceSource::Scam => reference.class_maps(&reference.branch("scam", &features)),
            };
            let off = difference(maps.index_axis(Axis(0), index).to_owned(), pixel.select(Axis(0), classes));

            assert!(off < TOLERANCE, "heatmap of image {index} of {batch}: {off:e}");
            let expected = reference.presence(&scored).select(Axis(0), classes);
            // Scores at 0, 0.5 or 1 would hide errors.
            assert!(expected.iter().all(|p| (0.02..0.98).contains(p) && (p - 0.5).abs() > 0.01), "{expected}");
            let off = difference(scores.index_axis(Axis(0), index).to_owned(), expected);

            assert!(off < TOLERANCE, "presence of image {index} of {batch}: {off:e}");
        }
    }
}

#[test]
fn a_bundle_with_presence_from_the_shared_branch_computes_the_reference() {
    compare(PresenceSource::Scam, &[], &[0, 1, 2]);
}

#[test]
fn a_bundle_with_presence_from_theta_pixel_computes_the_reference() {
    compare(PresenceSource::Pixel, &[], &[0, 1, 2]);
}

#[test]
fn chosen_affordances_leave_in_the_asked_order_with_presence_still_over_all_channels() {
    compare(PresenceSource::Scam, &["open", "cut"], &[2, 0]);
}

#[test]
fn class_maps_do_not_depend_on_what_else_is_in_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (bundle, _) = export_toy(folder.path(), PresenceSource::Pixel, &[]);
    let mut session = session(&bundle.onnx);
    let images = bytes("images", &[3, 56, 56, 3]);
    let together = run(&mut session, images.view(), &["heatmap"]).remove(0);
    let alone = run(&mut session, images.slice_axis(Axis(0), (1..2).into()), &["heatmap"]).remove(0);
    let off = difference(together.index_axis(Axis(0), 1).to_owned(), alone.mapv(f64::from));
    assert!(off < TOLERANCE, "{off:e}");
}

/// Weights read back from a file of these tensors.
fn read_back(tensors: &Tensors, actions: &[&str], heads: usize) -> Weights {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    export_support::write_weights(&path, tensors, &description(actions, heads));
    Weights::read(&path, PresenceSource::Pixel).unwrap()
}

/// At the trained size, with the standard rewrites.
fn recipe(weights: &Weights) -> Recipe<'_> {
    Recipe::new(weights, weights.sizes.input(), Rewrites::standard()).unwrap()
}

fn assert_close(found: impl IntoIterator<Item = f32>, published: &[f64], tolerance: f64) {
    let found: Vec<f32> = found.into_iter().collect();
    assert_eq!(found.len(), published.len());
    for (found, published) in found.iter().zip(published) {
        assert!((f64::from(*found) - published).abs() < tolerance, "{found} is not {published}");
    }
}

/// The DINO ViT-S/16 with seeded weights and the image 2 * u("img.vit") taken as normalised. The published numbers have
/// 6 decimals and come from another f32 implementation: two such runs agree to about 1e-5 at this depth.
#[test]
fn the_backbone_gives_the_published_keys_and_descriptors() {
    let small = Architecture::named("vit_small_16").unwrap();
    let weights = read_back(&seeded_tensors(&small.sizes(36)), &ACTIONS, small.heads);
    let mut graph = Graph::new("backbone", "");
    let descriptor = vit::descriptor(&mut graph, &recipe(&weights), ImageInput::Normalised).unwrap();
    graph.output(&descriptor.patches, Port { name: "descriptor", data_type: FLOAT, sides: &[196, 384], doc: "" });
    let image = export_support::uniform("img.vit", &[1, 3, 224, 224]) * 2.0;
    let mut session = session(&graph.into_model().encode_to_vec());
    let found = run(&mut session, image.view(), &["descriptor"]).remove(0);

    let published = [1.831154, -0.481345, 1.267421, 0.105068, -0.786444, 0.130419, 0.792480, 2.891384];
    assert_close(found.slice(s![0, 10, ..8]).to_owned(), &published, 5e-5);
    // key[0, head 2, token 57, :5]: token 57 is patch 56, and channel = d * 6 + head.
    let key = (0..5).map(|d| found[[0, 56, d * 6 + 2]]);
    assert_close(key, &[-0.463747, 0.675235, -0.957318, 0.417582, -0.478525], 5e-5);
}

/// The published keys of two egocentric images, made by rule instead of by a backbone: [2][196][384], head fastest.
fn published_descriptors() -> ArrayD<f32> {
    let base = export_support::uniform("key.group", &[9, 6, 64]);
    let noise = export_support::uniform("key.noise.ego", &[2, 6, 197, 64]);
    ArrayD::from_shape_fn(vec![2, 196, 384], |index| {
        let (image, patch, channel) = (index[0], index[1], index[2]);
        let (d, head) = (channel / 6, channel % 6);
        let group = (patch / 14 / 5) * 3 + (patch % 14) / 5;
        0.8 * base[[(group + 2 * image) % 9, head, d]] + 0.4 * noise[[image, head, 1 + patch, d]]
    })
}

/// The heads with seeded weights after one training forward pass has moved the batch normalisations' statistics by
/// their momentum of 0.1; the pass itself is the f64 reference's.
#[test]
fn the_heads_give_the_published_map() {
    // The backbone is replaced by given keys: one block is enough for the file to be whole.
    let heads_only = Architecture { name: "heads", dim: 384, depth: 1, heads: 6, patch: 16, grid: 14 };
    let mut tensors = seeded_tensors(&heads_only.sizes(36));
    let descriptors = published_descriptors();
    let reference = Reference::new(&tensors, 6, 1);
    let features: Vec<Array3<f64>> = descriptors
        .outer_iter()
        .map(|image| reference.adapt(&image.mapv(f64::from).into_dimensionality().unwrap()))
        .collect();
    let moments = reference.branch_moments("pixel_dec", &features);
    for (norm, (mean, variance)) in ["pixel_dec.1", "pixel_dec.4"].into_iter().zip(moments) {
        set(&mut tensors, &format!("{norm}.running_mean"), mean * 0.1);
        set(&mut tensors, &format!("{norm}.running_var"), variance * 0.1 + 0.9);
    }

    let weights = read_back(&tensors, &ACTIONS, 6);
    let mut graph = Graph::new("heads", "");
    let input = graph.input(Port { name: "image", data_type: FLOAT, sides: &[196, 384], doc: "" });
    let recipe = recipe(&weights);
    let features = heads::adapt(&mut graph, &recipe, &input).unwrap();
    let pixel = heads::branch(&mut graph, &recipe, "pixel_dec", &features).unwrap();
    let maps = heads::class_maps(&mut graph, &recipe, &pixel, &[3, 20]).unwrap();
    graph.output(&maps, Port { name: "heatmap", data_type: FLOAT, sides: &[2, 14, 14], doc: "" });
    let mut session = session(&graph.into_model().encode_to_vec());
    let maps = run(&mut session, descriptors.view(), &["heatmap"]).remove(0);
    let maps: Array4<f32> = maps.into_dimensionality().unwrap();

    // Of image 0, label 3.
    let map = maps.slice(s![0, 0, .., ..]);
    assert_close(map.slice(s![0, ..5]).to_owned(), &[-0.059733, -0.119458, 0.062291, 0.049708, 0.048292], 5e-6);
    let least = map.iter().copied().fold(f32::INFINITY, f32::min);
    let most = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert_close([least, most], &[-0.631353, 0.779473], 5e-6);
}

fn set(tensors: &mut Tensors, key: &str, values: Array1<f64>) {
    let (_, tensor) = tensors.iter_mut().find(|(entry, _)| entry.key == key).unwrap();
    *tensor = values.iter().map(|value| *value as f32).collect();
}
