//! The sizes of images that the readers of image files support.

use std::ops::RangeInclusive;

/// The supported target sizes of images that are resampled: rows and columns.
pub const SIZES: RangeInclusive<usize> = 8..=256;

/// The supported lengths of an image's sides.
pub(crate) const SIDES: RangeInclusive<usize> = 8..=16_384;
/// The largest number of pixels of an image. Decoded, they take at most 128 MB.
pub(crate) const MAX_PIXELS: usize = 1 << 25;

/// The largest number of bytes of pixels or labels in an IDX file that is read: 2 GiB.
pub const MAX_BYTES: u64 = 1 << 31;
