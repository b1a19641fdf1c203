//! The messages as rclpy reads and writes them, field by field. A wrong order or size of a field in our serialiser fails
//! here.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use looptrans_ros::{
    contract::Size,
    message::{
        bulk::{self, HeatmapsHead, Picture},
        image::{self, Header, Transport},
    },
    perceive::{
        Frame, Pixels, Stamp,
        grasp::GraspRegion,
        heatmap::{HeatImage, HeatRows, Heatmap, HeatmapEncoding, Upsampler},
        pipeline::Perception,
    },
    robot::{PublishFacts, depth::DepthResult},
    ros::regions,
};
use r2r::WrappedTypesupport;
use serde_json::{Value, json};

const STAMP: Stamp = Stamp { sec: -12, nanosec: 345_678_901 };
const HEADER: Header<'static> = Header { stamp: STAMP, frame_id: "optical 🤖" };

fn header() -> Value {
    json!({"stamp": {"sec": -12, "nanosec": 345_678_901}, "frame_id": "optical 🤖"})
}

fn bridge() -> Command {
    let python: PathBuf = std::env::var_os("LOOPTRANS_PYTHON")
        .unwrap_or_else(|| panic!("this test talks to rclpy: run `make setup`, then `source scripts/env.sh`"))
        .into();
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/bridge.py"));
    command
}

