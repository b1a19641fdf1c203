//! Several cameras on one node: whose topics are whose, exact accounts, silence of one, fairness.
//!
//! Needs `source scripts/env.sh`.
#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used)]

#[path = "models/mod.rs"]
mod models;
mod ros_support;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use looptrans_ros::config::{NodeSettings, RosArgs};
use ros_support::{
    bridge::Bridge,
    camera,
    domain::Domain,
    node::Node,
    rig::{IMAGE, STATUS, count},
};
use serde_json::{Value, json};

/// How long a frame is waited for before it is taken to have come too early for discovery, and sent again.
/// Long: a frame that is sent again may displace one that nobody has counted yet.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    node: Node,
    peer: Bridge,
    domain: Domain,
}

/// A node on these cameras, whose parameters are `more`, and a peer who hears each one's regions.
fn start(cameras: &[&str], more: Value, args: &[&str]) -> Rig {
    let domain = Domain::claim();
    let mut parameters = json!({"input_reliability": "reliable", "cameras": cameras});
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut node = Node::start_with(&domain, parameters, args);
    let mut peer = Bridge::start(&domain);
    node.logged("waiting for images");
    let latched = json!({"durability": "transient_local", "depth": 100});
    peer.subscribe_with(STATUS, "looptrans_ros/msg/NodeStatus", latched);
    cameras.iter().for_each(|camera| peer.subscribe(&regions(camera), "looptrans_ros/msg/GraspRegionArray"));
    Rig { node, peer, domain }
}

fn regions(camera: &str) -> String {
    format!("/affordance_node/{camera}/grasp_regions")
}

/// A picture of that size from that camera's optical frame.
fn picture(camera: &str, width: u32, height: u32) -> Value {
    let resized = image::imageops::resize(&camera::thirds(), width, height, image::imageops::FilterType::Nearest);
    let mut message = camera::image(&resized, "rgb8", 0);
    message["header"]["frame_id"] = json!(format!("{camera}_optical"));
    message
}

impl Rig {
    /// Sends frames until one comes back on `topics`. Returns it, the answers, and how many were sent.
    fn exchange(&mut self, image: &str, topics: &[String], make: impl Fn() -> Value) -> (Value, Vec<Value>, u64) {
        for sent in 1..20 {
            let frame = make();
            self.peer.publish(image, &frame);
            let stamp = &frame["header"]["stamp"];
            let answer =
                |topic: &String| self.peer.next_within(topic, PATIENCE, |message| message["header"]["stamp"] == *stamp);
            if let Some(answers) = topics.iter().map(answer).collect() {
                return (frame, answers, sent);
            }
        }
        panic!("no frame came back on {topics:?}");
    }

    /// A status in which so many frames have ended.
    fn settled(&mut self, frames_in: u64) -> Value {
        self.peer.next_that(STATUS, |status| count(status, "frames_in") >= frames_in)
    }

    fn summary(self) -> Value {
        let ended = self.node.stop("TERM");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended.summary().unwrap()
    }
}

fn of_camera<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["cameras"].as_array().unwrap().iter().find(|camera| camera["name"] == name).unwrap()
}

fn assert_adds_up(counts: &Value) {
    let ends = count(counts, "processed") + count(counts, "dropped") + count(counts, "rejected");
    assert_eq!(ends, count(counts, "frames_in"), "{counts}");
}

/// Name, image topic, width, height, frames that are sent beside those that find the way.
const CAMERAS: [(&str, &str, u32, u32, u64); 3] =
    [("left", "/left/image", 96, 64, 4), ("right", "/arm/rgb", 48, 80, 2), ("top", "/top/image", 30, 20, 0)];

#[test]
fn each_camera_has_its_own_topics_headers_and_counts() {
    let names = CAMERAS.map(|camera| camera.0);
    let mut rig = start(&names, json!({}), &["-r", "right/image:=/arm/rgb", "-r", "~/top/heatmap:=/roof/heat"]);
    let heat =
        |name: &str| if name == "top" { "/roof/heat".into() } else { format!("/affordance_node/{name}/heatmap") };
    for (name, image, ..) in CAMERAS {
        rig.peer.advertise(image, IMAGE);
        rig.peer.subscribe(&heat(name), IMAGE);
    }
    let mut sent = Vec::new();
    for (name, image, width, height, more) in CAMERAS {
        let topics = [regions(name), heat(name)];
        let mut all = 0;
        for _ in 0..=more {
            let (frame, answers, tries) = rig.exchange(image, &topics, || picture(name, width, height));
            all += tries;
            assert!(answers.iter().all(|answer| answer["header"] == frame["header"]), "{name}");
            let size = (u64::from(width), u64::from(height));
            assert_eq!((count(&answers[0], "source_width"), count(&answers[0], "source_height")), size);
            assert_eq!((count(&answers[1], "width"), count(&answers[1], "height")), size);
        }
        sent.push(all);
    }
    // Each answer was taken when it came: what is left would be another camera's.
    for name in names {
        let left_over = rig
            .peer
            .next_within(&regions(name), Duration::ZERO, |m| m["header"]["frame_id"] != format!("{name}_optical"));
        assert_eq!(left_over, None, "{name}");
    }
    let status = rig.settled(sent.iter().sum());
    assert_adds_up(&status);
    assert_eq!(count(&status, "frames_in"), sent.iter().sum::<u64>());
    for ((name, image, ..), sent) in CAMERAS.iter().zip(&sent) {
        let camera = of_camera(&status, name);
        assert_adds_up(camera);
        assert_eq!((count(camera, "frames_in"), camera["image_topic"].as_str()), (*sent, Some(*image)));
    }
    let info = json!(["sensor_msgs/msg/CameraInfo"]);
    let expected = json!({"/left/image": [IMAGE], "/arm/rgb": [IMAGE], "/top/image": [IMAGE], "/left/camera_info": info,
        "/right/camera_info": info, "/top/camera_info": info});
    let outputs = ["status", "label_info", "left/overlay/compressed", "right/heatmap/camera_info", "top/heatmaps"];
    let (_, published) = rig.peer.topics("/affordance_node", |subscribed, published| {
        *subscribed == expected && outputs.iter().all(|name| published[format!("/affordance_node/{name}")].is_array())
    });
    assert!(published["/affordance_node/grasp_regions"].is_null(), "{published:?}");
    let summary = rig.summary();
    for ((name, ..), sent) in CAMERAS.iter().zip(&sent) {
        assert_eq!(count(&summary["cameras"][*name], "frames_in"), *sent, "{summary}");
    }
}

