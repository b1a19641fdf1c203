//! A camera frame as it arrived: borrowed bytes plus what the message says about them.

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
        /// `stride_bytes * height` bytes if the message is sound.
        data: &'a [u8],
    },
    /// sensor_msgs/CompressedImage holding a JPEG or PNG file.
    Compressed {
        /// The message's format string, e.g. "jpeg" or "rgb8; jpeg compressed bgr8". Never trusted over the bytes.
        format: &'a str,
        /// The whole file.
        data: &'a [u8],
    },
}

/// The pixel encodings the node takes (sensor_msgs/image_encodings.hpp).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Encoding {
    Rgb8,
    Bgr8,
    Rgba8,
    Bgra8,
    Mono8,
    Mono16,
    Yuv422Uyvy,
    Yuv422Yuy2,
    Nv21,
    Nv24,
    BayerRggb8,
    BayerBggr8,
    BayerGbrg8,
    BayerGrbg8,
}

/// Why a frame was rejected: the counter's name. Details for the log are in [`FrameError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// The message itself cannot be read.
    BadMessage,
    /// Width or height 0, step too small, data shorter than the rows need, sizes that overflow.
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

/// What is wrong with one frame. Rejects that frame only.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// See the message.
    #[error("cannot read the message: {0}")]
    BadMessage(String),
    /// The model failed, or its answer can't be used.
    #[error("inference: {0}")]
    Inference(String),
}

impl FrameError {
    /// The counter this error belongs to.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::BadMessage(_) => RejectReason::BadMessage,
            Self::Inference(_) => RejectReason::Inference,
        }
    }
}
