//! The messages that carry pixels, serialised straight into a reused buffer for r2r's `publish_raw`. r2r's own types
//! would copy the pixels twice more. Field order is that of the .msg files; `tests/ros_messages.rs` reads every field
//! back with rclpy.

use super::{
    cdr::{CdrError, Writer},
    image::Header,
};
use crate::{
    contract::Size,
    perceive::heatmap::{HeatImage, Heatmap},
};

/// A picture as sensor_msgs/Image carries it: tight rows, little-endian.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Rows and columns.
    pub size: Size,
    /// sensor_msgs encoding.
    pub encoding: &'static str,
    /// Bytes from one row to the next.
    pub stride_bytes: usize,
    /// `size.height` rows.
    pub data: &'a [u8],
}

/// What a looptrans_ros/HeatmapArray says besides its maps.
#[derive(Debug, Clone, Copy)]
pub struct HeatmapsHead<'a> {
    /// The source image's.
    pub header: Header<'a>,
    /// The model that made the maps.
    pub model_id: &'a str,
    /// Size of the source image.
    pub source: Size,
}

impl<'a> From<&'a HeatImage> for Picture<'a> {
    fn from(heat: &'a HeatImage) -> Self {
        let (encoding, stride_bytes) = (heat.encoding.name(), heat.stride_bytes());
        Self { size: heat.size, encoding, stride_bytes, data: &heat.data }
    }
}

impl<'a> From<&'a image::RgbImage> for Picture<'a> {
    fn from(image: &'a image::RgbImage) -> Self {
        let size = Size { height: image.height(), width: image.width() };
        Self { size, encoding: "rgb8", stride_bytes: 3 * size.width as usize, data: image.as_raw() }
    }
}

/// Serialises a sensor_msgs/Image.
///
/// # Errors
/// More bytes than the format can count.
pub fn write_image(buffer: &mut Vec<u8>, header: Header<'_>, picture: Picture<'_>) -> Result<(), CdrError> {
    let mut writer = Writer::new(buffer);
    put_image(&mut writer, header, picture)
}

/// Serialises a sensor_msgs/CompressedImage.
///
/// # Errors
/// More bytes than the format can count.
pub fn write_compressed(buffer: &mut Vec<u8>, header: Header<'_>, format: &str, data: &[u8]) -> Result<(), CdrError> {
    let mut writer = Writer::new(buffer);
    put_header(&mut writer, header)?;
    writer.string("format", format)?;
    writer.byte_sequence("data", data)
}

/// Serialises a looptrans_ros/HeatmapArray.
///
/// # Errors
/// More bytes than the format can count.
pub fn write_heatmaps(buffer: &mut Vec<u8>, head: &HeatmapsHead<'_>, heatmaps: &[Heatmap]) -> Result<(), CdrError> {
    let mut writer = Writer::new(buffer);
    put_header(&mut writer, head.header)?;
    writer.string("model_id", head.model_id)?;
    writer.u32(head.source.width);
    writer.u32(head.source.height);
    writer.count("heatmaps", heatmaps.len())?;
    for heatmap in heatmaps {
        writer.string("affordance", &heatmap.affordance)?;
        writer.u16(heatmap.class_id);
        writer.f32(heatmap.presence);
        writer.f32(heatmap.peak);
        writer.f32(heatmap.peak_x);
        writer.f32(heatmap.peak_y);
        put_image(&mut writer, head.header, Picture::from(&heatmap.image))?;
        writer.f32(heatmap.scale_x);
        writer.f32(heatmap.scale_y);
    }
    Ok(())
}

fn put_header(writer: &mut Writer<'_>, header: Header<'_>) -> Result<(), CdrError> {
    writer.i32(header.stamp.sec);
    writer.u32(header.stamp.nanosec);
    writer.string("frame_id", header.frame_id)
}

fn put_image(writer: &mut Writer<'_>, header: Header<'_>, picture: Picture<'_>) -> Result<(), CdrError> {
    put_header(writer, header)?;
    writer.u32(picture.size.height);
    writer.u32(picture.size.width);
    writer.string("encoding", picture.encoding)?;
    writer.u8(0); // is_bigendian
    writer.count("step", picture.stride_bytes)?;
    writer.byte_sequence("data", picture.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::image::{Transport, frame},
        perceive::{Pixels, Stamp},
    };

    const HEADER: Header<'static> = Header { stamp: Stamp { sec: 12, nanosec: 34 }, frame_id: "camera" };

    #[test]
    fn an_image_reads_back_as_the_picture_it_was() {
        let image = image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 200]));
        let mut buffer = Vec::new();
        write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap();
        let frame = frame(Transport::Raw, &buffer).unwrap();
        assert_eq!(Header::from(&frame), HEADER);
        let Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data } = frame.pixels else {
            panic!("expected a raw picture");
        };
        assert_eq!((width, height, encoding, is_bigendian, stride_bytes), (5, 3, "rgb8", false, 15));
        assert_eq!(data, image.as_raw().as_slice());
    }

    #[test]
    fn a_compressed_image_reads_back() {
        let mut buffer = Vec::new();
        write_compressed(&mut buffer, HEADER, "rgb8; jpeg compressed bgr8", b"\xff\xd8").unwrap();
        let frame = frame(Transport::Compressed, &buffer).unwrap();
        let Pixels::Compressed { format, data } = frame.pixels else { panic!("expected a compressed picture") };
        assert_eq!((format, data), ("rgb8; jpeg compressed bgr8", &b"\xff\xd8"[..]));
    }

    #[test]
    fn the_buffer_is_reused_from_frame_to_frame() {
        let image = image::RgbImage::new(64, 64);
        let mut buffer = Vec::new();
        write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap();
        let (place, length) = (buffer.as_ptr(), buffer.len());
        write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap();
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, length));
    }
}
