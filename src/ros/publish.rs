//! The output topics: what the node publishes for each processed frame.

use std::sync::{Arc, Mutex, PoisonError};

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use r2r::{
    Node, Publisher, PublisherUntyped, QosProfile, looptrans_ros::msg::GraspRegionArray, sensor_msgs::msg::CameraInfo,
};

use super::{
    camera_info,
    depth::{self, DepthMessage},
    qos, regions,
    spin::Works,
};
use crate::{
    config::NodeSettings,
    contract::Size,
    message::{
        bulk::{self, HeatmapsHead, Picture},
        image::Header,
    },
    perceive::{
        Frame, Stamp,
        pipeline::{Perception, Wanted},
    },
    robot::{
        PublishError, PublishFacts, Sink,
        depth::{DepthResult, DepthStage, DepthStageSettings, PictureRegions},
    },
};

/// What image_transport's subscribers read: an rgb8 picture whose JPEG decodes to bgr8.
const JPEG_FORMAT: &str = "rgb8; jpeg compressed bgr8";

/// The newest calibration, where one has come.
pub type LatestCameraInfo = Arc<Mutex<Option<CameraInfo>>>;

/// What a sink takes from its camera beside the pictures.
#[derive(Debug)]
pub struct SinkInputs {
    /// The newest calibration.
    pub camera_info: LatestCameraInfo,
    /// None: depth is not in use.
    pub depth: Option<depth::Source>,
}

/// Publishes each frame's results. Only the grasp regions are made when nobody listens.
#[derive(Debug)]
pub struct RosSink {
    topics: Topics,
    model_id: String,
    jpeg_quality: u8,
    camera_info: LatestCameraInfo,
    depth: Option<Depth>,
    /// What depth says of the frame that is to be published.
    measured: DepthResult,
    /// Serialised message and JPEG file of one frame; their memory is reused.
    message: Vec<u8>,
    jpeg: Vec<u8>,
    /// What was warned about already: these repeat with every frame.
    camera_info_warned: bool,
    jpeg_warned: bool,
}

/// Regions' 3D, and the topics for it.
#[derive(Debug)]
struct Depth {
    stage: DepthStage<DepthMessage>,
    topics: depth::Topics,
}

#[derive(Debug)]
struct Topics {
    grasp_regions: Publisher<GraspRegionArray>,
    heatmap: Bulk,
    heatmap_camera_info: Publisher<CameraInfo>,
    heatmaps: Bulk,
    overlay: Bulk,
    overlay_compressed: Bulk,
}

/// A topic whose messages we serialise ourselves.
#[derive(Debug)]
struct Bulk {
    name: &'static str,
    publisher: PublisherUntyped,
}

impl RosSink {
    /// Creates the output topics.
    ///
    /// # Errors
    /// rcl refuses a name (a bad remap rule) or has no resources left.
    pub fn create(
        works: &mut Works,
        settings: &NodeSettings,
        model_id: String,
        inputs: SinkInputs,
    ) -> Result<Self, PublishError> {
        let node = &mut works.node;
        let output = || qos::output(settings.output_reliability);
        let image = "sensor_msgs/msg/Image";
        let topics = Topics {
            grasp_regions: create(node, "~/grasp_regions", output())?,
            heatmap: Bulk::create(node, "~/heatmap", image, output())?,
            heatmap_camera_info: create(node, "~/heatmap/camera_info", output())?,
            heatmaps: Bulk::create(node, "~/heatmaps", "looptrans_ros/msg/HeatmapArray", output())?,
            overlay: Bulk::create(node, "~/overlay", image, output())?,
            overlay_compressed: Bulk::create(
                node,
                "~/overlay/compressed",
                "sensor_msgs/msg/CompressedImage",
                output(),
            )?,
        };
        let depth = match inputs.depth {
            Some(source) => {
                let stage = DepthStage::new(source.inbox, DepthStageSettings::from(settings), source.rectification);
                Some(Depth { stage, topics: depth::Topics::create(node, output)? })
            }
            None => None,
        };
        Ok(Self {
            topics,
            model_id,
            jpeg_quality: settings.overlay_jpeg_quality,
            camera_info: inputs.camera_info,
            depth,
            measured: DepthResult::default(),
            message: Vec::new(),
            jpeg: Vec::new(),
            camera_info_warned: false,
            jpeg_warned: false,
        })
    }

    /// Destroys the output topics.
    pub fn destroy(self, works: &mut Works) {
        let Topics { grasp_regions, heatmap, heatmap_camera_info, heatmaps, overlay, overlay_compressed } = self.topics;
        let node = &mut works.node;
        node.destroy_publisher(grasp_regions);
        node.destroy_publisher(heatmap_camera_info);
        for bulk in [heatmap, heatmaps, overlay, overlay_compressed] {
            node.destroy_publisher_untyped(bulk.publisher);
        }
        if let Some(depth) = self.depth {
            depth.topics.destroy(node);
        }
    }

