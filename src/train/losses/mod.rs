//! The losses, each one pure function on tensors, for a whole batch at once.
//!
//! Axes: b egocentric pictures, n exocentric pictures of each, C actions, M noise heads after them, h x w = N patches, D
//! the width of descriptors, K parts. Losses are scalars: means over b unless said otherwise. The functions of the
//! submodules trust their callers with shapes; [`looptrans`], [`locate`] and [`wsma`] check all of them once.

pub mod classification;
pub mod concentration;
pub mod correlation;
pub mod denoise;
pub mod locate;
pub mod looptrans;
pub mod pixel;
pub mod prototype;
pub mod wsma;

use tch::Tensor;

/// The terms of a loss by name, unweighted, each a scalar.
pub type Named<'a> = Vec<(&'static str, &'a Tensor)>;
