//! The error type of this crate.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::folder::Size;
use crate::limits::{MAX_BYTES, MAX_PIXELS, SIDES, SIZES};
use crate::shape::ImageShape;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The error that an operating system, a decoder or an encoder returned.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Error of this crate's functions.
///
/// Each message names the file or the data set. It does not repeat the cause, which is the error's
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A file or directory cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A gzip file is truncated, damaged or followed by other bytes.
    #[error("{path}: broken gzip")]
    Gzip {
        /// The gzip file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// An IDX file ends within its header.
    #[error("{path}: truncated header: expected {expected} bytes, found {found}")]
    TruncatedHeader {
        /// The IDX file.
        path: PathBuf,
        /// Size of the header in bytes.
        expected: u64,
        /// Size of the unpacked file in bytes.
        found: u64,
    },

    /// An IDX file is shorter than its header says.
    #[error("{path}: truncated body: expected {expected} bytes after the header, found {found}")]
    TruncatedBody {
        /// The IDX file.
        path: PathBuf,
        /// Bytes after the header, as the header says.
        expected: u64,
        /// Bytes after the header.
        found: u64,
    },

    /// An IDX file is longer than its header says.
    #[error(
        "{path}: trailing bytes: expected {expected} bytes after the header, found at least {found}"
    )]
    TrailingBytes {
        /// The IDX file.
        path: PathBuf,
        /// Bytes after the header, as the header says.
        expected: u64,
        /// Bytes after the header that were read.
        found: u64,
    },

    /// A file does not start with the magic number of an IDX file.
    #[error(
        "{path}: not an IDX file of {wanted}: expected magic {expected:#010x}, found {found:#010x}"
    )]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// "images" or "labels".
        wanted: &'static str,
        /// The expected magic number, the first four bytes in big-endian order.
        expected: u32,
        /// The first four bytes of the file.
        found: u32,
    },

    /// An IDX file holds labels where images are expected, or images where labels are expected.
    #[error("{path}: mislabelled: an IDX file of {found} where {wanted} are expected")]
    WrongKind {
        /// The IDX file.
        path: PathBuf,
        /// "images" or "labels".
        wanted: &'static str,
        /// "labels" or "images".
        found: &'static str,
    },

    /// The header of an IDX file gives a size beyond the limit.
    #[error(
        "{path}: too large: {count} images of {shape} pixels; an IDX file is read up to {} GiB",
        MAX_BYTES >> 30
    )]
    TooLarge {
        /// The IDX file.
        path: PathBuf,
        /// Number of images in the header.
        count: u32,
        /// Shape of the images in the header.
        shape: ImageShape,
    },

    /// An image file and its label file differ in count.
    #[error("{images_path} holds {images} images, {labels_path} holds {labels} labels")]
    CountMismatch {
        /// The image file.
        images_path: PathBuf,
        /// Number of images.
        images: usize,
        /// The label file.
        labels_path: PathBuf,
        /// Number of labels.
        labels: usize,
    },

    /// A directory lacks an IDX file.
    #[error("{path}: no {wanted} file: looked for {looked_for}")]
    MissingFile {
        /// The directory.
        path: PathBuf,
        /// "images" or "labels".
        wanted: &'static str,
        /// The accepted file names.
        looked_for: String,
    },

    /// Several IDX files of a directory match. Only one of them may stay.
    #[error("{path}: ambiguous {wanted} file: looked for {looked_for}, found {}", found.join(", "))]
    AmbiguousFile {
        /// The directory.
        path: PathBuf,
        /// "images" or "labels".
        wanted: &'static str,
        /// The accepted file names.
        looked_for: String,
        /// The names of the matching files, sorted.
        found: Vec<String>,
    },

    /// The number of pixel bytes does not match the shape or the number of labels.
    #[error("{name}: expected {expected} bytes of pixels, found {found}")]
    PixelCount {
        /// The data set or file.
        name: String,
        /// Expected number of bytes.
        expected: usize,
        /// Number of bytes given.
        found: usize,
    },

    /// There are no images, or the images have no channels, rows or columns.
    #[error("{name}: zero sized: {count} images of {shape} pixels")]
    Empty {
        /// The data set or file.
        name: String,
        /// Number of images.
        count: usize,
        /// Shape of the images.
        shape: ImageShape,
    },

    /// A label is not the index of a class.
    #[error(
        "{name}: label {label} of image {index} is out of range: \
         labels are at least {} and less than {}",
        valid.start, valid.end
    )]
    LabelOutOfRange {
        /// The data set or file.
        name: String,
        /// Index of the image, from 0.
        index: usize,
        /// Its label.
        label: u32,
        /// The valid labels.
        valid: Range<u32>,
    },

    /// A file format cannot hold images of this number of channels.
    #[error("{path}: cannot hold images of {channels} channels, only {supported}")]
    Channels {
        /// The file to write.
        path: PathBuf,
        /// Number of channels.
        channels: usize,
        /// The supported numbers of channels.
        supported: &'static str,
    },

    /// A count or size exceeds the limit of a file format.
    #[error("{path}: cannot hold {what} of {value}")]
    FormatLimit {
        /// The file to write.
        path: PathBuf,
        /// "a count", "a height" or "a width".
        what: &'static str,
        /// The value that is too large.
        value: usize,
    },

    /// A grid has zero columns.
    #[error("{path}: a grid needs at least one column")]
    NoColumns {
        /// The file to write.
        path: PathBuf,
    },

    /// An image cannot be encoded as PNG.
    #[error("{path}: cannot encode as PNG")]
    Encode {
        /// The file to write.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },

    /// An image file is truncated or damaged.
    #[error("{path}: not a valid {format} image")]
    Decode {
        /// The file.
        path: PathBuf,
        /// "PNG" or "JPEG".
        format: &'static str,
        /// The cause.
        source: BoxError,
    },

    /// A file starts neither as a JPEG nor as a PNG image does.
    #[error("{path}: neither a JPEG nor a PNG image")]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },

    /// An image of a folder is too small or too large.
    #[error(
        "{path}: an image of {width}x{height} pixels; sides must be {} to {} pixels, and an image \
         at most {MAX_PIXELS} pixels",
        SIDES.start(), SIDES.end()
    )]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// Columns of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
    },

    /// An image of a folder would lose nearly all of itself.
    #[error(
        "{path}: an image of {width}x{height} pixels, of which cropping to the ratio of {size} leaves \
         less than a tenth; crop it beforehand or choose another --size"
    )]
    Cropped {
        /// The file.
        path: PathBuf,
        /// Columns of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
        /// The size asked for.
        size: Size,
    },

    /// An image cannot be resampled.
    #[error("{path}: cannot be resampled")]
    Resample {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },

    /// Images lie beside class folders, so they have no class.
    #[error(
        "{path}: {images} images beside the class folders have no class: \
         move them into a class folder"
    )]
    UnlabelledImages {
        /// The folder.
        path: PathBuf,
        /// Number of images directly in the folder.
        images: usize,
    },

    /// No image of a folder can be read.
    #[error("{path}: none of the {images} images in it can be read; the first")]
    NoValidImage {
        /// The folder.
        path: PathBuf,
        /// Number of images in it.
        images: usize,
        /// The error of the first image.
        source: Box<Error>,
    },

    /// The target size of the images of a folder is not supported.
    #[error(
        "size {size}: images are resampled to {} to {} pixels a side", SIZES.start(), SIZES.end()
    )]
    TargetSize {
        /// The size asked for.
        size: Size,
    },

    /// The target folder of an export is not empty.
    #[error("{path}: not empty; images are written into a new folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },

    /// Two images differ in shape.
    #[error("{path}: an image of {found} pixels, those before it have {expected}")]
    MixedShapes {
        /// The first image that differs.
        path: PathBuf,
        /// Its shape.
        found: ImageShape,
        /// The shape of the images before it.
        expected: ImageShape,
    },

    /// A directory contains no images.
    #[error("{path}: no images in it; looked for {looked_for}")]
    NoImages {
        /// The directory.
        path: PathBuf,
        /// The accepted file names.
        looked_for: &'static str,
    },

    /// A shard, or a label in it, cannot be read as what its name says.
    #[error("{path}: not a valid {format} file")]
    Shard {
        /// The shard, or the file in it.
        path: PathBuf,
        /// "tar", "Parquet", "JSON" or "label".
        format: &'static str,
        /// The cause.
        source: BoxError,
    },

    /// A shard ends before its images do.
    #[error("{path}: truncated: {entry:?} would end at byte {end}, the file ends at byte {length}")]
    TruncatedShard {
        /// The shard.
        path: PathBuf,
        /// The file in it.
        entry: String,
        /// Where the file would end.
        end: u64,
        /// Size of the shard in bytes.
        length: u64,
    },

    /// An image in a shard has no label, while others have one.
    #[error(
        "{path}: an image without a label, while {labelled} images of the set have one; labels are \
         whole numbers in NAME.cls or as \"label\" in NAME.json of a tar file, or in the column label \
         of a Parquet file"
    )]
    Unlabelled {
        /// The first such image.
        path: PathBuf,
        /// Number of images with a label.
        labelled: usize,
    },

    /// The text of a label in a shard is no label.
    #[error("{path}: {text:?} is no label; a whole number from 0 to {} is needed", u32::MAX)]
    NotALabel {
        /// The file in the shard.
        path: PathBuf,
        /// Its text.
        text: String,
    },

    /// A Parquet file has no column of images.
    #[error(
        "{path}: no column of images; looked for image as struct{{bytes, path}} or binary, found {}",
        columns.join(", ")
    )]
    NoImageColumn {
        /// The file.
        path: PathBuf,
        /// The names of its columns.
        columns: Vec<String>,
    },

    /// A sharded set has more classes than networks are made for.
    #[error("{dataset}: {classes} different labels; at most {most} classes are supported")]
    TooManyClasses {
        /// The data set.
        dataset: String,
        /// Number of different labels.
        classes: usize,
        /// The largest number.
        most: usize,
    },

    /// A shard is another one than it was.
    #[error("{path}: since the run began, {name} {change}; restore the files, or begin a new run")]
    ChangedShard {
        /// The set.
        path: PathBuf,
        /// The file's name.
        name: String,
        /// What has changed.
        change: &'static str,
    },

    /// Many images in a row cannot be decoded.
    #[error("{path}: {images} images in a row cannot be read; the first")]
    ManyUnreadable {
        /// The set.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// The error of the first image.
        source: Box<Error>,
    },

    /// A thread that reads images cannot be started, or ended early.
    #[error("no thread to read images")]
    Thread {
        /// The cause.
        source: io::Error,
    },

    /// The data set does not have the named class.
    #[error("{dataset} has no class {class:?}; it has {}", known.join(", "))]
    UnknownClass {
        /// The data set.
        dataset: String,
        /// The name asked for.
        class: String,
        /// The names of its classes.
        known: Vec<String>,
    },

    /// A class is named twice.
    #[error("{dataset}: class {class:?} is named twice")]
    RepeatedClass {
        /// The data set.
        dataset: String,
        /// The repeated name.
        class: String,
    },

    /// The data set has no images of the named class.
    #[error("{dataset} has no images of class {class:?}")]
    EmptyClass {
        /// The data set.
        dataset: String,
        /// The name asked for.
        class: String,
    },

    /// A class filter names no class.
    #[error("{dataset}: the class filter is empty; name one or more of {}", known.join(", "))]
    NoClass {
        /// The data set.
        dataset: String,
        /// The names of its classes.
        known: Vec<String>,
    },

    /// The batch size is zero.
    #[error("batch size must be at least 1")]
    ZeroBatchSize,

    /// The batch size exceeds the number of images.
    #[error("batch size {batch_size} exceeds the {images} images of {dataset}")]
    BatchTooLarge {
        /// Batch size asked for.
        batch_size: usize,
        /// Number of images in the data set.
        images: usize,
        /// The data set.
        dataset: String,
    },

    /// A text names no data source.
    #[error(
        "unknown dataset {given:?}; known are mnist, idx:DIR, folder:DIR, shards:DIR, hub:mnist, hub:fashion-mnist{}",
        directory_hint(given)
    )]
    UnknownSource {
        /// The text.
        given: String,
    },

    /// A data source needs a cargo feature that is off in this program.
    #[error(
        "{dataset} needs a program built with `--features {feature}`, as in `cargo install --path crates/trainer --features {feature}`"
    )]
    FeatureDisabled {
        /// The data source, e.g. `hub:mnist`.
        dataset: String,
        /// The cargo feature of this crate.
        feature: &'static str,
    },

    /// A data set of the hub cannot be downloaded or decoded.
    #[error("cannot load {dataset}")]
    Hub {
        /// The data source, e.g. `hub:mnist`.
        dataset: String,
        /// The cause.
        source: candle_core::Error,
    },

    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// What to type instead of a directory's path alone.
fn directory_hint(given: &str) -> String {
    if !Path::new(given).is_dir() {
        return String::new();
    }
    format!("; for a directory of images, folder:{given}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_source_and_crosses_threads() {
        fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
            format!("{error}: {}", error.source().unwrap())
        }
        let error = Error::Read { path: "some/file".into(), source: io::Error::other("reason") };
        assert_eq!(chain(error), "cannot read some/file: reason");
    }
}