    fn publish_camera_info(&mut self, header: Header<'_>, source: Size, heat: Size) -> Result<(), PublishError> {
        if !has_subscribers(&self.topics.heatmap_camera_info) {
            return Ok(());
        }
        let scaled = match &*self.camera_info.lock().unwrap_or_else(PoisonError::into_inner) {
            None => return Ok(()),
            Some(newest) => camera_info::for_heatmap(newest, header, source, heat),
        };
        match scaled {
            Ok(camera_info) => {
                self.camera_info_warned = false;
                publish(&self.topics.heatmap_camera_info, "~/heatmap/camera_info", &camera_info)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.camera_info_warned, true) {
                    tracing::warn!("~/heatmap/camera_info is not published: {error}");
                }
                Ok(())
            }
        }
    }

    fn publish_overlay(&mut self, header: Header<'_>, overlay: &image::RgbImage) -> Result<(), PublishError> {
        if self.topics.overlay.is_heard() {
            self.topics.overlay.publish(&mut self.message, |m| bulk::write_image(m, header, Picture::from(overlay)))?;
        }
        if !self.topics.overlay_compressed.is_heard() {
            return Ok(());
        }
        self.jpeg.clear();
        let encoder = &mut JpegEncoder::new_with_quality(&mut self.jpeg, self.jpeg_quality);
        if let Err(error) = encoder.encode(overlay, overlay.width(), overlay.height(), ExtendedColorType::Rgb8) {
            if !std::mem::replace(&mut self.jpeg_warned, true) {
                tracing::warn!("~/overlay/compressed is not published: {error}");
            }
            return Ok(());
        }
        let jpeg = &self.jpeg;
        self.topics
            .overlay_compressed
            .publish(&mut self.message, |m| bulk::write_compressed(m, header, JPEG_FORMAT, jpeg))
    }
}

impl Sink for RosSink {
    type Answer = GraspRegionArray;

    fn apply(&mut self, settings: &NodeSettings) {
        self.jpeg_quality = settings.overlay_jpeg_quality;
        if let Some(depth) = &mut self.depth {
            depth.stage.apply(DepthStageSettings::from(settings));
        }
    }

    fn model_changed(&mut self, model_id: &str) {
        model_id.clone_into(&mut self.model_id);
    }

    fn begin(&mut self, stamp: Stamp) {
        if let Some(depth) = &mut self.depth {
            depth.stage.begin(stamp);
        }
    }

    fn complete(&mut self, frame: &Frame<'_>, perception: &Perception) {
        let Some(depth) = &mut self.depth else { return };
        // The lock is not held while depth is waited for.
        let newest = self.camera_info.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(camera_info::newest);
        let picture = PictureRegions { frame, size: perception.source, regions: &perception.regions };
        self.measured = depth.stage.measure(&picture, newest.as_ref());
    }

    fn wanted(&mut self) -> Wanted {
        let topics = &self.topics;
        Wanted {
            // The calibration follows the heatmap's size, so it needs one.
            heatmap: topics.heatmap.is_heard() || has_subscribers(&topics.heatmap_camera_info),
            heatmaps: topics.heatmaps.is_heard(),
            overlay: topics.overlay.is_heard() || topics.overlay_compressed.is_heard(),
        }
    }

    fn publish(
        &mut self,
        frame: &Frame<'_>,
        perception: &Perception,
        facts: &PublishFacts,
    ) -> Result<(), PublishError> {
        let header = Header::from(frame);
        let source = perception.source;
        let array = regions::message(frame, perception, &self.measured, facts, &self.model_id);
        publish(&self.topics.grasp_regions, "~/grasp_regions", &array)?;
        if let Some(Depth { topics, .. }) = &mut self.depth {
            topics.publish(header, perception, &self.measured)?;
        }
        if let Some(heat) = &perception.combined {
            // First the calibration: who synchronises both gets a pair.
            self.publish_camera_info(header, source, heat.size)?;
            if self.topics.heatmap.is_heard() {
                self.topics
                    .heatmap
                    .publish(&mut self.message, |m| bulk::write_image(m, header, Picture::from(heat)))?;
            }
        }
        if !perception.heatmaps.is_empty() {
            let head = HeatmapsHead { header, model_id: &self.model_id, source };
            self.topics
                .heatmaps
                .publish(&mut self.message, |m| bulk::write_heatmaps(m, &head, &perception.heatmaps))?;
        }
        match &perception.overlay {
            Some(overlay) => self.publish_overlay(header, overlay),
            None => Ok(()),
        }
    }

    fn answer(&mut self, frame: &Frame<'_>, perception: &Perception, facts: &PublishFacts) -> GraspRegionArray {
        regions::message(frame, perception, &self.measured, facts, &self.model_id)
    }
}

impl Bulk {
    fn create(node: &mut Node, name: &'static str, message_type: &str, qos: QosProfile) -> Result<Self, PublishError> {
        let publisher =
            node.create_publisher_untyped(name, message_type, qos).map_err(|error| refused(name, &error))?;
        Ok(Self { name, publisher })
    }

    fn is_heard(&self) -> bool {
        self.publisher.get_inter_process_subscription_count().is_ok_and(|count| count > 0)
    }

    fn publish<E: ToString>(
        &self,
        buffer: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), PublishError> {
        write(buffer).map_err(|error| refused(self.name, &error))?;
        self.publisher.publish_raw(buffer).map_err(|error| refused(self.name, &error))
    }
}

/// Creates a topic.
///
/// # Errors
/// rcl refuses the name (a bad remap rule) or has no resources left.
pub fn create<T: r2r::WrappedTypesupport>(
    node: &mut Node,
    name: &'static str,
    qos: QosProfile,
) -> Result<Publisher<T>, PublishError> {
    node.create_publisher(name, qos).map_err(|error| refused(name, &error))
}

/// Publishes a message whose strings hold no NUL.
pub fn publish<T: r2r::WrappedTypesupport + 'static>(
    publisher: &Publisher<T>,
    name: &'static str,
    message: &T,
) -> Result<(), PublishError> {
    publisher.publish(message).map_err(|error| refused(name, &error))
}

/// Whether somebody listens.
pub fn has_subscribers<T: r2r::WrappedTypesupport + 'static>(publisher: &Publisher<T>) -> bool {
    publisher.get_inter_process_subscription_count().is_ok_and(|count| count > 0)
}

fn refused(name: &str, cause: &impl ToString) -> PublishError {
    PublishError { what: name.to_owned(), cause: cause.to_string() }
}
