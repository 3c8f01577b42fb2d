//! Image data sets for GAN training.
//!
//! This crate loads data sets, filters classes, draws seeded batches, and writes images as PNG
//! files, as IDX files (the format of MNIST) or as one directory per class.
//!
//! MNIST is compiled in, so this example needs no file and no network:
//!
#![cfg_attr(feature = "mnist", doc = "```")]
#![cfg_attr(not(feature = "mnist"), doc = "```ignore")]
//! use gan_data::{Batches, Source, Split};
//!
//! # fn main() -> gan_data::Result<()> {
//! let fives = Source::Mnist.load(Split::Train)?.filter_classes(&["5".into()])?;
//! assert_eq!(fives.len(), 5421);
//!
//! let mut batches = Batches::new(fives, 64, 42)?; // batch size, seed
//! let batch = batches.batch(0)?;
//! assert_eq!(batch.images.dims(), [64, 1, 28, 28]); // f32 in [-1, 1]
//! # Ok(())
//! # }
//! ```
//!
//! The layout of images is (B, C, H, W) everywhere. Bytes are u8 in 0..=255, tensors are f32 in
//! [-1, 1]. The module [`range`] converts between the two.
//!
//! # Features
//!
//! - `mnist` (on by default): [`Source::Mnist`]. It compiles the four files of MNIST into the
//!   program (9.9 MB). MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges and has
//!   a licence of its own: [CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/). A
//!   program that includes the files must name the authors and the licence.
//! - `tar` (on by default): [`Source::Shards`] of tar files.
//! - `parquet`: [`Source::Shards`] of Parquet files.
//! - `hub`: [`Source::Hub`], data sets that `candle-datasets` downloads.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod checks;
mod contents;
mod dataset;
mod error;
pub mod files;
pub mod folder;
mod hold_out;
mod hub;
pub mod idx;
mod image_set;
mod images;
mod info;
mod limits;
mod mnist;
mod order;
pub mod png;
pub mod range;
mod shape;
pub mod shards;
mod source;
mod split;
mod stream;

pub use batches::{Batch, Batches};
/// The tensor library of this crate's public types. Its version must match the caller's.
pub use candle_core;
pub use contents::{Contents, FNV_BASIS, fnv};
pub use dataset::{Dataset, class_position};
pub use error::{BoxError, Error, Result};
pub use hub::HubDataset;
pub use image_set::ImageSet;
pub use images::Images;
pub use info::DatasetInfo;
pub use shape::ImageShape;
pub use source::Source;
pub use split::Split;
pub use stream::Stream;
