//! Sets of many images in few files, which are read while they are trained on.
//!
//! [`Shards::open`] lists the images of the files: where each is, and its label. That takes 45 bytes of
//! memory or less for each image. [`ShardedImages`] says how they are decoded; any of them can be read by
//! its number.

mod find;
mod images;
mod listing;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(all(test, feature = "parquet"))]
mod parquet_tests;
mod set;
mod shard;
#[cfg(feature = "tar")]
mod tar;
#[cfg(all(test, any(feature = "tar", feature = "parquet")))]
mod test_image;
#[cfg(all(test, feature = "tar"))]
mod tests;

pub use images::{BUFFER, SAMPLE, ShardedImages};
pub use set::Shards;
