//! The input topics: camera messages into the newest-wins mailbox, the newest calibration into its place.

use std::{
    future::Future,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use futures::{Stream, StreamExt};
use r2r::{Node, sensor_msgs::msg::CameraInfo};

use super::{
    NodeError,
    image_message::{self, Transport},
    publish::LatestCameraInfo,
    qos,
};
use crate::{
    config::{ImageTransport, NodeSettings, Reliability, RosArgs},
    perceive::{Frame, FrameError},
    robot::{Incoming, Intake},
};

/// The camera's topic, before remapping.
const IMAGE: &str = "image";
/// What image_transport puts behind a base topic's remapped name.
const COMPRESSED: &str = "/compressed";

/// A serialised camera message.
#[derive(Debug)]
pub struct CameraMessage {
    transport: Transport,
    bytes: Vec<u8>,
    received: Instant,
}

impl Incoming for CameraMessage {
    fn frame(&self) -> Result<Frame<'_>, FrameError> {
        // One camera, one habit: a single warning says it.
        static WARNED: AtomicBool = AtomicBool::new(false);
        if image_message::frame_id_is_cut(&self.bytes) && !WARNED.swap(true, Ordering::Relaxed) {
            tracing::warn!("images have a frame_id that is not UTF-8, holds a NUL or is too long; it is cut there");
        }
        image_message::frame(self.transport, &self.bytes)
    }

    fn received(&self) -> Instant {
        self.received
    }
}

/// Which topic is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraTopic {
    transport: Transport,
    /// The name to subscribe to; rcl remaps it.
    subscribed: String,
    /// The name it really has.
    pub resolved: String,
    /// As ROS writes types.
    pub message_type: &'static str,
    /// What we ask for.
    pub reliability: Reliability,
}

impl CameraTopic {
    /// By the parameters `image_transport` and `input_reliability`.
    pub fn new(args: &RosArgs, settings: &NodeSettings) -> Self {
        let reliability = settings.input_reliability;
        match settings.image_transport {
            ImageTransport::Raw => Self {
                transport: Transport::Raw,
                subscribed: IMAGE.to_owned(),
                resolved: args.resolve_topic(IMAGE),
                message_type: "sensor_msgs/msg/Image",
                reliability,
            },
            // The suffix goes behind the *remapped* name, so that `image:=/cam/image` gives /cam/image/compressed.
            ImageTransport::Compressed => {
                let subscribed = args.resolve_topic(IMAGE) + COMPRESSED;
                Self {
                    transport: Transport::Compressed,
                    resolved: args.resolve_topic(&subscribed),
                    subscribed,
                    message_type: "sensor_msgs/msg/CompressedImage",
                    reliability,
                }
            }
        }
    }

    /// Subscribes; the future moves messages into `intake` for as long as the node lives, and never waits for work.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn subscribe(
        &self,
        node: &mut Node,
        intake: Arc<Intake<CameraMessage>>,
    ) -> Result<impl Future<Output = ()> + Send + 'static, NodeError> {
        let messages = node
            .subscribe_raw(&self.subscribed, self.message_type, qos::input(self.reliability))
            .map_err(|error| refused(&self.subscribed, &error))?;
        let transport = self.transport;
        Ok(for_each(messages, move |bytes| {
            intake.offer(CameraMessage { transport, bytes, received: Instant::now() });
        }))
    }
}

/// Subscribes to `camera_info`; the future keeps `latest` up to date.
///
/// # Errors
/// rcl refuses the name or has no resources left.
pub fn subscribe_camera_info(
    node: &mut Node,
    latest: LatestCameraInfo,
) -> Result<impl Future<Output = ()> + Send + 'static, NodeError> {
    let topic = "camera_info";
    let messages = node
        .subscribe::<CameraInfo>(topic, qos::input(Reliability::BestEffort))
        .map_err(|error| refused(topic, &error))?;
    Ok(for_each(messages, move |camera_info| {
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(camera_info);
    }))
}

async fn for_each<T>(mut messages: impl Stream<Item = T> + Unpin, mut act: impl FnMut(T)) {
    while let Some(message) = messages.next().await {
        act(message);
    }
}

fn refused(topic: &str, error: &r2r::Error) -> NodeError {
    NodeError::Ros { step: format!("subscribe to {topic}"), cause: error.to_string() }
}
