//! The model that comes with the project: it is whole, small, and its heat means something on drawings.
//! Needs: ONNX Runtime (ORT_DYLIB_PATH).
#![allow(clippy::unwrap_used)]
#![cfg(feature = "onnx")]

mod models;

use std::path::{Path, PathBuf};

use looptrans_ros::{
    contract::Bundle,
    metrics::{Pointing, PointingMean, Protocol},
    perceive::{decode::RgbView, infer::Model, preprocess::Preprocessor},
    synth::{Affordance, Shot, View, kinds::KINDS},
};
use ndarray::ArrayView2;

/// Of no set that the model was trained or looked at with.
const SEED: u64 = 770_077;
const SIDE: usize = 224;
const MOST_BYTES: u64 = 15_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/default")
}

#[test]
fn it_is_whole_trained_and_small() {
    // The checksum is compared on loading.
    let contract = Bundle::load(&folder()).unwrap().contract;
    assert!(contract.provenance.trained);
    assert_eq!(contract.actions, Affordance::ALL.map(Affordance::name));
    let sizes = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let bytes: u64 = sizes.sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}

#[test]
fn its_hottest_spot_is_on_the_part_far_more_often_than_chance() {
    let bundle = Bundle::load(&folder()).unwrap();
    let contract = bundle.contract.clone();
    let grid = (contract.heatmap.height as usize, contract.heatmap.width as usize);
    let mut model = Model::load(&bundle, &models::on_cpu()).unwrap();
    let mut preprocessor = Preprocessor::new(contract.input);
    let seen = (0..KINDS.len()).filter(|kind| !KINDS[*kind].held_out);
    let pairs = seen.flat_map(|kind| KINDS[kind].affordances.iter().map(move |affordance| (kind, *affordance)));
    let all: Vec<Pointing> = pairs
        .map(|(kind, affordance)| {
            let drawn = Shot { kind, affordance, view: View::Test, number: 0 }.draw(SEED, SIDE);
            let size = looptrans_ros::contract::Size { height: SIDE as u32, width: SIDE as u32 };
            let pixels = preprocessor.run(RgbView { size, data: drawn.picture.as_raw() }).unwrap();
            let class = contract.actions.iter().position(|action| action == affordance.name()).unwrap();
            let answer = model.run(pixels).unwrap();
            let map = ArrayView2::from_shape(grid, answer.map(class)).unwrap();
            let mask = ArrayView2::from_shape((SIDE, SIDE), &drawn.mask).unwrap();
            Protocol::default().pointing(map, mask).unwrap()
        })
        .collect();
    let found = PointingMean::of(&all).unwrap();
    println!("{found:?}");
    assert_eq!(found.items, 40);
    assert!(found.hits > 3.0 * found.chance, "{found:?}");
}
