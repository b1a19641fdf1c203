//! `cdr`: image messages as they come from the wire.

use looptrans_ros::{
    message::{
        bulk,
        image::{self, Header, Transport},
        text::MAX_FRAME_ID_BYTES,
    },
    perceive::{
        Pixels,
        decode::{Limits, decode},
        depth::DepthImage,
    },
};

/// More than any input has bytes: what is larger must be refused.
const LIMITS: Limits = Limits { max_image_pixels: 1 << 16 };

/// Any bytes as an Image, a CompressedImage and a depth image.
pub fn cdr(bytes: &[u8]) {
    let header = image::header(bytes);
    let _ = image::frame_id_is_cut(bytes);
    for transport in [Transport::Raw, Transport::Compressed] {
        let frame = match image::frame(transport, bytes) {
            Ok(frame) => frame,
            Err(error) => {
                super::assert_readable(&error);
                continue;
            }
        };
        assert_eq!(header.as_ref().ok(), Some(&Header::from(&frame)), "the header read alone is another one");
        assert!(!frame.frame_id.contains('\0') && frame.frame_id.len() <= MAX_FRAME_ID_BYTES);
        let (Pixels::Raw { data, .. } | Pixels::Compressed { data, .. }) = frame.pixels;
        let (message, pixels) = (bytes.as_ptr_range(), data.as_ptr_range());
        assert!(message.start <= pixels.start && pixels.end <= message.end, "pixels outside of the message");
        let _ = decode(&frame.pixels, &LIMITS, &mut Vec::new()).map_err(|error| super::assert_readable(&error));
        depth(&frame.pixels);
        if let Pixels::Compressed { format, data } = frame.pixels {
            comes_back(Header::from(&frame), format, data);
        }
    }
}

fn depth(pixels: &Pixels<'_>) {
    match DepthImage::new(pixels, LIMITS.max_image_pixels) {
        Ok(image) => {
            let size = image.size();
            for (x, y) in [(0, 0), (size.width - 1, size.height - 1), (size.width, 0), (u32::MAX, u32::MAX)] {
                let metres = image.at(x, y);
                assert!(metres.is_nan() || metres > 0.0);
            }
            let _ = image.check_values(0.1, 10.0).map_err(|error| super::assert_readable(&error));
        }
        Err(error) => super::assert_readable(&error),
    }
}

/// What was read, written again, reads the same.
fn comes_back(header: Header<'_>, format: &str, data: &[u8]) {
    let mut buffer = Vec::new();
    bulk::write_compressed(&mut buffer, header, format, data).unwrap();
    let again = image::frame(Transport::Compressed, &buffer).unwrap();
    assert_eq!(Header::from(&again), header);
    let Pixels::Compressed { format: read, data: same } = again.pixels else { unreachable!("asked for compressed") };
    // A string ends at its first NUL.
    assert_eq!((read, same), (format.split('\0').next().unwrap_or(""), data));
}
