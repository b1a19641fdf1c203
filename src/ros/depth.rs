//! Depth at the ROS border: `depth/image` in; `~/grasp_poses` and `~/markers` out.

use std::{sync::Arc, time::Instant};

use r2r::{
    builtin_interfaces::msg::Duration,
    geometry_msgs::msg::{Point, PoseArray, Vector3},
    std_msgs::msg::ColorRGBA,
    visualization_msgs::msg::{Marker, MarkerArray},
};

use super::{
    regions,
    topic::{Maker, Topic},
};
use crate::{
    message::image::{self, Header, Transport},
    perceive::{
        Frame, FrameError,
        depth::{MetricGrasp, Rectification},
        grasp::GraspRegion,
        pipeline::Perception,
    },
    robot::{
        Health, Incoming, PublishError,
        depth::{DepthInbox, DepthResult},
    },
};

/// How long a marker stays when no newer one comes [s].
const LIFETIME_SECONDS: i32 = 1;
/// Thickness of drawn lines [m].
const LINE_M: f64 = 0.004;
/// Length of the arrow that shows the approach [m].
const ARROW_M: f64 = 0.08;
/// Height of letters [m].
const LETTER_M: f64 = 0.02;

/// A serialised depth image.
#[derive(Debug)]
pub struct DepthMessage {
    bytes: Vec<u8>,
    received: Instant,
}

impl Incoming for DepthMessage {
    fn frame(&self) -> Result<Frame<'_>, FrameError> {
        image::frame(Transport::Raw, &self.bytes)
    }

    fn received(&self) -> Instant {
        self.received
    }
}

/// Where a sink gets its depth from.
#[derive(Debug)]
pub struct Source {
    /// Filled by [`receiver`].
    pub inbox: Arc<DepthInbox<DepthMessage>>,
    /// Of the pictures.
    pub rectification: Rectification,
    /// Of their camera.
    pub health: Arc<Health>,
}

/// What is done with each message of the depth topic. One whose header can't be read has no time at which it could
/// count, and none waits that is larger than an image of `max_pixels` may be; the first such one is warned about.
pub fn receiver(inbox: Arc<DepthInbox<DepthMessage>>, max_pixels: u32) -> impl FnMut(Vec<u8>) + Send + 'static {
    // 32FC1, and a header.
    let most = 4 * u64::from(max_pixels) + (64 << 10);
    let mut warned = false;
    move |bytes| {
        let length = bytes.len();
        let refused = match image::header(&bytes).map(|header| header.stamp) {
            Ok(_) if length as u64 > most => format!("{length} bytes, more than max_image_pixels allows"),
            Ok(stamp) => return inbox.offer(stamp, DepthMessage { bytes, received: Instant::now() }, length),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut warned, true) {
            tracing::warn!("a depth image is ignored: {refused}");
        }
    }
}

/// The topics that only depth can fill.
#[derive(Debug)]
pub struct Topics {
    grasp_poses: Topic<PoseArray>,
    markers: Topic<MarkerArray>,
    /// Markers shown, of each kind: those beyond the next picture's are deleted.
    shown: usize,
}

impl Topics {
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub fn create(maker: &mut Maker<'_>) -> Result<Self, PublishError> {
        Ok(Self { grasp_poses: maker.topic("grasp_poses")?, markers: maker.topic("markers")?, shown: 0 })
    }

    /// Publishes the grasps of one picture, best first, to those who listen. None is an answer too.
    pub fn publish(
        &mut self,
        header: Header<'_>,
        perception: &Perception,
        depth: &DepthResult,
    ) -> Result<(), PublishError> {
        let grasps = || perception.regions.iter().zip(&depth.regions).filter_map(|(r, d)| Some((r, d.grasp?)));
        if self.grasp_poses.is_heard() {
            let poses = grasps().map(|(_, grasp)| regions::pose(&grasp)).collect();
            let message = PoseArray { header: regions::header(header), poses };
            self.grasp_poses.publish(&message)?;
        }
        if !self.markers.is_heard() {
            self.shown = 0;
            return Ok(());
        }
        let mut markers = Vec::new();
        let mut count = 0;
        for (region, grasp) in grasps() {
            markers.extend(draw(header, count, region, &grasp));
            count += 1;
        }
        for id in count..self.shown {
            markers.extend(KINDS.map(|kind| blank(header, kind, id, Marker::DELETE as i32)));
        }
        self.shown = count;
        self.markers.publish(&MarkerArray { markers })
    }
}

/// Namespace and type.
type Kind = (&'static str, i32);

const CLOSING: Kind = ("closing", Marker::LINE_STRIP as i32);
const APPROACH: Kind = ("approach", Marker::ARROW as i32);
const LABEL: Kind = ("label", Marker::TEXT_VIEW_FACING as i32);
const KINDS: [Kind; 3] = [CLOSING, APPROACH, LABEL];

fn blank(header: Header<'_>, (ns, kind): Kind, id: usize, action: i32) -> Marker {
    Marker {
        header: regions::header(header),
        ns: ns.to_owned(),
        // At most max_regions, 256.
        id: id as i32,
        type_: kind,
        action,
        lifetime: Duration { sec: LIFETIME_SECONDS, nanosec: 0 },
        ..Marker::default()
    }
}

/// A line as long as the width where the jaws close, an arrow along the approach, and what it is.
fn draw(header: Header<'_>, id: usize, region: &GraspRegion, grasp: &MetricGrasp) -> [Marker; 3] {
    let colour = |alpha| ColorRGBA { r: 1.0 - region.score, g: region.score, b: 0.2, a: alpha };
    // Points of a marker lie in its pose's frame: x is the closing direction, z the approach.
    let along = |x: f64, z: f64| Point { x, y: 0.0, z };
    let marker = |kind: Kind, scale: [f64; 3]| {
        let mut marker = blank(header, kind, id, Marker::ADD as i32);
        marker.pose = regions::pose(grasp);
        marker.scale = Vector3 { x: scale[0], y: scale[1], z: scale[2] };
        marker.color = colour(0.9);
        marker
    };
    let mut closing = marker(CLOSING, [LINE_M, 0.0, 0.0]);
    closing.points = vec![along(-grasp.width_m / 2.0, 0.0), along(grasp.width_m / 2.0, 0.0)];
    let mut approach = marker(APPROACH, [LINE_M, 2.0 * LINE_M, 3.0 * LINE_M]);
    approach.points = vec![along(0.0, -ARROW_M), along(0.0, 0.0)];
    let mut label = marker(LABEL, [0.0, 0.0, LETTER_M]);
    label.text = format!("{} {:.2}, {:.1} cm", region.affordance, region.score, 100.0 * grasp.width_m);
    [closing, approach, label]
}
