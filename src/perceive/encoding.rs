//! The encoding strings of sensor_msgs/Image.

use super::frame::{FrameError, excerpt};

/// The pixel encodings the node takes (sensor_msgs/image_encodings.hpp).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Three bytes a pixel: red, green, blue.
    Rgb8,
    /// Three bytes a pixel: blue, green, red.
    Bgr8,
    /// As [`Self::Rgb8`] and a byte of alpha, which is ignored.
    Rgba8,
    /// As [`Self::Bgr8`] and a byte of alpha, which is ignored.
    Bgra8,
    /// One byte of grey a pixel.
    Mono8,
    /// 16 bits of grey a pixel, full scale 65535.
    Mono16(Endian),
    /// 4:2:2, bytes U Y V Y for each two pixels.
    Uyvy,
    /// 4:2:2, bytes Y U Y V for each two pixels (YUY2).
    Yuyv,
    /// 4:2:0, a plane of Y, then a plane of U V pairs.
    Nv12,
    /// 4:2:0, a plane of Y, then a plane of V U pairs.
    Nv21,
    /// 4:4:4, a plane of Y, then a plane of U V pairs.
    Nv24,
    /// One byte a pixel under a colour mosaic.
    Bayer8(BayerPattern),
}

/// Byte order of 16-bit samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// Low byte first.
    Little,
    /// High byte first.
    Big,
}

/// Colours of the mosaic's top left 2 x 2 pixels, in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BayerPattern {
    Rggb,
    Bggr,
    Gbrg,
    Grbg,
}

/// Every name the node takes. `yuv422` and `yuv422_yuy2` are the older names of `uyvy` and `yuyv`. OpenCV's `8UC1`,
/// `8UC3` and `8UC4` say nothing of colour; they are read as OpenCV orders channels, which is also how rviz2 shows
/// them. Those of [`DEPTH`] are not here.
const ENCODINGS: &[(&str, Encoding)] = &[
    ("rgb8", Encoding::Rgb8),
    ("bgr8", Encoding::Bgr8),
    ("rgba8", Encoding::Rgba8),
    ("bgra8", Encoding::Bgra8),
    ("mono8", Encoding::Mono8),
    ("mono16", Encoding::Mono16(Endian::Little)),
    ("uyvy", Encoding::Uyvy),
    ("yuyv", Encoding::Yuyv),
    ("nv12", Encoding::Nv12),
    ("nv21", Encoding::Nv21),
    ("nv24", Encoding::Nv24),
    ("bayer_rggb8", Encoding::Bayer8(BayerPattern::Rggb)),
    ("bayer_bggr8", Encoding::Bayer8(BayerPattern::Bggr)),
    ("bayer_gbrg8", Encoding::Bayer8(BayerPattern::Gbrg)),
    ("bayer_grbg8", Encoding::Bayer8(BayerPattern::Grbg)),
    ("yuv422", Encoding::Uyvy),
    ("yuv422_yuy2", Encoding::Yuyv),
    ("8UC1", Encoding::Mono8),
    ("8UC3", Encoding::Bgr8),
    ("8UC4", Encoding::Bgra8),
];

/// The encodings of depth images (REP-118), which hold no colours.
const DEPTH: [&str; 2] = ["16UC1", "32FC1"];

impl Encoding {
    /// Refuses a compressed picture whose `format` says that depth was compressed ("16UC1; png compressed "): its file may
    /// decode as grey all the same.
    ///
    /// # Errors
    /// [`FrameError::UnknownEncoding`], as [`Self::parse`] has it of the encoding.
    pub(super) fn refuse_depth(format: &str) -> Result<(), FrameError> {
        let before = format.split_once(';').map_or("", |(before, _)| before.trim());
        if DEPTH.contains(&before) { Err(FrameError::UnknownEncoding { found: before.to_owned() }) } else { Ok(()) }
    }

    /// Reads a message's encoding string. `is_bigendian` matters to 16-bit samples only.
    ///
    /// # Errors
    /// [`FrameError::UnknownEncoding`], naming what came and every name taken.
    pub fn parse(name: &str, is_bigendian: bool) -> Result<Self, FrameError> {
        let known = ENCODINGS.iter().find(|(known, _)| *known == name).map(|(_, encoding)| *encoding);
        match known {
            Some(Self::Mono16(_)) if is_bigendian => Ok(Self::Mono16(Endian::Big)),
            Some(encoding) => Ok(encoding),
            None => Err(FrameError::UnknownEncoding { found: excerpt(name) }),
        }
    }

    /// The name in sensor_msgs/image_encodings.hpp.
    pub fn name(self) -> &'static str {
        let plain = if matches!(self, Self::Mono16(_)) { Self::Mono16(Endian::Little) } else { self };
        ENCODINGS.iter().find(|(_, encoding)| *encoding == plain).map_or("", |(name, _)| name)
    }

    /// All names taken, for messages to people.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ENCODINGS.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::frame::RejectReason;

    #[test]
    fn every_encoding_has_a_name_that_reads_back() {
        for (_, encoding) in ENCODINGS {
            assert_eq!(Encoding::parse(encoding.name(), false), Ok(*encoding));
        }
        assert_eq!(Encoding::Mono16(Endian::Big).name(), "mono16");
        assert_eq!(Encoding::parse("mono16", true), Ok(Encoding::Mono16(Endian::Big)));
        assert_eq!(Encoding::parse("rgb8", true), Ok(Encoding::Rgb8));
    }

    #[test]
    fn older_names_and_opencv_types_are_read() {
        assert_eq!(Encoding::parse("yuv422", false), Ok(Encoding::Uyvy));
        assert_eq!(Encoding::parse("yuv422_yuy2", false), Ok(Encoding::Yuyv));
        assert_eq!(Encoding::parse("8UC3", false), Ok(Encoding::Bgr8));
    }

    #[test]
    fn an_unknown_encoding_is_named_beside_the_known_ones() {
        for name in ["", "RGB8", "rgb8 ", "32FC1", "16UC1", "rgb8\0"] {
            let error = Encoding::parse(name, false).unwrap_err();
            assert_eq!(error.reason(), RejectReason::Encoding);
            let text = error.to_string();
            assert!(text.contains(&format!("{name:?}")) && text.contains("bayer_grbg8"), "{text}");
        }
        let long = "é".repeat(1 << 20);
        assert!(Encoding::parse(&long, false).unwrap_err().to_string().len() < 500);
    }
}