/// What rclpy reads in these bytes.
fn read_by_rclpy(message_type: &str, bytes: &[u8]) -> Value {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let output = bridge().args(["--deserialize", message_type]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What rclpy makes of this message.
fn written_by_rclpy(message_type: &str, message: &Value) -> Vec<u8> {
    let mut child =
        bridge().args(["--serialize", message_type]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// A float32 as it comes through JSON: serde_json reads an f64's last digit only nearly right.
fn f(value: f32) -> Value {
    serde_json::from_str(&f64::from(value).to_string()).unwrap()
}

#[test]
fn rclpy_reads_our_images() {
    let heat =
        HeatImage { size: Size { height: 2, width: 3 }, encoding: HeatmapEncoding::Float32, data: (0..24).collect() };
    let mut buffer = Vec::new();
    let message = bulk::write_image(&mut buffer, HEADER, Picture::from(&heat)).unwrap();
    let expected = json!({
        "header": header(), "height": 2, "width": 3, "encoding": "32FC1", "is_bigendian": 0, "step": 12,
        "data": {"hex": "000102030405060708090a0b0c0d0e0f1011121314151617"},
    });
    assert_eq!(read_by_rclpy("sensor_msgs/msg/Image", message), expected);

    let message =
        bulk::write_compressed(&mut buffer, HEADER, "rgb8; jpeg compressed bgr8", &[0xff, 0xd8, 0xff]).unwrap();
    let expected = json!({"header": header(), "format": "rgb8; jpeg compressed bgr8", "data": {"hex": "ffd8ff"}});
    assert_eq!(read_by_rclpy("sensor_msgs/msg/CompressedImage", message), expected);
}

/// One row of mono8 heat, a pixel for each number.
fn heat(map: &[f32]) -> HeatRows {
    let size = Size { height: 1, width: map.len() as u32 };
    let upsampler = Upsampler::new(size, size);
    let mut heat = HeatRows::default();
    upsampler.prepare(map, &upsampler.scale(map).unwrap(), HeatmapEncoding::Mono8, &mut heat);
    heat
}

#[test]
fn rclpy_reads_our_heatmaps_field_by_field() {
    // Two maps, names and data of odd lengths: every alignment between the fields occurs.
    let heatmap = |class_id: u16, affordance: &str, map: &[f32]| Heatmap {
        class_id,
        affordance: affordance.into(),
        presence: 0.1 + f32::from(class_id),
        peak: 0.2 + f32::from(class_id),
        peak_x: 0.3 + f32::from(class_id),
        peak_y: 0.4 + f32::from(class_id),
        heat: heat(map),
        scale_x: 0.5 + f32::from(class_id),
        scale_y: 0.6 + f32::from(class_id),
    };
    let maps = [heatmap(7, "cut_with", &[0.0, 0.2, 1.0]), heatmap(513, "hold", &[1.0, 0.0, 0.4, 0.8, 0.6])];
    let head = HeatmapsHead { header: HEADER, model_id: "toy:0123456789ab", source: Size { height: 480, width: 641 } };
    // What a longer message left there does not show.
    let mut buffer = vec![9; 10_000];
    let message = bulk::write_heatmaps(&mut buffer, &head, &maps).unwrap();

    let expected = |map: &Heatmap, data: &str| {
        json!({
            "affordance": &*map.affordance, "class_id": map.class_id, "presence": f(map.presence),
            "peak": f(map.peak), "peak_x": f(map.peak_x), "peak_y": f(map.peak_y),
            "image": {
                "header": header(), "height": 1, "width": map.heat.size().width, "encoding": "mono8",
                "is_bigendian": 0, "step": map.heat.size().width, "data": {"hex": data},
            },
            "scale_x": f(map.scale_x), "scale_y": f(map.scale_y),
        })
    };
    let expected = json!({
        "header": header(), "model_id": "toy:0123456789ab", "source_width": 641, "source_height": 480,
        "heatmaps": [expected(&maps[0], "0033ff"), expected(&maps[1], "ff0066cc99")],
    });
    assert_eq!(read_by_rclpy("looptrans_ros/msg/HeatmapArray", message), expected);
}

#[test]
fn rclpy_reads_our_regions_field_by_field() {
    let region = GraspRegion {
        class_id: 515,
        affordance: "pick_up".into(),
        score: 0.01,
        score_peak: 0.02,
        contour: vec![[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]],
        center: [0.03, 0.04],
        size: [0.05, 0.06],
        theta_rad: 0.07,
        point: [0.08, 0.09],
        closing_angle_rad: -0.1,
        flags: 80,
    };
    let perception =
        Perception { source: Size { height: 480, width: 641 }, regions: vec![region], ..Perception::default() };
    let pixels = Pixels::Compressed { format: "", data: &[] };
    let frame = Frame { stamp: STAMP, frame_id: HEADER.frame_id, pixels };
    let facts = PublishFacts { age_nanos: 1_250_000_000, frames_dropped: 3 };
    let message = regions::message(&frame, &perception, &DepthResult::default(), &facts, "toy:0123456789ab");

    let point = |x: f32, y: f32| json!({"x": f(x), "y": f(y), "z": 0.0});
    let unknown = json!({"x": "nan", "y": "nan", "z": "nan"});
    let expected = json!({
        "header": header(), "model_id": "toy:0123456789ab", "source_width": 641, "source_height": 480,
        "age": {"sec": 1, "nanosec": 250_000_000}, "frames_dropped": 3, "depth_state": 0,
        "regions": [{
            "affordance": "pick_up", "class_id": 515, "score": f(0.01), "score_peak": f(0.02),
            "contour": [point(1.5, 2.5), point(3.5, 4.5), point(5.5, 6.5)],
            "center_x": f(0.03), "center_y": f(0.04), "size_x": f(0.05), "size_y": f(0.06), "theta": f(0.07),
            "point_x": f(0.08), "point_y": f(0.09), "closing_angle": f(-0.1),
            "has_3d": false,
            "pose": {"position": unknown, "orientation": {"x": "nan", "y": "nan", "z": "nan", "w": "nan"}},
            "width": "nan", "length": "nan", "width_stddev": "nan", "surface_normal": unknown, "depth": "nan",
            "depth_valid_ratio": 0.0, "track_id": "", "flags": 80,
        }],
    });
    let bytes = message.to_serialized_bytes().unwrap();
    assert_eq!(read_by_rclpy("looptrans_ros/msg/GraspRegionArray", &bytes), expected);
}

#[test]
fn we_read_what_rclpy_writes() {
    let message = json!({
        "header": header(), "height": 1, "width": 2, "encoding": "mono16", "is_bigendian": 1, "step": 5,
        "data": {"hex": "0102030405"},
    });
    let bytes = written_by_rclpy("sensor_msgs/msg/Image", &message);
    let frame = image::frame(Transport::Raw, &bytes).unwrap();
    assert_eq!((frame.stamp, frame.frame_id), (STAMP, HEADER.frame_id));
    let Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data } = frame.pixels else {
        panic!("expected a raw picture");
    };
    assert_eq!((width, height, encoding, is_bigendian, stride_bytes), (2, 1, "mono16", true, 5));
    assert_eq!(data, [1, 2, 3, 4, 5]);

    let message = json!({"header": header(), "format": "png", "data": {"hex": "89504e"}});
    let bytes = written_by_rclpy("sensor_msgs/msg/CompressedImage", &message);
    let frame = image::frame(Transport::Compressed, &bytes).unwrap();
    let Pixels::Compressed { format, data } = frame.pixels else { panic!("expected a compressed picture") };
    assert_eq!((frame.stamp, format, data), (STAMP, "png", &[0x89, 0x50, 0x4e][..]));
}
