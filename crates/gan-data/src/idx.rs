//! The IDX format of MNIST: images and labels, plain or gzipped.
//!
//! An image file has four big-endian u32 (magic 0x0803, count, rows, columns) followed by one byte
//! per pixel. A label file has two (magic 0x0801, count) followed by one byte per label. EMNIST
//! stores each image transposed, so images of files whose names start with `emnist-` are transposed
//! back.
//! Format: Yann LeCun, "The MNIST database of handwritten digits".

mod directory;
mod emnist;
mod header;
mod images;
mod parse;
mod write;

pub use crate::limits::MAX_BYTES;
#[cfg(feature = "mnist")]
pub(crate) use directory::join;
pub use directory::load;
pub(crate) use directory::{has_test_images, load_images};
pub(crate) use header::read_header;
pub use images::Images;
pub use parse::{parse_images, parse_labels, read_images, read_labels};
pub use write::{encode_images, encode_labels, write};

/// A kind of IDX file.
struct Kind {
    /// First four bytes, big-endian.
    magic: u32,
    /// The content of the file, for error messages.
    holds: &'static str,
    /// The end of the file name, without `.gz`.
    suffix: &'static str,
}

const IMAGES: Kind = Kind { magic: 0x0803, holds: "images", suffix: "images-idx3-ubyte" };

const LABELS: Kind = Kind { magic: 0x0801, holds: "labels", suffix: "labels-idx1-ubyte" };
