//! Every encoding a camera may send, over real topics: the same picture gives the same heat.
//!
//! Needs `source scripts/env.sh`. Not asserted: what decoding gives to the last bit (that is for the decoder's tests).
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use image::ImageFormat;
use ros_support::{
    camera::{self, COLOUR_ENCODINGS, WIDTH},
    rig::{COMPRESSED, HEATMAPS, REGIONS, Rig, heatmap},
};
use serde_json::{Value, json};

const ACTIONS: [&str; 3] = ["red", "green", "blue"];

/// The heat of each action.
fn heat(heatmaps: &Value) -> Vec<Value> {
    ACTIONS.iter().map(|action| heatmap(heatmaps, action)["image"]["data"].clone()).collect()
}

/// The hottest place of each action lies in its third of the picture.
fn assert_thirds(heatmaps: &Value, what: &str) {
    for (third, action) in ACTIONS.iter().enumerate() {
        let x = heatmap(heatmaps, action)["peak_x"].as_f64().unwrap();
        let width = f64::from(WIDTH) / 3.0;
        let left = third as f64 * width;
        assert!((left..left + width).contains(&x), "{what}: the peak of {action} lies at x = {x}");
    }
}

#[test]
fn every_raw_encoding_tight_and_padded_gives_the_same_places() {
    let mut rig = Rig::start(json!({}));
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let picture = camera::thirds();
    let (_, reference) = rig.exchange(&[HEATMAPS, REGIONS], || camera::image(&picture, "rgb8", 0));
    assert_thirds(&reference[0], "rgb8");
    for encoding in COLOUR_ENCODINGS {
        let (_, tight) = rig.exchange(&[HEATMAPS, REGIONS], || camera::image(&picture, encoding, 0));
        let (_, padded) = rig.exchange(&[HEATMAPS, REGIONS], || camera::image(&picture, encoding, 10));
        assert_thirds(&tight[0], encoding);
        assert_eq!(heat(&tight[0]), heat(&padded[0]), "{encoding}: padding must not matter");
        assert_eq!(tight[1]["regions"], padded[1]["regions"], "{encoding}: padding must not matter");
        if encoding.ends_with("a8") || *encoding == "bgr8" {
            assert_eq!(heat(&tight[0]), heat(&reference[0]), "{encoding} is rgb8 in another order");
        }
    }
}

#[test]
fn grey_pictures_are_read_in_every_depth_and_byte_order() {
    let mut rig = Rig::start(json!({}));
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let picture = camera::thirds();
    let (_, mono8) = rig.exchange(&[HEATMAPS], || camera::image(&picture, "mono8", 3));
    let (_, little) = rig.exchange(&[HEATMAPS], || camera::mono16(&picture, false));
    let (_, big) = rig.exchange(&[HEATMAPS], || camera::mono16(&picture, true));
    assert_eq!(heat(&little[0]), heat(&mono8[0]), "mono16 holds the same greys");
    assert_eq!(heat(&big[0]), heat(&mono8[0]), "big-endian samples are swapped");
    // Green is the brightest of the three to the eye: ITU-R BT.601.
    let peak = heatmap(&mono8[0], "red")["peak_x"].as_f64().unwrap();
    assert!((32.0..64.0).contains(&peak), "the peak lies at x = {peak}");
}

#[test]
fn jpeg_and_png_come_through_the_compressed_topic_whatever_the_format_says() {
    let mut rig = Rig::start_on("/cam/image/compressed", COMPRESSED, json!({"image_transport": "compressed"}));
    rig.listen(HEATMAPS, "looptrans_ros/msg/HeatmapArray");
    let picture = camera::thirds();
    for (format, says) in [
        (ImageFormat::Png, "rgb8; png compressed bgr8"),
        (ImageFormat::Jpeg, "rgb8; jpeg compressed bgr8"),
        (ImageFormat::Jpeg, "jpeg"),
        (ImageFormat::Png, "jpeg"),
        (ImageFormat::Jpeg, "png"),
    ] {
        let (_, messages) = rig.exchange(&[HEATMAPS], || camera::compressed(&picture, format, says));
        assert_thirds(&messages[0], &format!("{format:?} that says {says}"));
    }
}
