//! JPEG and PNG files to RGB, recognised by their first bytes: a message's `format` string or a file's name may lie.
//!
//! The decoders are used directly rather than through `image`, which keeps PNG text and colour profiles (what zTXt and
//! iCCP bombs grow in) and half-decodes truncated JPEGs into grey.

use std::io::Cursor;

use image::metadata::Orientation;
use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor, zune_core::colorspace::ColorSpace};

use super::{Limits, packed, rgb_bytes};
use crate::contract::Size;
use crate::error::one_line;
use crate::perceive::frame::{Codec, Encoding, FrameError, excerpt};

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
/// What the PNG decoder may allocate beside the picture: rows, and small chunks such as the palette.
const PNG_WORK_BYTES: usize = 32 << 20;
/// A decoder's own words, in characters.
const LONGEST_CAUSE: usize = 300;

/// Decodes the file of a CompressedImage message. A file's orientation tag is ignored, as compressed_image_transport
/// does: the camera_info of the topic describes the pixels as stored.
///
/// `format` is "ORIG_PIXFMT; CODEC compressed \[COMPRESSED_PIXFMT\]" (sensor_msgs/CompressedImage). Ordinary files hold
/// true colours; these are marked bgr8, the order their writer handed to OpenCV. A pixel format of rgb marks files
/// written with red and blue exchanged, which are exchanged back here. Depth is refused by its pixel format. Any other string means an ordinary file.
pub(super) fn decode(data: &[u8], format: &str, limits: &Limits, rgb: &mut Vec<u8>) -> Result<Size, FrameError> {
    Encoding::refuse_depth(format)?;
    let (size, _) = decode_file(data, format, limits, rgb)?;
    let written_as = format.split_once("compressed").map_or("", |(_, after)| after.trim_start());
    if format.contains(';') && written_as.starts_with("rgb") {
        rgb.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    }
    Ok(size)
}

/// Decodes a file to RGB as stored, and says how it wants to be turned for people.
pub(crate) fn decode_file(
    data: &[u8],
    format: &str,
    limits: &Limits,
    rgb: &mut Vec<u8>,
) -> Result<(Size, Orientation), FrameError> {
    if data.starts_with(JPEG_MAGIC) {
        decode_jpeg(data, limits, rgb)
    } else if data.starts_with(PNG_MAGIC) {
        decode_png(data, limits, rgb)
    } else {
        let first_bytes = data[..data.len().min(8)].to_vec();
        Err(FrameError::UnknownCompression { format: excerpt(format), first_bytes, data_bytes: data.len() })
    }
}

fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

fn decode_jpeg(data: &[u8], limits: &Limits, rgb: &mut Vec<u8>) -> Result<(Size, Orientation), FrameError> {
    let damaged =
        |cause: String| FrameError::Codec { codec: Codec::Jpeg, cause: one_line(cause.trim(), LONGEST_CAUSE) };
    // Strict: a lenient decoder fills what is missing with grey, and grey has heat too.
    let options = zune_jpeg::zune_core::options::DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(|cause| damaged(format!("{cause:?}")))?;
    let info = decoder.info().ok_or_else(|| damaged("no frame header".into()))?;
    let size = Size { height: u32::from(info.height), width: u32::from(info.width) };
    match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr | ColorSpace::RGB | ColorSpace::Luma) => {}
        other => {
            let found = other.map_or("no colours".into(), |colours| format!("{colours:?}"));
            return Err(FrameError::UnsupportedColours { codec: Codec::Jpeg, found });
        }
    }
    let bytes = rgb_bytes(size, limits)?;
    let end =
        jpeg_end(data).ok_or_else(|| damaged(format!("cut off: no end-of-image marker in {} bytes", data.len())))?;
    rgb.resize(bytes, 0);
    let decoded = if info.sof.is_progressive() {
        decoder.decode_into(rgb)
    } else {
        // What a scan lacks before an end-of-image marker zune-jpeg takes for zeros, in strict mode too: grey rows.
        // Without the marker it says that the data are exhausted. The zeros here are what it reads ahead.
        let unmarked = [&data[..end], &[0; 16]].concat();
        JpegDecoder::new_with_options(ZCursor::new(&unmarked), options).decode_into(rgb)
    };
    decoded.map_err(|cause| damaged(format!("{cause:?}")))?;
    Ok((size, orientation(decoder.exif().map(Vec::as_slice))))
}

/// Where the end-of-image marker is that ends the scans. (Within coded data 0xff is always followed by 0 or a restart
/// marker; all other segments say their length, and may hold a thumbnail with markers of its own.)
fn jpeg_end(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    let mut in_scan = false;
    loop {
        at += match *data.get(at..at + 2)? {
            [0xff, 0xd9] if in_scan => return Some(at),
            [0xff, 0x00 | 0xd0..=0xd7] if in_scan => 2,
            [0xff, 0xff] => 1, // a fill byte
            [0xff, marker] => {
                in_scan |= marker == 0xda;
                let length = data.get(at + 2..at + 4)?;
                2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2)
            }
            // Coded data, or stray bytes between segments.
            _ => 1,
        };
    }
}

fn decode_png(data: &[u8], limits: &Limits, rgb: &mut Vec<u8>) -> Result<(Size, Orientation), FrameError> {
    let damaged = |cause: png::DecodingError| FrameError::Codec {
        codec: Codec::Png,
        cause: one_line(&cause.to_string(), LONGEST_CAUSE),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(data), png::Limits { bytes: PNG_WORK_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes and 1, 2 and 4 bits become 8 bits.
    decoder.set_transformations(png::Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(damaged)?;
    let size = Size { height: header.height, width: header.width };
    let bytes = rgb_bytes(size, limits)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (colours, depth) = reader.output_color_type();
    rgb.resize(bytes, 0);
    if (colours, depth) == (png::ColorType::Rgb, png::BitDepth::Eight) {
        reader.next_frame(rgb).map_err(damaged)?;
    } else {
        let samples_bytes = bytes / 3 * colours.samples() * usize::from(depth as u8).div_ceil(8);
        let mut samples = vec![0; samples_bytes];
        reader.next_frame(&mut samples).map_err(damaged)?;
        png_to_rgb(colours, depth, &samples, rgb);
    }
    reader.finish().map_err(damaged)?;
    let turned = orientation(reader.info().exif_metadata.as_deref());
    Ok((size, turned))
}

/// Samples of 8 or 16 bits (high byte first) to RGB; alpha is ignored.
fn png_to_rgb(colours: png::ColorType, depth: png::BitDepth, samples: &[u8], rgb: &mut [u8]) {
    let level = |sample: &[u8]| match *sample {
        [high, low] => packed::to_8_bits(u16::from_be_bytes([high, low])),
        _ => sample[0],
    };
    let sample_bytes = if depth == png::BitDepth::Sixteen { 2 } else { 1 };
    let is_grey = matches!(colours, png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha);
    let pixels = samples.chunks_exact(colours.samples() * sample_bytes);
    for (to, from) in rgb.chunks_exact_mut(3).zip(pixels) {
        if is_grey {
            to.fill(level(&from[..sample_bytes]));
        } else {
            for (to, from) in to.iter_mut().zip(from.chunks_exact(sample_bytes)) {
                *to = level(from);
            }
        }
    }
}
