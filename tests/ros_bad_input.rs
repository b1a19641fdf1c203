//! Bad input over real topics: each frame is rejected or dropped, counted under its reason, and the next good one is
//! processed.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use image::ImageFormat;
use ros_support::{
    camera,
    rig::{COMPRESSED, REGIONS, Rig, all_ended, count},
};
use serde_json::{Value, json};

/// A good frame with some fields replaced.
fn with(fields: Value) -> Value {
    let mut frame = Rig::good();
    frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    frame
}

/// A good frame with another stamp, `seconds` from now.
fn stamped(seconds: i64) -> Value {
    let mut frame = Rig::good();
    let now = frame["header"]["stamp"]["sec"].as_i64().unwrap();
    frame["header"]["stamp"]["sec"] = json!(now + seconds);
    frame
}

fn raw_cases() -> Vec<(&'static str, Value, &'static str)> {
    let zero_stamp = with(json!({"header": {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": "c"}}));
    let negative_stamp = with(json!({"header": {"stamp": {"sec": -1, "nanosec": 0}, "frame_id": "c"}}));
    let broken_stamp = with(json!({"header": {"stamp": {"sec": 5, "nanosec": 4_000_000_000_u32}, "frame_id": "c"}}));
    let large = camera::image(&image::RgbImage::new(200, 100), "rgb8", 0);
    let black = camera::image(&image::RgbImage::new(96, 64), "rgb8", 0);
    let odd = json!({"encoding": "yuv422", "width": 95, "step": 190, "data": camera::bytes(&vec![0; 190 * 64])});
    vec![
        ("width 0", with(json!({"width": 0})), "bad_image"),
        ("height 0", with(json!({"height": 0})), "bad_image"),
        ("no data", with(json!({"data": camera::bytes(&[])})), "bad_image"),
        ("short data", with(json!({"data": camera::bytes(&[1; 100])})), "bad_image"),
        ("step below a row", with(json!({"step": 287})), "bad_image"),
        ("step 0, data of another length", with(json!({"step": 0, "data": camera::bytes(&[1; 100])})), "bad_image"),
        ("step * height beyond u32", with(json!({"step": u32::MAX})), "bad_image"),
        ("odd width of pixel pairs", with(odd), "bad_image"),
        ("unknown encoding", with(json!({"encoding": "rgb9"})), "encoding"),
        ("no encoding", with(json!({"encoding": ""})), "encoding"),
        ("depth, not colour", with(json!({"encoding": "32FC1"})), "encoding"),
        ("more pixels than allowed", large, "too_large"),
        ("sizes no data could fill", with(json!({"width": 334_692_672, "height": u32::MAX})), "bad_image"),
        ("a black picture, for which this model gives NaN", black, "inference"),
        ("zero stamp", zero_stamp, "stamp"),
        ("negative stamp", negative_stamp, "stamp"),
        ("nanoseconds beyond a second", broken_stamp, "stamp"),
        ("future stamp", stamped(3600), "stamp"),
    ]
}

#[test]
fn each_bad_frame_is_rejected_under_its_reason_and_the_next_good_one_is_processed() {
    let mut rig = Rig::start(json!({"max_image_pixels": 10_000, "input_timeout": 0.3}));
    rig.exchange(&[REGIONS], Rig::good);
    let before = rig.fresh_status();
    let (mut frames_in, mut rejected) = (count(&before, "frames_in"), 0);
    for (name, frame, _) in raw_cases() {
        rig.peer.publish(rig.camera, &frame);
        frames_in += 1;
        rejected += 1;
        let status = rig.settled(frames_in);
        assert_eq!(count(&status, "rejected"), rejected, "{name}: {status}");
        let told = status["reasons"].as_array().unwrap().iter().any(|r| r.as_str().unwrap().contains("rejected"));
        assert!(told, "{name}: the status says why nothing comes: {status}");
    }
    rig.exchange(&[REGIONS], Rig::good);

    let summary = rig.summary();
    let mut expected = std::collections::BTreeMap::<&str, u64>::new();
    for (_, _, reason) in raw_cases() {
        *expected.entry(reason).or_default() += 1;
    }
    assert_eq!(summary["rejected_by"], json!(expected), "{summary}");
    assert_eq!(count(&summary, "waiting"), 0);
}

#[test]
fn odd_but_sound_frames_are_processed() {
    let mut rig = Rig::start(json!({}));
    let tight = camera::thirds().into_raw();
    let longer = [&tight[..], &[9; 50]].concat();
    let (_, usual) = rig.exchange(&[REGIONS], Rig::good);
    for (name, make) in [
        ("step 0 with data of exactly that length", &(|| with(json!({"step": 0}))) as &dyn Fn() -> Value),
        ("data longer than its rows", &|| with(json!({"data": camera::bytes(&longer)}))),
        ("stamps that go back", &|| stamped(-100)),
        ("another encoding", &|| camera::image(&camera::thirds(), "bgr8", 4)),
    ] {
        let (_, messages) = rig.exchange(&[REGIONS], make);
        assert_eq!(messages[0]["regions"], usual[0]["regions"], "{name}");
    }
    let larger = || camera::image(&image::imageops::thumbnail(&camera::thirds(), 192, 100), "rgb8", 0);
    let (_, messages) = rig.exchange(&[REGIONS], larger);
    assert_eq!((&messages[0]["source_width"], &messages[0]["source_height"]), (&json!(192), &json!(100)));
    rig.exchange(&[REGIONS], Rig::good);
}

#[test]
fn a_stamp_is_processed_once() {
    let mut rig = Rig::start(json!({}));
    let (frame, _) = rig.exchange(&[REGIONS], Rig::good);
    let frames_in = count(&rig.fresh_status(), "frames_in");
    rig.peer.publish(rig.camera, &frame);
    rig.settled(frames_in + 1);
    assert_eq!(rig.summary()["dropped_by"]["duplicate"], 1);
}

#[test]
fn frames_older_than_the_limit_are_dropped() {
    let mut rig = Rig::start(json!({"max_input_age": 30.0}));
    rig.exchange(&[REGIONS], Rig::good);
    let frames_in = count(&rig.fresh_status(), "frames_in");
    rig.peer.publish(rig.camera, &stamped(-31));
    rig.settled(frames_in + 1);
    assert_eq!(rig.summary()["dropped_by"]["too_old"], 1);
}

#[test]
fn a_burst_keeps_the_accounting_exact_and_the_newest_frame() {
    let mut rig = Rig::start(json!({}));
    rig.exchange(&[REGIONS], Rig::good);
    let frame = Rig::good();
    rig.peer.flood(rig.camera, &frame, 1000);
    // The depth of both queues is 1, so DDS itself may lose some on the way; what arrived is counted exactly.
    let mut last = frame["header"]["stamp"].clone();
    last["nanosec"] = json!(count(&last, "nanosec") + 999);
    rig.peer.next_that(REGIONS, |message| message["header"]["stamp"] == last);
    rig.fresh_status_that(all_ended);
    let summary = rig.summary();
    assert!(all_ended(&summary), "{summary}");
}

#[test]
fn bad_compressed_pictures_are_rejected_and_bombs_do_not_go_off() {
    let parameters = json!({"image_transport": "compressed", "input_timeout": 0.3});
    let mut rig = Rig::start_on("/cam/image/compressed", COMPRESSED, parameters);
    let good = || camera::compressed(&camera::thirds(), ImageFormat::Jpeg, "jpeg");
    rig.exchange(&[REGIONS], good);
    let jpeg = camera::from_bytes(&good()["data"]);
    let before = rig.fresh_status();
    let mut frames_in = count(&before, "frames_in");
    let bytes_before = anonymous_bytes(rig.node.id());
    for (name, data) in [
        ("no bytes", vec![]),
        ("random bytes", (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("a picture cut short", jpeg[..40].to_vec()),
        ("a PNG header that claims 16384 x 16384 pixels", png_bomb(16384)),
        ("a PNG header that claims 2^31 - 1 pixels a side", png_bomb(i32::MAX as u32)),
    ] {
        rig.peer.publish(rig.camera, &camera::compressed_bytes(&data, "jpeg"));
        frames_in += 1;
        let status = rig.settled(frames_in);
        assert_eq!(count(&status, "rejected"), frames_in - count(&before, "frames_in"), "{name}: {status}");
    }
    let grown = anonymous_bytes(rig.node.id()).saturating_sub(bytes_before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    rig.exchange(&[REGIONS], good);
}

/// A PNG of a few bytes whose header claims `side` x `side` pixels.
fn png_bomb(side: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [&kind[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
    };
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    // An empty zlib stream: 0 bytes of pixels.
    let nothing = [0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &nothing), chunk(b"IEND", &[])].concat()
}

/// The PNG specification, annex D.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn anonymous_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
