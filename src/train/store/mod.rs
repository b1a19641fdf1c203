//! A feature store: what the frozen backbone says of a dataset's pictures, computed once and kept on disk.
//!
//! ```text
//! index.json         whose features these are: backbone, augmentation, variants, precision; every picture's size and SHA-256
//! descriptors.bin    [rows, N, D] (WSMA: 2D, of two blocks), little-endian f32 or f16
//! attention.bin      [rows, heads, N], likewise
//! done.bin           a byte for every row: 1 once its features are safe on disk
//!
//! row = picture * variants + variant    for training pictures; then one row for each test picture
//! ```
//!
//! The seed of a picture's augmentation is the number of the variant, as [`Variants::Fixed`] draws it, and the pictures go
//! through [`Live`]: a row holds what a live step computes of the same draw.
//!
//! A build can be ended at any moment. A row counts once its byte in `done.bin` is set, which happens after its data were
//! synced; what was half written is written again.
//!
//! [`Variants::Fixed`]: crate::data::sampling::Variants::Fixed
//! [`Live`]: super::features::Live

mod build;
mod index;
mod read;

pub use build::{Builder, Progress, Recipe};
pub use index::{Precision, Volume};
pub use read::{Kept, Reading, Store};
