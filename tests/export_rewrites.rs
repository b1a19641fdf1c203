//! The switches of the exported graph: each rewrite computes the same function, and what is left out is really left out.
//!
//! Needs ONNX Runtime (`ORT_DYLIB_PATH`); fails without it. Not covered: what a rewrite saves in time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy does not take helpers of tests for tests
#![cfg(feature = "onnx")]

mod export_support;

use export_support::{
    ACTIONS, TOLERANCE, Tensors, bytes, description, difference,
    reference::Reference,
    revealing_toy,
    runtime::{run, session},
    seeded_tensors, write_weights,
};
use looptrans_ros::{
    contract::{PresenceSource, Size},
    export::{
        ExportError,
        graph::Batch,
        recipe::GraphOptions,
        rewrites::{Rewrite, Rewrites},
        seeded::Architecture,
        theta_pixel,
        weights::Weights,
    },
    onnx::proto::{Dimension, ModelProto},
};
use ndarray::{ArrayD, Axis, Ix3};
use prost::Message;

fn weights(tensors: &Tensors, heads: usize) -> Weights {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_weights(&path, tensors, &description(&ACTIONS, heads));
    Weights::read(&path, PresenceSource::Scam).unwrap()
}

fn options(weights: &Weights, rewrites: Rewrites) -> GraphOptions {
    GraphOptions { rewrites, ..GraphOptions::new(weights, PresenceSource::Scam) }
}

/// heatmap [A, h, w] and presence [A] for one image.
fn answer(model: &ModelProto, image: &ArrayD<u8>) -> [ArrayD<f32>; 2] {
    let outputs = run(&mut session(&model.encode_to_vec()), image.view(), &["heatmap", "presence"]);
    outputs.into_iter().map(|output| output.index_axis_move(Axis(0), 0)).collect::<Vec<_>>().try_into().unwrap()
}

fn node_count(model: &ModelProto, operator: &str) -> usize {
    model.graph.as_ref().unwrap().node.iter().filter(|node| node.op_type == operator).count()
}

#[test]
fn every_switch_by_itself_and_all_of_them_compute_the_reference() {
    let (toy, tensors) = revealing_toy();
    let reference = Reference::new(&tensors, toy.heads, toy.depth);
    let image = bytes("rewrites", &[1, 56, 56, 3]);
    let rgb = image.index_axis(Axis(0), 0).to_owned().into_dimensionality::<Ix3>().unwrap();
    let features = reference.adapt(&reference.descriptor(&rgb));
    // Not all, and not in order: cuts have something to cut.
    let asked = [2, 0];
    let maps = reference.class_maps(&reference.branch("pixel_dec", &features)).select(Axis(0), &asked);
    let scored = reference.class_maps(&reference.branch("scam", &features));
    let presence = reference.presence(&scored).select(Axis(0), &asked);

    let weights = weights(&tensors, toy.heads);
    let full = Rewrites::standard();
    let alone = Rewrite::ALL.map(|rewrite| if full.has(rewrite) { full.without(rewrite) } else { full.with(rewrite) });
    let only = Rewrite::ALL.map(|rewrite| Rewrites::none().with(rewrite));
    for rewrites in alone.into_iter().chain(only).chain([full, Rewrites::none()]) {
        let options = GraphOptions { classes: asked.to_vec(), ..options(&weights, rewrites) };
        let found = answer(&theta_pixel::model(&weights, &options).unwrap(), &image);
        for (found, expected) in found.iter().zip([maps.clone().into_dyn(), presence.clone().into_dyn()]) {
            assert_eq!(found.shape(), expected.shape());
            let off = difference(found.iter().copied(), expected);
            assert!(off < TOLERANCE, "{:?}: {off:e}", rewrites.iter().map(Rewrite::name).collect::<Vec<_>>());
        }
    }
}

