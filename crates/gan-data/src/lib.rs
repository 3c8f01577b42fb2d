//! Picture sets for GAN training: load them, keep some classes, draw seeded batches, and
//! write pictures as PNG grids, as a new set in MNIST's own format, or as a folder for each class.
//!
//! MNIST is compiled in, so this needs no file and no network:
//!
//! ```
//! use gan_data::{Batches, Source, Split};
//!
//! # fn main() -> gan_data::Result<()> {
//! let fives = Source::Mnist.load(Split::Train)?.filter(&["5".into()])?;
//! assert_eq!(fives.len(), 5421);
//!
//! let mut batches = Batches::new(fives, 64, 42)?; // batch size, seed
//! let batch = batches.batch(0)?;
//! assert_eq!(batch.images.dims(), [64, 1, 28, 28]); // f32 in [-1, 1]
//! # Ok(())
//! # }
//! ```
//!
//! Everywhere pictures are laid out (B, C, H, W). As bytes they are u8 in 0..=255, as
//! tensors f32 in [-1, 1]; [`range`] holds the only conversions between the two.
//!
//! # Features
//!
//! - `hub` (on by default): [`Source::Hub`], sets downloaded through `candle-datasets`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod dataset;
mod error;
pub mod files;
pub mod folder;
mod hub;
pub mod idx;
mod info;
mod mnist;
pub mod picture;
mod pictures;
pub mod range;
mod source;

pub use batches::{Batch, Batches};
pub use dataset::{Dataset, ImageShape, class_position};
pub use error::{Error, Result};
pub use info::DatasetInfo;
pub use pictures::Pictures;
pub use source::{HubDataset, Source, Split};
