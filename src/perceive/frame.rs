//! A camera frame as it arrived: borrowed bytes plus what the message says about them.

pub use super::encoding::{BayerPattern, Encoding, Endian};
use crate::{contract::Size, perceive::infer::FailureKind};

/// Acquisition time as in builtin_interfaces/Time: seconds (may be negative in a broken message) and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    /// Whole seconds since the epoch.
    pub sec: i32,
    /// Nanoseconds within the second; a message may carry any u32.
    pub nanosec: u32,
}

impl Stamp {
    /// Nanoseconds since the epoch; exact for every possible message.
    pub fn nanos(self) -> i64 {
        i64::from(self.sec) * 1_000_000_000 + i64::from(self.nanosec)
    }
}

/// One camera frame, borrowed from the message that carried it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Acquisition time, copied unchanged to every output.
    pub stamp: Stamp,
    /// The camera's optical frame (REP-103: z forward, x right, y down).
    pub frame_id: &'a str,
    /// The picture.
    pub pixels: Pixels<'a>,
}

/// The picture's bytes, as sensor_msgs/Image or sensor_msgs/CompressedImage carry them.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// sensor_msgs/Image. Nothing about it has been checked yet: [`super::decode`] does.
    Raw {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The encoding string, e.g. "rgb8".
        encoding: &'a str,
        /// Byte order of 16-bit samples.
        is_bigendian: bool,
        /// Bytes from one row to the next, padding included.
        stride_bytes: u32,
        /// `stride_bytes * height` bytes if the message is sound (and the second plane of nv12, nv21 and nv24).
        data: &'a [u8],
    },
    /// sensor_msgs/CompressedImage holding a JPEG or PNG file.
    Compressed {
        /// The message's format string, e.g. "jpeg" or "rgb8; jpeg compressed bgr8". What the file is follows from its
        /// bytes; that it holds depth is said here alone.
        format: &'a str,
        /// The whole file.
        data: &'a [u8],
    },
}

/// Why a frame was rejected: the counter's name. Details for the log are in [`FrameError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// The message itself cannot be read.
    BadMessage,
    /// Width or height 0, step too small, data shorter than the rows need.
    BadImage,
    /// An encoding or compression the node does not take.
    Encoding,
    /// More pixels than `max_image_pixels`.
    TooLarge,
    /// A JPEG or PNG that does not decode.
    Codec,
    /// Zero, negative or future stamp.
    Stamp,
    /// The model gave NaN, infinity or an error.
    Inference,
}

/// The file formats of compressed images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Codec {
    Jpeg,
    Png,
}

impl RejectReason {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::BadImage => "bad_image",
            Self::Encoding => "encoding",
            Self::TooLarge => "too_large",
            Self::Codec => "codec",
            Self::Stamp => "stamp",
            Self::Inference => "inference",
        }
    }
}

/// Why a stamp cannot be the time at which a picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampFault {
    /// The driver never set it.
    #[error("it is zero (the driver does not set it)")]
    Zero,
    /// Before the epoch.
    #[error("its seconds are negative")]
    Negative,
    /// A second has 10^9 nanoseconds.
    #[error("its nanoseconds are 10^9 or more")]
    Nanoseconds,
    /// Ahead of the ROS clock by more than clocks differ.
    #[error("it lies {ahead_nanos} ns in the future (are the clocks of the two machines synchronised?)")]
    Future {
        /// How far.
        ahead_nanos: i64,
    },
}