#[test]
fn each_switch_changes_the_graph_as_its_name_says() {
    let (toy, tensors) = revealing_toy();
    let weights = weights(&tensors, toy.heads);
    let model = |rewrites| theta_pixel::model(&weights, &options(&weights, rewrites)).unwrap();
    let full = Rewrites::standard();
    // (rewrite, an operator, how many without it, how many with it); the toy has two blocks.
    let cases = [
        (Rewrite::Trim, "Softmax", 2, 1),
        (Rewrite::FoldBatchNorm, "BatchNormalization", 4, 0),
        (Rewrite::FoldNormalisation, "Div", 2, 0),
        (Rewrite::FoldScale, "Mul", 1, 0),
        // Of queries, keys and values one product, and the trimmed block's.
        (Rewrite::SplitProjection, "Gather", 4, 1),
        // Three norms of blocks, the adapter's.
        (Rewrite::FusedOperators, "LayerNormalization", 0, 4),
        (Rewrite::FusedAttention, "MultiHeadAttention", 0, 1),
    ];
    for (rewrite, operator, without, with) in cases {
        assert_eq!(node_count(&model(full.without(rewrite)), operator), without, "{operator} without {rewrite}");
        assert_eq!(node_count(&model(full.with(rewrite)), operator), with, "{operator} with {rewrite}");
    }
    let channels = |rewrites, classes: &[usize]| {
        let options = GraphOptions { classes: classes.to_vec(), ..options(&weights, rewrites) };
        let graph = theta_pixel::model(&weights, &options).unwrap().graph.unwrap();
        graph.initializer.iter().find(|tensor| tensor.name == "aff_fc/weight").unwrap().dims[0]
    };
    let (actions, noise) = (3, 15);
    assert_eq!(channels(full, &[1]), 1);
    assert_eq!(channels(full.without(Rewrite::CutActions), &[1]), actions);
    assert_eq!(channels(full.without(Rewrite::CutNoise), &[1]), 1 + noise);
    assert_eq!(channels(Rewrites::none(), &[1]), actions + noise);
}

/// Numbers too large for f32 in what only the last block's MLP computes: a graph that keeps it alive says NaN.
#[test]
fn an_untrimmed_graph_really_computes_the_last_block() {
    let (toy, mut tensors) = revealing_toy();
    let key = "vit_model.blocks.1.mlp.fc2.weight";
    tensors.iter_mut().find(|(entry, _)| entry.key == key).unwrap().1.fill(f32::MAX);
    let weights = weights(&tensors, toy.heads);
    let image = bytes("rewrites", &[1, 56, 56, 3]);
    let finite = |rewrites| {
        let model = theta_pixel::model(&weights, &options(&weights, rewrites)).unwrap();
        answer(&model, &image)[0].iter().all(|value| value.is_finite())
    };
    assert!(finite(Rewrites::standard()));
    assert!(!finite(Rewrites::standard().without(Rewrite::Trim)));
    assert!(!finite(Rewrites::none()));
}

#[test]
fn an_untrimmed_graph_needs_the_whole_last_block() {
    let (toy, mut tensors) = revealing_toy();
    tensors.retain(|(entry, _)| entry.key != "vit_model.blocks.1.mlp.fc2.bias");
    let weights = weights(&tensors, toy.heads);
    theta_pixel::model(&weights, &options(&weights, Rewrites::standard())).unwrap();
    let error = theta_pixel::model(&weights, &options(&weights, Rewrites::none())).unwrap_err();
    assert!(error.to_string().contains("1 missing: vit_model.blocks.1.mlp.fc2.bias"), "{error}");
}

