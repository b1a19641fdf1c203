//! The input messages, and which topic a camera's come on.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{
    config::{ImageRectification, ImageTransport, NodeSettings, Reliability, RosArgs},
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
    /// What its pictures are taken for.
    pub rectification: Rectification,
}

impl CameraTopic {
    /// The topic of the camera whose images are on `image`, a relative name, by the parameters `image_transport`,
    /// `input_reliability` and `image_rectification`.
    pub fn new(image: &str, args: &RosArgs, settings: &NodeSettings) -> Self {
        let (transport, message_type, subscribed) = match settings.image_transport {
            ImageTransport::Raw => (Transport::Raw, "sensor_msgs/msg/Image", image.to_owned()),
            // The suffix goes behind the *remapped* name, so that `image:=/cam/image` gives /cam/image/compressed.
            ImageTransport::Compressed => {
                let subscribed = args.resolve_topic(image) + COMPRESSED;
                (Transport::Compressed, "sensor_msgs/msg/CompressedImage", subscribed)
            }
        };
        let resolved = args.resolve_topic(&subscribed);
        Self {
            transport,
            subscribed,
            message_type,
            reliability: settings.input_reliability,
            rectification: match settings.image_rectification {
                ImageRectification::Auto => by_name(&resolved),
                ImageRectification::Raw => Rectification::Raw,
                ImageRectification::Rectified => Rectification::Rectified,
            },
            resolved,
        }
    }
}

/// Are a topic's pictures rectified? Only the name can tell: image_proc publishes `image_rect`, `image_rect_color`, newer
/// drivers `rect/image`; camera_info is the same for both.
fn by_name(topic: &str) -> Rectification {
    let is_rectified = topic.split('/').any(|part| part == "rect" || part.starts_with("image_rect"));
    if is_rectified { Rectification::Rectified } else { Rectification::Raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectified_picture_is_known_by_its_topic() {
        for topic in ["/cam/image_rect", "/left/image_rect_color/compressed", "/zed/rgb/color/rect/image"] {
            assert_eq!(by_name(topic), Rectification::Rectified, "{topic}");
        }
        for topic in ["/cam/image_raw", "/image", "/rectangle/image", "/correct/image_color"] {
            assert_eq!(by_name(topic), Rectification::Raw, "{topic}");
        }
    }
}