#[test]
fn a_silent_camera_is_named_while_the_others_go_on() {
    let mut rig = start(&["left", "right"], json!({"input_timeout": 1.0}), &[]);
    rig.peer.advertise("/left/image", IMAGE);
    let reason = "camera right: no publisher on /right/image (remap it: -r right/image:=/your/camera/image)";
    rig.node.logged("camera right: no frame processed for");
    let deadline = Instant::now() + ros_support::DEADLINE;
    loop {
        rig.exchange("/left/image", &[regions("left")], || picture("left", 96, 64));
        let alone = |status: &Value| status["degraded"] == true && status["reasons"] == json!([reason]);
        if let Some(status) = rig.peer.next_within(STATUS, Duration::from_millis(50), alone) {
            assert_eq!(of_camera(&status, "left")["silence"], "");
            assert!(
                count(of_camera(&status, "left"), "processed") > 0
                    && count(of_camera(&status, "right"), "frames_in") == 0
            );
            assert!(reason.ends_with(of_camera(&status, "right")["silence"].as_str().unwrap()));
            break;
        }
        assert!(Instant::now() < deadline, "no status says that right alone is silent; the log:\n{}", rig.node.log());
    }
    // Two publishers on the topic of one camera.
    let mut other = Bridge::start(&rig.domain);
    other.advertise_with("/left/image", IMAGE, "reliable");
    rig.node.logged("camera left: 2 publishers on /left/image, as if they were one camera: /test_peer, /test_peer");
}

#[test]
fn a_camera_that_floods_starves_no_other() {
    let mut rig = start(&["left", "right"], json!({}), &[]);
    rig.peer.advertise("/right/image", IMAGE);
    let (_, _, mut sent) = rig.exchange("/right/image", &[regions("right")], || picture("right", 48, 80));
    let mut flooder = Bridge::start(&rig.domain);
    flooder.advertise("/left/image", IMAGE);
    let flood = thread::spawn(move || {
        flooder.flood("/left/image", &picture("left", 96, 64), 5000);
        flooder
    });
    let mut answered = 0;
    while !flood.is_finished() || answered == 0 {
        let frame = picture("right", 48, 80);
        rig.peer.publish("/right/image", &frame);
        // Each frame has its turn.
        rig.peer.next_that(&regions("right"), |message| message["header"]["stamp"] == frame["header"]["stamp"]);
        (sent, answered) = (sent + 1, answered + 1);
    }
    // What it sent last may be on its way for as long as it is there.
    let _flooder = flood.join().unwrap();
    rig.peer.next(&regions("left"));
    let summary = rig.summary();
    assert_adds_up(&summary);
    let (left, right) = (&summary["cameras"]["left"], &summary["cameras"]["right"]);
    assert_adds_up(left);
    assert_eq!((count(right, "frames_in"), count(right, "processed")), (sent, sent), "{summary}");
    assert!(count(left, "processed") > 0 && count(left, "frames_in") > count(left, "processed"), "{summary}");
}

#[test]
fn no_camera_can_be_called_as_the_node_s_own_topics_and_services() {
    let domain = Domain::claim();
    let mut node = Node::start_with(&domain, json!({"use_depth": true}), &[]);
    let mut peer = Bridge::start(&domain);
    node.logged("waiting for images");
    let (subscribed, published) = peer.topics("/affordance_node", |subscribed, published| {
        subscribed["/depth/image"].is_array() && published["/affordance_node/heatmap"].is_array()
    });
    let topics = subscribed.as_object().unwrap().keys().chain(published.as_object().unwrap().keys()).cloned();
    let own = topics.chain(peer.services("/affordance_node")).filter_map(|name| {
        let name = name.strip_prefix("/affordance_node/").or_else(|| name.strip_prefix('/'))?;
        Some(name.split('/').next()?.to_owned())
    });
    let global = ["rosout", "parameter_events", "clock", "diagnostics"];
    let own: BTreeSet<String> = own.filter(|name| !global.contains(&name.as_str())).collect();
    assert!(own.contains("heatmap") && own.contains("change_state") && own.contains("depth"), "{own:?}");
    for name in own {
        let args = ["--ros-args", "-p", &format!("cameras:=[{name}]")].map(str::to_owned);
        let overrides = RosArgs::parse(&args, "affordance_node").unwrap().overrides;
        assert!(NodeSettings::from_overrides(&overrides).is_err(), "{name}");
    }
}
