//! The input messages, and which topic a camera's come on.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{
    config::{ImageTransport, NodeSettings, Reliability, RosArgs},
    message::image::{self, Transport},
    perceive::{Frame, FrameError, depth::Rectification},
    robot::Incoming,
};

/// What image_transport puts behind a base topic's remapped name.
const COMPRESSED: &str = "/compressed";

/// A serialised camera message.
#[derive(Debug)]
pub struct CameraMessage {
    /// Which message it is.
    pub transport: Transport,
    /// As it came.
    pub bytes: Vec<u8>,
    /// When it came.
    pub received: Instant,
}

impl Incoming for CameraMessage {
    fn frame(&self) -> Result<Frame<'_>, FrameError> {
        // One camera, one habit: a single warning says it.
        static WARNED: AtomicBool = AtomicBool::new(false);
        if image::frame_id_is_cut(&self.bytes) && !WARNED.swap(true, Ordering::Relaxed) {
            tracing::warn!("images have a frame_id that is not UTF-8, holds a NUL or is too long; it is cut there");
        }
        image::frame(self.transport, &self.bytes)
    }

    fn received(&self) -> Instant {
        self.received
    }
}

/// Which topic is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraTopic {
    /// What it carries.
    pub transport: Transport,
    /// The name to subscribe to; rcl remaps it.
    pub subscribed: String,
    /// The name it really has.
    pub resolved: String,
    /// As ROS writes types.
    pub message_type: &'static str,
    /// What we ask for, unless `qos_overrides` say otherwise.
    pub reliability: Reliability,
}

impl CameraTopic {
    /// The topic of the camera whose images are on `image`, a relative name, by the parameters `image_transport` and
    /// `input_reliability`.
    pub fn new(image: &str, args: &RosArgs, settings: &NodeSettings) -> Self {
        let reliability = settings.input_reliability;
        match settings.image_transport {
            ImageTransport::Raw => Self {
                transport: Transport::Raw,
                subscribed: image.to_owned(),
                resolved: args.resolve_topic(image),
                message_type: "sensor_msgs/msg/Image",
                reliability,
            },
            // The suffix goes behind the *remapped* name, so that `image:=/cam/image` gives /cam/image/compressed.
            ImageTransport::Compressed => {
                let subscribed = args.resolve_topic(image) + COMPRESSED;
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

    /// Are its pictures rectified? Only the name can tell: image_proc publishes `image_rect`, `image_rect_color`, newer
    /// drivers `rect/image`; camera_info is the same for both.
    pub fn rectification(&self) -> Rectification {
        rectification(&self.resolved)
    }
}

fn rectification(topic: &str) -> Rectification {
    let is_rectified = topic.split('/').any(|part| part == "rect" || part.starts_with("image_rect"));
    if is_rectified { Rectification::Rectified } else { Rectification::Raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectified_picture_is_known_by_its_topic() {
        for topic in ["/cam/image_rect", "/left/image_rect_color/compressed", "/zed/rgb/color/rect/image"] {
            assert_eq!(rectification(topic), Rectification::Rectified, "{topic}");
        }
        for topic in ["/cam/image_raw", "/image", "/rectangle/image", "/correct/image_color"] {
            assert_eq!(rectification(topic), Rectification::Raw, "{topic}");
        }
    }
}
