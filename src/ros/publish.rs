//! The output topics: what the node publishes for each processed frame.

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use r2r::{
    Publisher, QosProfile,
    looptrans_ros::msg::{GraspRegionArray, HeatmapArray},
    sensor_msgs::msg::CameraInfo,
};

use super::{
    camera_info::{self, Calibrations},
    depth::{self, DepthMessage},
    heatmaps, regions,
    spin::Works,
    topic::{Bulk, CameraNames, Made, Maker, Topic},
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
        heatmap::HeatImage,
        pipeline::{Perception, Wanted},
    },
    robot::{
        PublishError, PublishFacts, Sink,
        depth::{DepthResult, DepthStage, DepthStageSettings, PictureRegions},
    },
};

/// What image_transport's subscribers read: an rgb8 picture whose JPEG decodes to bgr8.
const JPEG_FORMAT: &str = "rgb8; jpeg compressed bgr8";

/// What a sink takes from its camera beside the pictures.
#[derive(Debug)]
pub struct SinkInputs {
    /// What its topics are called.
    pub names: CameraNames,
    /// Its calibrations.
    pub calibrations: Calibrations,
    /// None: depth is not in use.
    pub depth: Option<depth::Source>,
}

/// Publishes each frame's results. Only the grasp regions are made when nobody listens.
pub struct RosSink {
    topics: Topics,
    made: Made,
    model_id: String,
    jpeg_quality: u8,
    calibrations: Calibrations,
    depth: Option<Depth>,
    /// What depth says of the frame that is to be published.
    measured: DepthResult,
    /// JPEG file of one frame; its memory is reused.
    jpeg: Vec<u8>,
    /// What was warned about already: these repeat with every frame.
    camera_info_warned: bool,
    jpeg_warned: bool,
}

/// One frame's results for somebody who asked.
#[derive(Debug, Default)]
pub struct Answer {
    /// As on `~/grasp_regions`.
    pub regions: GraspRegionArray,
    /// As on `~/heatmaps`; nothing in it unless it was wanted.
    pub heatmaps: HeatmapArray,
}

/// Regions' 3D, and the topics for it.
#[derive(Debug)]
struct Depth {
    stage: DepthStage<DepthMessage>,
    topics: depth::Topics,
}

#[derive(Debug)]
struct Topics {
    grasp_regions: Topic<GraspRegionArray>,
    heatmap: Bulk,
    heatmap_camera_info: Topic<CameraInfo>,
    heatmaps: Bulk,
    overlay: Bulk,
    overlay_compressed: Bulk,
}

impl Topics {
    fn create(maker: &mut Maker<'_>) -> Result<Self, PublishError> {
        let image = "sensor_msgs/msg/Image";
        Ok(Self {
            grasp_regions: maker.topic("grasp_regions")?,
            heatmap: maker.bulk("heatmap", image)?,
            heatmap_camera_info: maker.topic("heatmap/camera_info")?,
            heatmaps: maker.bulk("heatmaps", "looptrans_ros/msg/HeatmapArray")?,
            overlay: maker.bulk("overlay", image)?,
            overlay_compressed: maker.bulk("overlay/compressed", "sensor_msgs/msg/CompressedImage")?,
        })
    }
}

impl Depth {
    fn create(maker: &mut Maker<'_>, source: depth::Source, settings: &NodeSettings) -> Result<Self, PublishError> {
        let depth::Source { inbox, rectification, health } = source;
        let stage = DepthStage::new(inbox, DepthStageSettings::from(settings), rectification, health);
        Ok(Self { stage, topics: depth::Topics::create(maker)? })
    }
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
        let SinkInputs { names, calibrations, depth } = inputs;
        let maker = Maker::new(works, &names, settings.output_reliability);
        let ((topics, depth), made) = maker.all(|maker| {
            let topics = Topics::create(maker)?;
            let depth = depth.map(|source| Depth::create(maker, source, settings)).transpose()?;
            Ok((topics, depth))
        })?;
        Ok(Self {
            topics,
            made,
            model_id,
            jpeg_quality: settings.overlay_jpeg_quality,
            calibrations,
            depth,
            measured: DepthResult::default(),
            jpeg: Vec::new(),
            camera_info_warned: false,
            jpeg_warned: false,
        })
    }

    /// Destroys the output topics.
    pub fn destroy(self, works: &mut Works) {
        self.made.destroy(&mut works.node);
    }

    fn publish_camera_info(&mut self, header: Header<'_>, source: Size, heat: Size) -> Result<(), PublishError> {
        if !self.topics.heatmap_camera_info.is_heard() {
            return Ok(());
        }
        let scaled = self.calibrations.of(header.stamp, |info| camera_info::for_heatmap(info, header, source, heat));
        match scaled.transpose() {
            Ok(None) => Ok(()),
            Ok(Some(camera_info)) => {
                self.camera_info_warned = false;
                self.topics.heatmap_camera_info.publish(&camera_info)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.camera_info_warned, true) {
                    tracing::warn!("{} is not published: {error}", self.topics.heatmap_camera_info.name);
                }
                Ok(())
            }
        }
    }

    fn publish_heatmap(&mut self, header: Header<'_>, heat: &HeatImage, source: Size) -> Result<(), PublishError> {
        // First the calibration: who synchronises both gets a pair.
        self.publish_camera_info(header, source, heat.size)?;
        if !self.topics.heatmap.is_heard() {
            return Ok(());
        }
        self.topics.heatmap.publish(|m| bulk::write_image(m, header, Picture::from(heat)))
    }

    fn publish_heatmaps(&mut self, header: Header<'_>, perception: &Perception) -> Result<(), PublishError> {
        // They may be there for an answer alone.
        if perception.heatmaps.is_empty() || !self.topics.heatmaps.is_heard() {
            return Ok(());
        }
        let head = HeatmapsHead { header, model_id: &self.model_id, source: perception.source };
        self.topics.heatmaps.publish(|m| bulk::write_heatmaps(m, &head, &perception.heatmaps))
    }

    fn publish_overlay(&mut self, header: Header<'_>, overlay: &image::RgbImage) -> Result<(), PublishError> {
        if self.topics.overlay.is_heard() {
            self.topics.overlay.publish(|m| bulk::write_image(m, header, Picture::from(overlay)))?;
        }
        if !self.topics.overlay_compressed.is_heard() {
            return Ok(());
        }
        self.jpeg.clear();
        let encoder = &mut JpegEncoder::new_with_quality(&mut self.jpeg, self.jpeg_quality);
        if let Err(error) = encoder.encode(overlay, overlay.width(), overlay.height(), ExtendedColorType::Rgb8) {
            if !std::mem::replace(&mut self.jpeg_warned, true) {
                tracing::warn!("{} is not published: {error}", self.topics.overlay_compressed.name);
            }
            return Ok(());
        }
        let jpeg = &self.jpeg;
        self.topics.overlay_compressed.publish(|m| bulk::write_compressed(m, header, JPEG_FORMAT, jpeg))
    }
}

