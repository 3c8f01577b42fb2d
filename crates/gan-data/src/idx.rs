//! The IDX format of MNIST: pictures and labels, plain or gzip'd.
//!
//! A file of pictures is four big-endian u32 (magic 0x0803, count, rows, columns) and then
//! a byte a pixel; a file of labels is two (magic 0x0801, count) and then a byte a label.
//! Files of EMNIST, whose names begin with `emnist-`, hold each picture transposed, which is undone.
//! Format: Yann LeCun, "The MNIST database of handwritten digits".

mod emnist;
mod folder;
mod header;
mod parse;
mod write;

pub use folder::load;
pub(crate) use folder::{join, load_pictures};
pub(crate) use header::read_header;
pub use parse::{Images, parse_images, parse_labels, read_images, read_labels};
pub use write::{encode_images, encode_labels, write};

/// One of the two kinds of IDX file.
struct Kind {
    /// First four bytes, big-endian.
    magic: u32,
    /// What the file holds, in messages.
    holds: &'static str,
    /// How file names end, before a possible `.gz`.
    suffix: &'static str,
}

const IMAGES: Kind = Kind { magic: 0x0803, holds: "pictures", suffix: "images-idx3-ubyte" };

const LABELS: Kind = Kind { magic: 0x0801, holds: "labels", suffix: "labels-idx1-ubyte" };
