//! [`Perception`]'s maps as looptrans_ros/HeatmapArray, for answers. The topic's messages are written by
//! [`crate::message::bulk`], without copies.

use r2r::{
    looptrans_ros::msg::{Heatmap as HeatmapMsg, HeatmapArray},
    sensor_msgs::msg::Image,
    std_msgs::msg::Header as HeaderMsg,
};

use super::regions;
use crate::{
    message::image::Header,
    perceive::{
        Frame,
        heatmap::{HeatImage, HeatRows, Heatmap},
        pipeline::Perception,
    },
};

/// The message for one processed frame, as on `~/heatmaps`.
pub fn message(frame: &Frame<'_>, perception: &Perception, model_id: &str) -> HeatmapArray {
    let header = regions::header(Header::from(frame));
    HeatmapArray {
        model_id: model_id.to_owned(),
        source_width: perception.source.width,
        source_height: perception.source.height,
        heatmaps: perception.heatmaps.iter().map(|map| heatmap(map, &header)).collect(),
        header,
    }
}

fn heatmap(map: &Heatmap, header: &HeaderMsg) -> HeatmapMsg {
    HeatmapMsg {
        affordance: map.affordance.to_string(),
        class_id: map.class_id,
        presence: map.presence,
        peak: map.peak,
        peak_x: map.peak_x,
        peak_y: map.peak_y,
        image: image(&map.heat, header.clone()),
        scale_x: map.scale_x,
        scale_y: map.scale_y,
    }
}

fn image(heat: &HeatRows, header: HeaderMsg) -> Image {
    let HeatImage { size, encoding, data } = heat.image();
    Image {
        header,
        height: size.height,
        width: size.width,
        encoding: encoding.name().to_owned(),
        is_bigendian: 0,
        // Rows of a picture that fits into a message do.
        step: u32::try_from(heat.stride_bytes()).unwrap_or(u32::MAX),
        data,
    }
}
