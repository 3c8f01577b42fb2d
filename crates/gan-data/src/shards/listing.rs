//! What the readers of shards return.

use std::path::{Path, PathBuf};

/// The label of an image, if it has one.
pub(super) type Label = Option<u32>;

/// The images of a shard, in order.
pub(super) struct Listing<T> {
    /// Where they are.
    pub(super) images: T,
    /// One for each.
    pub(super) labels: Vec<Label>,
    /// A hash of names, places, sizes and labels.
    pub(super) hash: u64,
}

impl<T> Listing<T> {
    /// The same, with the places as part of another type.
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> Listing<U> {
        Listing { images: to(self.images), labels: self.labels, hash: self.hash }
    }
}

/// What a file in a shard is called in messages.
pub(super) fn entry_path(shard: &Path, name: &str) -> PathBuf {
    format!("{}:{name}", shard.display()).into()
}