/// What is wrong with one frame. Rejects that frame only.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// See the message.
    #[error("cannot read the message: {0}")]
    BadMessage(String),
    /// The stamp is refused (`stamp_policy: reject`).
    #[error("stamp {}.{:09}: {fault}; stamp_policy is reject", .stamp.sec, .stamp.nanosec)]
    Stamp {
        /// As the message has it.
        stamp: Stamp,
        /// What is wrong with it.
        fault: StampFault,
    },
    /// The model failed, or its answer can't be used.
    #[error("inference: {0}")]
    Inference(String),
    /// The hardware could not run the model; the picture has no part in it.
    #[error("inference: {kind}: {cause}")]
    Device {
        /// What the failure is about.
        kind: FailureKind,
        /// ONNX Runtime's words.
        cause: String,
    },
    /// No pixels.
    #[error("the image is empty: width {width}, height {height}")]
    ZeroSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Neither a name of image_encodings.hpp nor one the node takes.
    #[error("unknown encoding {found:?}; taken are: {}", Encoding::names().collect::<Vec<_>>().join(" "))]
    UnknownEncoding {
        /// The beginning of the message's string.
        found: String,
    },
    /// Step smaller than one row.
    #[error("step {stride_bytes} is too small: {width} pixels of {encoding} need {expected_bytes} bytes")]
    StrideTooSmall {
        /// The encoding's name.
        encoding: &'static str,
        /// Width in pixels.
        width: u32,
        /// The message's step.
        stride_bytes: u32,
        /// Bytes of one row without padding.
        expected_bytes: u64,
    },
    /// Step 0, which is only taken where the data is exactly as long as rows without padding.
    #[error(
        "step is 0, and {found_bytes} bytes are not the {expected_bytes} of {width}x{height} {encoding} without padding"
    )]
    StrideZero {
        /// The encoding's name.
        encoding: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of the picture without padding.
        expected_bytes: u64,
        /// Bytes of the message.
        found_bytes: u64,
    },
    /// Fewer bytes than the size and the step say.
    #[error(
        "data is too short: {width}x{height} {encoding} with step {stride_bytes} need {expected_bytes} bytes, found {found_bytes}"
    )]
    DataTooShort {
        /// The encoding's name.
        encoding: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The message's step.
        stride_bytes: u32,
        /// Bytes of all rows, padding included.
        expected_bytes: u64,
        /// Bytes of the message.
        found_bytes: u64,
    },
    /// A size that the encoding can't have.
    #[error("{encoding} needs {need}, found {width}x{height}")]
    SizeUnfit {
        /// The encoding's name.
        encoding: &'static str,
        /// What the encoding asks of the size.
        need: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// More pixels than allowed; found before anything is allocated.
    #[error("{width}x{height} is more than max_image_pixels = {max_image_pixels}")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit.
        max_image_pixels: u64,
    },
    /// Compressed data that begins like neither a JPEG nor a PNG file.
    #[error("neither JPEG nor PNG: {data_bytes} bytes that begin {first_bytes:02x?} (format {format:?})")]
    UnknownCompression {
        /// The beginning of the message's format string.
        format: String,
        /// Up to eight bytes.
        first_bytes: Vec<u8>,
        /// Bytes of the message.
        data_bytes: usize,
    },
    /// A sound file of a kind without plain colours, e.g. a CMYK JPEG.
    #[error("{codec:?} with {found} is not taken; colour or grey is")]
    UnsupportedColours {
        /// The file format.
        codec: Codec,
        /// What the file holds.
        found: String,
    },
    /// A damaged file.
    #[error("{codec:?} does not decode: {cause}")]
    Codec {
        /// The file format.
        codec: Codec,
        /// What the decoder says.
        cause: String,
    },
    /// Size and data of a decoded picture do not belong together.
    #[error("cannot resize {}x{}: {cause}", size.width, size.height)]
    Resize {
        /// The picture's size.
        size: Size,
        /// What the resizer says.
        cause: String,
    },
}

impl FrameError {
    /// The counter this error belongs to.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::BadMessage(_) => RejectReason::BadMessage,
            Self::Stamp { .. } => RejectReason::Stamp,
            Self::Inference(_) | Self::Device { .. } => RejectReason::Inference,
            Self::ZeroSize { .. }
            | Self::StrideTooSmall { .. }
            | Self::StrideZero { .. }
            | Self::DataTooShort { .. }
            | Self::SizeUnfit { .. }
            | Self::Resize { .. } => RejectReason::BadImage,
            Self::UnknownEncoding { .. } | Self::UnknownCompression { .. } | Self::UnsupportedColours { .. } => {
                RejectReason::Encoding
            }
            Self::TooLarge { .. } => RejectReason::TooLarge,
            Self::Codec { .. } => RejectReason::Codec,
        }
    }
}

impl FrameError {
    /// What a failure of the model is about; [`FailureKind::Other`] for anything that is none.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Device { kind, .. } => *kind,
            _ => FailureKind::Other,
        }
    }
}

/// At most 64 characters of a string that may be megabytes long, for a log line.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_keep_every_nanosecond() {
        assert_eq!(Stamp { sec: 1, nanosec: 5 }.nanos(), 1_000_000_005);
        assert_eq!(Stamp { sec: -1, nanosec: 0 }.nanos(), -1_000_000_000);
        assert_eq!(Stamp { sec: i32::MAX, nanosec: u32::MAX }.nanos(), 2_147_483_651_294_967_295);
    }
}
