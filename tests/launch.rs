//! The launch file and the installed files against the node's real parameters, names and topics.
//!
//! `ros2 launch` itself needs a full ROS 2. What it would start is worked out by scripts/demo/launch_args.py, which
//! refuses what it does not understand; that command line is run here. Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use looptrans_ros::config::config_text;
use ros_support::{bridge::Bridge, domain::Domain, node::Node, rig::IMAGE};
use serde_json::json;

const PACKAGE: &str = "looptrans_ros";

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(repository(file)).unwrap()
}

/// The values of `name="..."` in elements `<element `.
fn attributes(xml: &str, element: &str, name: &str) -> Vec<String> {
    let (start, attribute) = (format!("<{element} "), format!(" {name}=\""));
    xml.split(&start)
        .skip(1)
        .filter_map(|rest| {
            let tag = rest.split('>').next()?;
            let value = format!(" {tag}").split_once(&attribute)?.1.to_owned();
            Some(value.split('"').next()?.to_owned())
        })
        .collect()
}

/// A prefix with what the package installs: launch and configuration files, and the toy model as the default bundle.
fn installed() -> tempfile::TempDir {
    let prefix = tempfile::tempdir().unwrap();
    let share = prefix.path().join("share").join(PACKAGE);
    for folder in ["launch", "config", "models/default"] {
        fs::create_dir_all(share.join(folder)).unwrap();
    }
    let copy = |from: PathBuf, to: &str| fs::copy(from, share.join(to)).unwrap();
    copy(repository("launch/affordance.launch.xml"), "launch/affordance.launch.xml");
    for file in ["config/affordance_node.yaml", "config/fastdds_node.xml"] {
        copy(repository(file), file);
    }
    for file in ["model.onnx", "model.yaml"] {
        copy(ros_support::model().join(file), &format!("models/default/{file}"));
    }
    prefix
}

/// What `ros2 launch looptrans_ros affordance.launch.xml ARGUMENTS...` would start.
fn launched(prefix: &Path, arguments: &[&str]) -> Vec<String> {
    let share = prefix.join("share").join(PACKAGE);
    let programs = Path::new(env!("CARGO_BIN_EXE_affordance_node")).parent().unwrap();
    let output = Command::new(ros_support::python())
        .env("PYTHONPATH", repository("scripts"))
        .env_remove("FASTRTPS_DEFAULT_PROFILES_FILE")
        .args(["-m", "demo.launch_args"])
        .args(["--share", &format!("{PACKAGE}={}", share.display())])
        .args(["--programs", &format!("{PACKAGE}={}", programs.display())])
        .arg(share.join("launch/affordance.launch.xml"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    // Printed for a shell; our words have no quotes in them.
    assert!(!line.contains(['\'', '"']), "{line}");
    line.split_whitespace().map(str::to_owned).collect()
}

/// Fast DDS's segments in the process; before it has found others, its own alone.
fn shared_memory_bytes(process: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let segments = maps.lines().filter(|line| line.contains("/dev/shm/fastrtps_") && !line.contains("_port"));
    let size = |line: &str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(start, 16).unwrap()
    };
    segments.map(size).sum()
}

#[test]
fn the_launch_file_starts_the_installed_node_on_the_camera_it_is_given() {
    let prefix = installed();
    let words = launched(prefix.path(), &["image:=/cam/image", "camera_info:=/cam/camera_info", "name:=grip"]);
    let domain = Domain::claim();
    let mut command = Command::new(&words[0]);
    let path = std::env::var("AMENT_PREFIX_PATH").unwrap();
    command.args(&words[1..]).env("AMENT_PREFIX_PATH", format!("{}:{path}", prefix.path().display()));
    domain.apply(&mut command);
    let mut node = Node::spawn(command);
    node.logged("model colours:");
    let shared = shared_memory_bytes(node.id());
    assert!((8 << 20..10 << 20).contains(&shared), "Fast DDS took the node's profile: {shared} bytes");
    let mut peer = Bridge::start(&domain);
    let expected = json!({"/cam/image": [IMAGE], "/cam/camera_info": ["sensor_msgs/msg/CameraInfo"]});
    peer.topics("/grip", |subscribed, published| {
        *subscribed == expected && published["/grip/grasp_regions"].is_array()
    });
    assert_eq!(node.stop("INT").status.code(), Some(0));
}

/// That the package really installs these files is what `tests/colcon.sh` shows.
#[test]
fn the_launch_file_names_what_the_package_installs() {
    let launch = read("launch/affordance.launch.xml");
    assert_eq!(attributes(&launch, "node", "pkg"), [PACKAGE]);
    assert_eq!(attributes(&launch, "node", "exec"), ["affordance_node"]);
    assert!(read("package.xml").contains(&format!("<name>{PACKAGE}</name>")));
    let params_file = &attributes(&launch, "arg", "default")[2];
    assert_eq!(params_file, "$(find-pkg-share looptrans_ros)/config/affordance_node.yaml");
    assert_eq!(read("config/affordance_node.yaml"), config_text(), "the installed file has every real parameter");
}

#[test]
fn the_launch_file_repeats_no_parameter_and_remaps_real_inputs_only() {
    let launch = read("launch/affordance.launch.xml");
    assert_eq!(attributes(&launch, "param", "from"), ["$(var params_file)"]);
    let none: [&str; 0] = [];
    assert_eq!(attributes(&launch, "param", "name"), none, "it would win over the file");
    for input in attributes(&launch, "remap", "from") {
        assert!(["image", "camera_info", "depth/image"].contains(&input.as_str()), "the node has no input {input}");
    }
}
