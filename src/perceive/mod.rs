//! Image bytes in, heatmaps and grasp regions out. No ROS, no async.
//!
//! ```text
//! Frame (borrowed bytes) -> decode: RGB8 at source size -> preprocess: u8 [1, H, W, 3] at network size
//!   -> infer: class maps f32 [A, h, w] + presence f32 [A] -> heatmap: [0, 1] at source size
//!   -> grasp: regions in source pixels -> overlay: a picture for people
//! ```
//!
//! With a depth image and a calibration, `depth` makes metric grasps of regions.
//!
//! Pixel coordinates are continuous with (0, 0) at the *centre* of the top left pixel, x right, y down (the image
//! plane of a REP-103 optical frame).

pub mod decode;
pub mod depth;
mod encoding;
pub mod frame;
pub mod grasp;
pub mod heatmap;
pub mod infer;
pub mod overlay;
pub mod picture;
pub mod pipeline;
pub mod preprocess;

pub use frame::{Encoding, Frame, FrameError, Pixels, RejectReason, Stamp, StampFault};
pub use infer::InferError;
