//! One camera: its input topics, its accounting, its output topics. What several cameras would each have lies here, what
//! they would share (the model, the loop) does not.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use r2r::sensor_msgs::msg::CameraInfo;

use super::{
    NodeError,
    depth::{self, DepthMessage},
    inlet::Inlet,
    input::{CameraMessage, CameraTopic},
    publish::{LatestCameraInfo, RosSink, SinkInputs},
    qos,
    spin::{Graph, Spin, Works},
};
use crate::{
    config::{NodeSettings, Reliability, RosArgs},
    robot::{Health, InputFacts, Intake, Sink, depth::DepthInbox},
};

/// The camera's topics, before remapping.
const IMAGE: &str = "image";
const CAMERA_INFO: &str = "camera_info";
const DEPTH: &str = "depth/image";

/// Where the node's frames and orders come in.
pub type RosIntake = Intake<CameraMessage, <RosSink as Sink>::Answer>;

/// Lives as long as the node; its inputs are closed until [`Self::open`].
pub struct Camera {
    /// Where its images come from.
    pub topic: CameraTopic,
    /// What is counted of it, over all activations.
    pub health: Arc<Health>,
    graph: Graph,
    images: Inlet<Vec<u8>>,
    calibrations: Inlet<CameraInfo>,
    latest: LatestCameraInfo,
    /// None: depth is not in use.
    depth: Option<Depth>,
}

/// A camera's depth images.
struct Depth {
    images: Inlet<Vec<u8>>,
    inbox: Arc<DepthInbox<DepthMessage>>,
}

impl Camera {
    /// The one camera of the node.
    pub fn new(works: &mut Works, args: &RosArgs, settings: &NodeSettings) -> Self {
        let topic = CameraTopic::new(IMAGE, args, settings);
        Self {
            health: Arc::new(Health::default()),
            graph: works.watch(topic.resolved.clone()),
            images: Inlet::new(topic.subscribed.clone()),
            calibrations: Inlet::new(CAMERA_INFO.to_owned()),
            latest: LatestCameraInfo::default(),
            depth: settings.use_depth.then(|| Depth { images: Inlet::new(DEPTH.to_owned()), inbox: Arc::default() }),
            topic,
        }
    }

    /// Creates its output topics.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub async fn create_sink(
        &self,
        spin: &Spin,
        settings: Arc<NodeSettings>,
        model_id: String,
    ) -> Result<RosSink, NodeError> {
        let latest = self.latest.clone();
        let depth = self
            .depth
            .as_ref()
            .map(|depth| depth::Source { inbox: depth.inbox.clone(), rectification: self.topic.rectification() });
        let inputs = SinkInputs { camera_info: latest, depth };
        let sink = spin.call(move |works| RosSink::create(works, &settings, model_id, inputs)).await??;
        Ok(sink)
    }

    /// Subscribes to its inputs. The intake is a new one, which counts in [`Self::health`].
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub async fn open(&self, spin: &Spin) -> Result<Arc<RosIntake>, NodeError> {
        let intake = Arc::new(Intake::new([self.health.clone()]));
        let (images, calibrations, topic) = (self.images.clone(), self.calibrations.clone(), self.topic.clone());
        let (latest, offered) = (self.latest.clone(), intake.clone());
        // A calibration from before is of a camera that may have been changed meanwhile.
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.health.resumed(Instant::now());
        let depth = self.depth.as_ref().map(|depth| {
            depth.inbox.clear();
            (depth.images.clone(), depth.inbox.clone())
        });
        spin.call(move |works| {
            if let Some((images, inbox)) = depth {
                let subscribe =
                    |node: &mut r2r::Node, name: &str| node.subscribe_raw(name, "sensor_msgs/msg/Image", qos::depth());
                images.open(works, subscribe, depth::receiver(inbox))?;
            }
            images.open(
                works,
                |node, name| node.subscribe_raw(name, topic.message_type, qos::input(topic.reliability)),
                move |bytes| {
                    offered.offer(0, CameraMessage { transport: topic.transport, bytes, received: Instant::now() });
                },
            )?;
            calibrations.open(
                works,
                |node, name| node.subscribe(name, qos::input(Reliability::BestEffort)),
                move |camera_info| *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(camera_info),
            )
        })
        .await??;
        Ok(intake)
    }

    /// Takes nothing in any more.
    pub fn close(&self) {
        self.images.close();
        self.calibrations.close();
        if let Some(depth) = &self.depth {
            depth.images.close();
        }
    }

    /// Why the last picture's regions had no 3D, where they should have.
    pub fn depth_trouble(&self) -> Option<String> {
        self.depth.as_ref()?.inbox.trouble()
    }

    /// What the middleware knows about its images.
    pub fn facts(&self, clock_started: bool) -> InputFacts {
        InputFacts {
            topic: self.topic.resolved.clone(),
            message_type: self.topic.message_type.to_owned(),
            requested: self.topic.reliability,
            publishers: self.graph.publishers(),
            clock_started,
        }
    }
}