/// The bar: 1e-5 of the range; measured 0.
#[test]
fn twelve_blocks_trimmed_and_untrimmed_agree() {
    let tiny = Architecture::named("vit_tiny_16").unwrap();
    let weights = weights(&seeded_tensors(&tiny.sizes(ACTIONS.len())), tiny.heads);
    let image = bytes("trim", &[1, 224, 224, 3]);
    let maps = |rewrites| {
        let [maps, _] = answer(&theta_pixel::model(&weights, &options(&weights, rewrites)).unwrap(), &image);
        maps
    };
    let (trimmed, untrimmed) = (maps(Rewrites::standard()), maps(Rewrites::standard().without(Rewrite::Trim)));
    let most = untrimmed.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = most - untrimmed.iter().copied().fold(f32::INFINITY, f32::min);
    let off = trimmed.iter().zip(&untrimmed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / range;
    assert!(range > 0.1 && off <= 1e-5, "{off:e} of {range}");
}

#[test]
fn only_a_graph_that_is_asked_to_leaves_the_standard_operators() {
    let (toy, tensors) = revealing_toy();
    let weights = weights(&tensors, toy.heads);
    let domains = |rewrites| {
        let model = theta_pixel::model(&weights, &options(&weights, rewrites)).unwrap();
        let nodes = model.graph.unwrap().node;
        let imported: Vec<String> = model.opset_import.into_iter().map(|set| set.domain).collect();
        (imported, nodes.iter().any(|node| !node.domain.is_empty()))
    };
    for rewrites in [Rewrites::standard(), Rewrites::none()] {
        assert_eq!(domains(rewrites), (vec![String::new()], false));
    }
    let fused = Rewrites::standard().with(Rewrite::FusedAttention);
    assert_eq!(domains(fused), (vec![String::new(), "com.microsoft".to_owned()], true));
}

#[test]
fn a_static_graph_has_no_side_that_varies_and_the_same_answer() {
    let (toy, tensors) = revealing_toy();
    let weights = weights(&tensors, toy.heads);
    let varying = options(&weights, Rewrites::standard());
    let fixed = GraphOptions { batch: Batch::One, ..varying.clone() };
    let [varying, fixed] = [varying, fixed].map(|options| theta_pixel::model(&weights, &options).unwrap());
    let varies = |model: &ModelProto| {
        let graph = model.graph.as_ref().unwrap();
        let shapes =
            graph.input.iter().chain(&graph.output).filter_map(|port| port.r#type.as_ref()?.tensor_type.as_ref());
        let dims = shapes.flat_map(|tensor| &tensor.shape.as_ref().unwrap().dim);
        dims.filter(|dim| matches!(dim.value, Some(Dimension::Param(_)))).count()
    };
    assert_eq!((varies(&varying), varies(&fixed)), (3, 0));
    let image = bytes("static", &[1, 56, 56, 3]);
    assert_eq!(answer(&fixed, &image), answer(&varying, &image));
}

#[test]
fn inputs_need_not_be_square_nor_of_the_trained_size() {
    let (toy, tensors) = revealing_toy();
    let weights = weights(&tensors, toy.heads);
    for (height, width) in [(56, 56), (40, 72), (72, 40), (8, 8), (112, 112)] {
        let options = GraphOptions { input: Size { height, width }, ..options(&weights, Rewrites::standard()) };
        let image = bytes("sizes", &[1, height as usize, width as usize, 3]);
        let [maps, _] = answer(&theta_pixel::model(&weights, &options).unwrap(), &image);
        assert_eq!(maps.shape(), [3, height as usize / 8, width as usize / 8]);
    }
    for (height, width) in [(0, 56), (57, 56), (56, 60), (8200, 56), (u32::MAX, u32::MAX)] {
        let options = GraphOptions { input: Size { height, width }, ..options(&weights, Rewrites::standard()) };
        let error = theta_pixel::model(&weights, &options).unwrap_err();
        assert!(matches!(error, ExportError::InputSize { .. }), "{error}");
        assert!(
            error.to_string().contains("multiples of the patch, 8") && error.to_string().contains(&width.to_string())
        );
    }
}

/// DINO was published with patches of 8 and 16; 14 is here because nothing else depends on it.
#[test]
fn patches_of_8_14_and_16_work_with_twelve_blocks() {
    for patch in [8, 14, 16] {
        let shape = Architecture { name: "deep", dim: 48, depth: 12, heads: 3, patch, grid: 3 };
        let weights = weights(&seeded_tensors(&shape.sizes(ACTIONS.len())), shape.heads);
        let image = bytes("patches", &[1, 3 * patch, 3 * patch, 3]);
        let found = [Rewrites::standard(), Rewrites::none()].map(|rewrites| {
            let [maps, _] = answer(&theta_pixel::model(&weights, &options(&weights, rewrites)).unwrap(), &image);
            maps
        });
        let off = difference(found[0].iter().copied(), found[1].mapv(f64::from));
        assert!(off < 10.0 * TOLERANCE, "patch {patch}: {off:e}");
    }
}

#[test]
fn locate_s_weights_are_the_same_graph_by_their_own_names() {
    let (toy, mut tensors) = revealing_toy();
    let image = bytes("locate", &[1, 56, 56, 3]);
    let maps = |tensors: &Tensors| {
        let weights = weights(tensors, toy.heads);
        answer(&theta_pixel::model(&weights, &options(&weights, Rewrites::standard())).unwrap(), &image)
    };
    let expected = maps(&tensors);
    for (entry, _) in &mut tensors {
        entry.key = entry.key.replace("pixel_dec.", "aff_ego_proj.").replace("scam.", "aff_exo_proj.");
    }
    assert_eq!(maps(&tensors), expected);

    tensors.retain(|(entry, _)| entry.key != "aff_ego_proj.0.bias");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_weights(&path, &tensors, &description(&ACTIONS, toy.heads));
    let error = Weights::read(&path, PresenceSource::Scam).unwrap_err().to_string();
    assert!(error.ends_with("1 missing: aff_ego_proj.0.bias"), "{error}");
}