impl Sink for RosSink {
    type Answer = Answer;

    fn apply(&mut self, settings: &NodeSettings) {
        self.jpeg_quality = settings.overlay_jpeg_quality;
        if let Some(depth) = &mut self.depth {
            depth.stage.apply(DepthStageSettings::from(settings));
        }
    }

    fn model_changed(&mut self, model_id: &str) {
        model_id.clone_into(&mut self.model_id);
    }

    fn begin(&mut self, stamp: Option<Stamp>) {
        if let Some(depth) = &mut self.depth {
            depth.stage.begin(stamp);
        }
    }

    fn complete(&mut self, frame: &Frame<'_>, perception: &Perception) {
        let Some(depth) = &mut self.depth else { return };
        // A copy: no lock is held while depth is waited for.
        let calibration = self.calibrations.of(frame.stamp, camera_info::for_depth);
        let picture = PictureRegions { frame, size: perception.source, regions: &perception.regions };
        self.measured = depth.stage.measure(&picture, calibration.as_ref());
    }

    fn wanted(&mut self) -> Wanted {
        let topics = &self.topics;
        Wanted {
            // The calibration follows the heatmap's size, so it needs one.
            heatmap: topics.heatmap.is_heard() || topics.heatmap_camera_info.is_heard(),
            heatmaps: topics.heatmaps.is_heard(),
            overlay: topics.overlay.is_heard() || topics.overlay_compressed.is_heard(),
        }
    }

    fn publish(
        &mut self,
        frame: &Frame<'_>,
        perception: &Perception,
        facts: &PublishFacts,
    ) -> Result<Vec<PublishError>, PublishError> {
        let array = regions::message(frame, perception, &self.measured, facts, &self.model_id);
        self.topics.grasp_regions.publish(&array)?;
        let header = Header::from(frame);
        let Perception { source, combined, overlay, .. } = perception;
        // Each by itself: one that fails keeps no other back.
        let beside = [
            self.depth.as_mut().map(|depth| depth.topics.publish(header, perception, &self.measured)),
            combined.as_ref().map(|heat| self.publish_heatmap(header, heat, *source)),
            Some(self.publish_heatmaps(header, perception)),
            overlay.as_ref().map(|overlay| self.publish_overlay(header, overlay)),
        ];
        Ok(beside.into_iter().flatten().filter_map(Result::err).collect())
    }

    fn answer(&mut self, frame: &Frame<'_>, perception: &Perception, facts: &PublishFacts, wanted: Wanted) -> Answer {
        let model_id = &self.model_id;
        Answer {
            regions: regions::message(frame, perception, &self.measured, facts, model_id),
            heatmaps: if wanted.heatmaps { heatmaps::message(frame, perception, model_id) } else { Default::default() },
        }
    }
}

/// Creates a topic; `own` is its quality of service, unless `qos_overrides` say otherwise.
///
/// # Errors
/// rcl refuses the name (a bad remap rule) or has no resources left.
pub fn create<T: r2r::WrappedTypesupport>(
    works: &mut Works,
    name: &str,
    own: QosProfile,
) -> Result<Publisher<T>, PublishError> {
    let qos = works.qos.publisher(name, own);
    works.node.create_publisher(name, qos).map_err(|error| refused(name, &error))
}

/// Publishes a message whose strings hold no NUL.
pub fn publish<T: r2r::WrappedTypesupport + 'static>(
    publisher: &Publisher<T>,
    name: &str,
    message: &T,
) -> Result<(), PublishError> {
    publisher.publish(message).map_err(|error| refused(name, &error))
}

pub(super) fn refused(name: &str, cause: &impl ToString) -> PublishError {
    PublishError { what: name.to_owned(), cause: cause.to_string() }
}
