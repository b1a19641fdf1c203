//! sensor_msgs/Image and sensor_msgs/CompressedImage as they lie on the wire, viewed as a [`Frame`] without copying.

use super::{
    cdr::{CdrError, Reader},
    text::{MAX_FRAME_ID_BYTES, clean_prefix},
};
use crate::perceive::{Frame, FrameError, Pixels, Stamp};

/// Which message the input topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// sensor_msgs/Image on `image`.
    Raw,
    /// sensor_msgs/CompressedImage on `image/compressed`.
    Compressed,
}

/// std_msgs/Header, the first field of both messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Acquisition time.
    pub stamp: Stamp,
    /// The optical frame: cut where it could not travel on (see [`clean_prefix`]).
    pub frame_id: &'a str,
}

impl<'a> From<&Frame<'a>> for Header<'a> {
    fn from(frame: &Frame<'a>) -> Self {
        Self { stamp: frame.stamp, frame_id: frame.frame_id }
    }
}

impl From<CdrError> for FrameError {
    fn from(error: CdrError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

/// Reads the header alone: enough to drop a stale frame.
///
/// # Errors
/// The message ends within the header, or is not plain CDR.
pub fn header(message: &[u8]) -> Result<Header<'_>, FrameError> {
    Ok(read_header(&mut Reader::new(message)?)?)
}

/// Whether the message's frame_id had to be cut to become [`Header::frame_id`].
pub fn frame_id_is_cut(message: &[u8]) -> bool {
    let raw_length = || {
        let mut reader = Reader::new(message)?;
        reader.i32("header.stamp.sec")?;
        reader.u32("header.stamp.nanosec")?;
        reader.string("header.frame_id").map(<[u8]>::len)
    };
    let kept = header(message).map(|header| header.frame_id.len());
    matches!((kept, raw_length()), (Ok(kept), Ok(raw)) if kept < raw)
}

/// Views a message as a frame. Only its layout is checked: whether size, step and data agree is for
/// [`crate::perceive::decode`].
///
/// # Errors
/// The message ends before its last field does, is not plain CDR, or an encoding or format string is not UTF-8.
pub fn frame(transport: Transport, message: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut reader = Reader::new(message)?;
    let Header { stamp, frame_id } = read_header(&mut reader)?;
    let pixels = match transport {
        Transport::Raw => read_image(&mut reader)?,
        Transport::Compressed => {
            let format = utf8("format", reader.string("format")?)?;
            Pixels::Compressed { format, data: reader.byte_sequence("data")? }
        }
    };
    Ok(Frame { stamp, frame_id, pixels })
}

fn read_header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, CdrError> {
    let stamp = Stamp { sec: reader.i32("header.stamp.sec")?, nanosec: reader.u32("header.stamp.nanosec")? };
    let frame_id = clean_prefix(reader.string("header.frame_id")?, MAX_FRAME_ID_BYTES);
    Ok(Header { stamp, frame_id })
}

fn read_image<'a>(reader: &mut Reader<'a>) -> Result<Pixels<'a>, FrameError> {
    let height = reader.u32("height")?;
    let width = reader.u32("width")?;
    let encoding = utf8("encoding", reader.string("encoding")?)?;
    let is_bigendian = reader.u8("is_bigendian")? != 0;
    let stride_bytes = reader.u32("step")?;
    let data = reader.byte_sequence("data")?;
    Ok(Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data })
}

