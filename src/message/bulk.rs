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
pub fn write_image<'b>(
    buffer: &'b mut Vec<u8>,
    header: Header<'_>,
    picture: Picture<'_>,
) -> Result<&'b [u8], CdrError> {
    let mut writer = Writer::new(buffer);
    let Picture { size, encoding, stride_bytes, data } = picture;
    put_image_head(&mut writer, header, (size, encoding, stride_bytes))?;
    writer.byte_sequence("data", data)?;
    Ok(writer.finish())
}

/// Serialises a sensor_msgs/CompressedImage.
///
/// # Errors
/// More bytes than the format can count.
pub fn write_compressed<'b>(
    buffer: &'b mut Vec<u8>,
    header: Header<'_>,
    format: &str,
    data: &[u8],
) -> Result<&'b [u8], CdrError> {
    let mut writer = Writer::new(buffer);
    put_header(&mut writer, header)?;
    writer.string("format", format)?;
    writer.byte_sequence("data", data)?;
    Ok(writer.finish())
}

/// Serialises a looptrans_ros/HeatmapArray. Here the maps become pixels.
///
/// # Errors
/// More bytes than the format can count.
pub fn write_heatmaps<'b>(
    buffer: &'b mut Vec<u8>,
    head: &HeatmapsHead<'_>,
    heatmaps: &[Heatmap],
) -> Result<&'b [u8], CdrError> {
    let mut writer = Writer::new(buffer);
    put_header(&mut writer, head.header)?;
    writer.string("model_id", head.model_id)?;
    writer.u32(head.source.width);
    writer.u32(head.source.height);
    writer.count("heatmaps", heatmaps.len())?;
    for Heatmap { affordance, class_id, presence, peak, peak_x, peak_y, heat, scale_x, scale_y } in heatmaps {
        writer.string("affordance", affordance)?;
        writer.u16(*class_id);
        writer.f32(*presence);
        writer.f32(*peak);
        writer.f32(*peak_x);
        writer.f32(*peak_y);
        put_image_head(&mut writer, head.header, (heat.size(), heat.encoding().name(), heat.stride_bytes()))?;
        writer.byte_sequence_by("data", heat.bytes(), |pixels| heat.write(pixels))?;
        writer.f32(*scale_x);
        writer.f32(*scale_y);
    }
    Ok(writer.finish())
}

fn put_header(writer: &mut Writer<'_>, header: Header<'_>) -> Result<(), CdrError> {
    writer.i32(header.stamp.sec);
    writer.u32(header.stamp.nanosec);
    writer.string("frame_id", header.frame_id)
}

/// Everything of a sensor_msgs/Image before its data.
fn put_image_head(
    writer: &mut Writer<'_>,
    header: Header<'_>,
    (size, encoding, stride_bytes): (Size, &str, usize),
) -> Result<(), CdrError> {
    put_header(writer, header)?;
    writer.u32(size.height);
    writer.u32(size.width);
    writer.string("encoding", encoding)?;
    writer.u8(0); // is_bigendian
    writer.count("step", stride_bytes)
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
        let message = write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap();
        let frame = frame(Transport::Raw, message).unwrap();
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
        let message = write_compressed(&mut buffer, HEADER, "rgb8; jpeg compressed bgr8", b"\xff\xd8").unwrap();
        let frame = frame(Transport::Compressed, message).unwrap();
        let Pixels::Compressed { format, data } = frame.pixels else { panic!("expected a compressed picture") };
        assert_eq!((format, data), ("rgb8; jpeg compressed bgr8", &b"\xff\xd8"[..]));
    }

    #[test]
    fn the_buffer_is_reused_from_frame_to_frame() {
        let image = image::RgbImage::new(64, 64);
        let mut buffer = Vec::new();
        let first = write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap().as_ptr_range();
        let second = write_image(&mut buffer, HEADER, Picture::from(&image)).unwrap().as_ptr_range();
        assert_eq!(first, second);
    }
}
