//! A node, a peer that plays camera and planner, and what the tests of results do with them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{bridge::Bridge, camera, domain::Domain, node::Node};

pub const IMAGE: &str = "sensor_msgs/msg/Image";
pub const COMPRESSED: &str = "sensor_msgs/msg/CompressedImage";
pub const REGIONS: &str = "/affordance_node/grasp_regions";
pub const STATUS: &str = "/affordance_node/status";
pub const HEATMAPS: &str = "/affordance_node/heatmaps";

/// How long a frame is waited for before it is taken to have come too early for discovery, and sent again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running node and its peer, who have found each other.
pub struct Rig {
    // Dropped in this order: the peer last, so that its log shows nothing of a node that vanished.
    pub node: Node,
    pub peer: Bridge,
    pub camera: &'static str,
    domain: Domain,
}

impl Rig {
    /// A node on `/cam/image` with `more` parameters. Reliable input: what is counted must have arrived.
    pub fn start(more: Value) -> Self {
        Self::start_on("/cam/image", IMAGE, more)
    }

    /// The same on another camera topic.
    pub fn start_on(camera: &'static str, message_type: &str, more: Value) -> Self {
        let domain = Domain::claim();
        let mut parameters = json!({"input_reliability": "reliable"});
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut node = Node::start(&domain, parameters);
        let mut peer = Bridge::start(&domain);
        node.logged("waiting for images");
        peer.advertise(camera, message_type);
        peer.subscribe(REGIONS, "looptrans_ros/msg/GraspRegionArray");
        // Of a status that was followed by others soon, too.
        let latched = json!({"durability": "transient_local", "depth": 100});
        peer.subscribe_with(STATUS, "looptrans_ros/msg/NodeStatus", latched);
        Self { node, peer, camera, domain }
    }

    /// Where they meet.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Subscribes to an output topic.
    pub fn listen(&mut self, topic: &str, message_type: &str) {
        self.peer.subscribe(topic, message_type);
    }

    /// Sends frames made by `make`, each with its own stamp, until one comes back on all these topics. Returns the frame
    /// and the messages.
    pub fn exchange(&mut self, topics: &[&str], make: impl Fn() -> Value) -> (Value, Vec<Value>) {
        for _ in 0..20 {
            let frame = make();
            self.peer.publish(self.camera, &frame);
            if let Some(messages) = self.answers(topics, &frame) {
                return (frame, messages);
            }
        }
        panic!("no frame came back on {topics:?}");
    }

    /// The messages on these topics that carry the frame's stamp.
    pub fn answers(&mut self, topics: &[&str], frame: &Value) -> Option<Vec<Value>> {
        let stamp = &frame["header"]["stamp"];
        let answer =
            |topic: &&str| self.peer.next_within(topic, PATIENCE, |message| message["header"]["stamp"] == *stamp);
        topics.iter().map(answer).collect()
    }

    /// Waits for a status that fits.
    pub fn status(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        self.peer.next_that(STATUS, fits)
    }

    /// A status taken from now on. A frame that has just come on one topic may not be counted as processed yet.
    pub fn fresh_status(&mut self) -> Value {
        self.fresh_status_that(|_| true)
    }

    /// One from now on that fits.
    pub fn fresh_status_that(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let parts = |stamp: &Value| (count(stamp, "sec"), count(stamp, "nanosec"));
        let now = parts(&camera::stamp());
        self.status(|status| parts(&status["header"]["stamp"]) >= now && fits(status))
    }

    /// Waits until all frames sent so far, and no more than these, have ended. Returns that status.
    pub fn settled(&mut self, frames_in: u64) -> Value {
        let status = self.status(|status| count(status, "frames_in") >= frames_in && all_ended(status));
        assert_eq!(count(&status, "frames_in"), frames_in, "{status}");
        status
    }

    /// Stops the node and returns its summary.
    pub fn summary(self) -> Value {
        let ended = self.node.stop("TERM");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended.summary().unwrap()
    }

    /// Any good frame.
    pub fn good() -> Value {
        camera::image(&camera::thirds(), "rgb8", 0)
    }
}

/// A counter of a status or summary.
pub fn count(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_else(|| panic!("{name}: {object}"))
}

/// One affordance's map in a HeatmapArray.
pub fn heatmap<'a>(heatmaps: &'a Value, affordance: &str) -> &'a Value {
    heatmaps["heatmaps"].as_array().unwrap().iter().find(|map| map["affordance"] == affordance).unwrap()
}

/// Has every frame that came in ended, once?
pub fn all_ended(counts: &Value) -> bool {
    count(counts, "processed") + count(counts, "dropped") + count(counts, "rejected") == count(counts, "frames_in")
}