fn utf8<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| {
        let start = &bytes[..bytes.len().min(32)];
        FrameError::BadMessage(format!("{field}: expected UTF-8, found \"{}\"", start.escape_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::cdr::Writer;

    fn image_message() -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.i32(1_700_000_000);
        writer.u32(123_456_789);
        writer.string("frame_id", "camera").unwrap();
        writer.u32(2); // height
        writer.u32(3); // width
        writer.string("encoding", "rgb8").unwrap();
        writer.u8(0);
        writer.u32(9); // step
        writer.byte_sequence("data", &(0..18).collect::<Vec<u8>>()).unwrap();
        buffer
    }

    fn compressed_message(format: &[u8], data: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.i32(-5);
        writer.u32(u32::MAX);
        writer.byte_sequence("frame_id", b"cam\0").unwrap();
        writer.byte_sequence("format", &[format, &[0]].concat()).unwrap();
        writer.byte_sequence("data", data).unwrap();
        buffer
    }

    #[test]
    fn an_image_is_viewed_without_copying() {
        let message = image_message();
        let frame = frame(Transport::Raw, &message).unwrap();
        assert_eq!(frame.stamp, Stamp { sec: 1_700_000_000, nanosec: 123_456_789 });
        assert_eq!(frame.frame_id, "camera");
        let Pixels::Raw { width, height, encoding, is_bigendian, stride_bytes, data } = frame.pixels else {
            panic!("expected a raw picture");
        };
        assert_eq!((width, height, encoding, is_bigendian, stride_bytes), (3, 2, "rgb8", false, 9));
        assert_eq!(data, &(0..18).collect::<Vec<u8>>()[..]);
        assert!(message.as_ptr_range().contains(&data.as_ptr()), "the pixels must not be copied");
    }

    #[test]
    fn a_compressed_image_is_viewed_without_copying() {
        let message = compressed_message(b"rgb8; jpeg compressed bgr8", b"\xff\xd8\xff");
        let frame = frame(Transport::Compressed, &message).unwrap();
        assert_eq!(frame.stamp, Stamp { sec: -5, nanosec: u32::MAX });
        let Pixels::Compressed { format, data } = frame.pixels else { panic!("expected a compressed picture") };
        assert_eq!((format, data), ("rgb8; jpeg compressed bgr8", &b"\xff\xd8\xff"[..]));
    }

    #[test]
    fn the_header_is_readable_alone() {
        let message = image_message();
        let alone = &message[..4 + 8 + 4 + 7];
        let expected = Header { stamp: Stamp { sec: 1_700_000_000, nanosec: 123_456_789 }, frame_id: "camera" };
        assert_eq!(header(alone).unwrap(), expected);
        assert!(frame(Transport::Raw, alone).is_err());
    }

    #[test]
    fn every_truncation_is_an_error_that_names_a_field() {
        for (transport, message) in
            [(Transport::Raw, image_message()), (Transport::Compressed, compressed_message(b"png", b"12345678"))]
        {
            assert!(frame(transport, &message).is_ok());
            for length in 0..message.len() {
                let error = frame(transport, &message[..length]).expect_err("a truncated message was read");
                assert!(error.to_string().contains("expected"), "{error}");
            }
        }
    }

    #[test]
    fn bytes_after_the_last_field_are_ignored() {
        // Some middleware pads the payload to a multiple of four.
        let mut message = image_message();
        message.extend_from_slice(&[0; 3]);
        assert!(frame(Transport::Raw, &message).is_ok());
    }

    #[test]
    fn a_format_that_is_not_utf8_is_refused_and_shown() {
        let message = compressed_message(b"jp\xffg", b"");
        let error = frame(Transport::Compressed, &message).unwrap_err();
        assert_eq!(error.to_string(), r#"cannot read the message: format: expected UTF-8, found "jp\xffg""#);
    }

    #[test]
    fn a_frame_id_is_cut_where_it_could_not_travel_on() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.i32(0);
        writer.u32(0);
        writer.byte_sequence("frame_id", b"cam\0era\xff\0").unwrap();
        assert_eq!(header(&buffer).unwrap().frame_id, "cam");
        assert!(frame_id_is_cut(&buffer));
        assert!(!frame_id_is_cut(&image_message()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(endian in 0u8..3, body: Vec<u8>) {
            let message = [&[0, endian, 0, 0], &body[..]].concat();
            let _ = header(&body);
            let _ = header(&message);
            let _ = frame_id_is_cut(&message);
            let _ = frame(Transport::Raw, &message);
            let _ = frame(Transport::Compressed, &message);
        }

        #[test]
        fn no_damage_makes_it_panic_or_reach_out_of_the_message(at in 0usize..80, value: u8, big_endian: bool) {
            let mut message = image_message();
            let at = at % message.len();
            message[at] = value;
            if big_endian { message[1] = 0; }
            if let Ok(frame) = frame(Transport::Raw, &message)
                && let Pixels::Raw { data, .. } = frame.pixels {
                prop_assert!(data.len() <= message.len());
            }
        }
    }
}
