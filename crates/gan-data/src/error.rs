//! What can go wrong with picture sets and their files.

use std::io;
use std::path::PathBuf;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Error of this crate's functions.
///
/// The text of each names the file or set it is about; the reason that the system or a
/// decoder gave is no part of it, but its [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file could not be written, or a folder not be made.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A gzip'd file does not unpack: cut short, altered, or followed by something else.
    #[error("{file}: broken gzip")]
    Gzip {
        /// The gzip'd file.
        file: PathBuf,
        /// The decoder's reason.
        source: io::Error,
    },

    /// An IDX file ends inside its header.
    #[error("{file}: truncated header: expected {expected} bytes, found {found}")]
    TruncatedHeader {
        /// The IDX file.
        file: PathBuf,
        /// Size of the header in bytes.
        expected: u64,
        /// Bytes in the (unpacked) file.
        found: u64,
    },

    /// An IDX file is shorter than its header says.
    #[error("{file}: truncated body: expected {expected} bytes after the header, found {found}")]
    TruncatedBody {
        /// The IDX file.
        file: PathBuf,
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes after the header.
        found: u64,
    },

    /// An IDX file is longer than its header says.
    #[error(
        "{file}: trailing bytes: expected {expected} bytes after the header, found at least {found}"
    )]
    TrailingBytes {
        /// The IDX file.
        file: PathBuf,
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes after the header, where reading stopped.
        found: u64,
    },

    /// A file that does not begin as an IDX file of pictures or labels does.
    #[error(
        "{file}: not an IDX file of {wanted}: expected magic {expected:#010x}, found {found:#010x}"
    )]
    WrongMagic {
        /// The file.
        file: PathBuf,
        /// "pictures" or "labels".
        wanted: &'static str,
        /// First four bytes of such a file, big-endian.
        expected: u32,
        /// First four bytes of this one, big-endian.
        found: u32,
    },

    /// An IDX file of labels where pictures are wanted, or the other way round.
    #[error("{file}: mislabelled: an IDX file of {found} where {wanted} are wanted")]
    Mislabelled {
        /// The IDX file.
        file: PathBuf,
        /// "pictures" or "labels".
        wanted: &'static str,
        /// "labels" or "pictures".
        found: &'static str,
    },

    /// An IDX file of no pictures, or of pictures without rows or columns.
    #[error("{file}: zero sized: {count} pictures of {height} x {width} pixels")]
    ZeroSized {
        /// The IDX file.
        file: PathBuf,
        /// Pictures announced.
        count: u32,
        /// Rows announced.
        height: u32,
        /// Columns announced.
        width: u32,
    },

    /// An IDX file whose header announces more bytes than this machine can hold.
    #[error(
        "{file}: too large: {count} pictures of {height} x {width} pixels do not fit in memory"
    )]
    TooLarge {
        /// The IDX file.
        file: PathBuf,
        /// Pictures announced.
        count: u32,
        /// Rows announced.
        height: u32,
        /// Columns announced.
        width: u32,
    },

    /// A picture file and its label file differ in count.
    #[error("{images_file} holds {images} pictures, {labels_file} holds {labels} labels")]
    CountMismatch {
        /// The picture file.
        images_file: PathBuf,
        /// Pictures in it.
        images: usize,
        /// The label file.
        labels_file: PathBuf,
        /// Labels in it.
        labels: usize,
    },

    /// A folder lacks an IDX file.
    #[error("{folder}: no {wanted} file: looked for {looked_for}")]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// "pictures" or "labels".
        wanted: &'static str,
        /// The file names that would do.
        looked_for: String,
    },

    /// A folder has several files that could be meant; keep one.
    #[error(
        "{folder}: ambiguous {wanted} file: looked for {looked_for}, found {}",
        found.join(", ")
    )]
    AmbiguousFile {
        /// The folder.
        folder: PathBuf,
        /// "pictures" or "labels".
        wanted: &'static str,
        /// The file names that would do.
        looked_for: String,
        /// The names of those found, in order.
        found: Vec<String>,
    },

    /// Pictures are exported without labels next to the labels of something else.
    #[error("{path} holds labels of other pictures: remove it, or choose another folder")]
    StaleLabels {
        /// The label file that is in the way.
        path: PathBuf,
    },

    /// Pixels do not fill a whole number of pictures, or not as many as there are labels.
    #[error("{name}: expected {expected} bytes of pixels, found {found}")]
    PixelCount {
        /// What the pixels are for: a set or a file.
        name: String,
        /// Bytes wanted.
        expected: usize,
        /// Bytes given.
        found: usize,
    },

    /// No pictures, or pictures without channels, rows or columns.
    #[error("{name}: no pixels: {count} pictures of {channels} x {height} x {width}")]
    Empty {
        /// What the pictures are for: a set or a file.
        name: String,
        /// Pictures given.
        count: usize,
        /// Channels of each.
        channels: usize,
        /// Rows of each.
        height: usize,
        /// Columns of each.
        width: usize,
    },

    /// A label that stands for no class.
    #[error(
        "{name}: label {label} of picture {index} is out of range: there are {classes} classes"
    )]
    LabelOutOfRange {
        /// The set, or the file to be written.
        name: String,
        /// Number of the picture, from 0.
        index: usize,
        /// Its label.
        label: u32,
        /// Labels must be less than this.
        classes: usize,
    },

    /// A label that the named set does not have.
    #[error("{name}: label {label} of picture {index} is out of range: they are {least} to {most}")]
    LabelOutside {
        /// The file.
        name: String,
        /// Number of the picture, from 0.
        index: usize,
        /// Its label.
        label: u32,
        /// The least that there is.
        least: u32,
        /// The largest that there is.
        most: u32,
    },

    /// A file format cannot hold this number of channels.
    #[error("{path}: cannot hold pictures of {channels} channels, only {supported}")]
    Channels {
        /// The file to be written.
        path: PathBuf,
        /// Channels of the pictures.
        channels: usize,
        /// The numbers of channels that the format can hold.
        supported: &'static str,
    },

    /// More pictures, or larger ones, than a file format's header can tell.
    #[error("{path}: cannot hold {what} of {value}")]
    FormatLimit {
        /// The file to be written.
        path: PathBuf,
        /// "a count", "a height" or "a width".
        what: &'static str,
        /// The number that does not fit.
        value: usize,
    },

    /// A grid of zero columns.
    #[error("{path}: a grid needs at least one column")]
    NoColumns {
        /// The file to be written.
        path: PathBuf,
    },

    /// The PNG encoder failed.
    #[error("{path}: cannot encode as PNG")]
    Png {
        /// The file to be written.
        path: PathBuf,
        /// The encoder's reason.
        source: png::EncodingError,
    },

    /// A picture that its decoder cannot read.
    #[error("{path}: not a whole {format} picture")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// "PNG" or "JPEG".
        format: &'static str,
        /// The decoder's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A file that begins as no picture that is read does.
    #[error("{path}: neither a JPEG nor a PNG picture")]
    NoPicture {
        /// The file.
        path: PathBuf,
    },

    /// A picture of a folder that is too small to show anything, or too large to be decoded.
    #[error(
        "{path}: a picture of {width}x{height} pixels; those read have sides of {least} to {most} \
         pixels, and no more than {pixels} pixels"
    )]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
        /// The shortest side that is read.
        least: usize,
        /// The longest side that is read.
        most: usize,
        /// Most pixels that are read.
        pixels: usize,
    },

    /// A picture could not be resampled.
    #[error("{path}: cannot be resampled")]
    Resize {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: resize::Error,
    },

    /// Pictures beside folders of pictures: they are of no class.
    #[error("{folder}: {pictures} pictures beside the folders of classes are of no class")]
    Unsorted {
        /// The folder.
        folder: PathBuf,
        /// Pictures in the folder itself.
        pictures: usize,
    },

    /// A folder of which no picture can be read.
    #[error("{folder}: none of the {pictures} pictures in it can be read; the first")]
    AllBroken {
        /// The folder.
        folder: PathBuf,
        /// Pictures in it.
        pictures: usize,
        /// What is wrong with the first.
        source: Box<Error>,
    },

    /// A size that pictures of a folder are not brought to.
    #[error("size {size}: pictures are brought to {least} to {most} pixels a side")]
    Size {
        /// The size asked for.
        size: usize,
        /// The least.
        least: usize,
        /// The largest.
        most: usize,
    },

    /// A folder that pictures are not written into, for it holds something.
    #[error("{folder}: not empty; pictures are written into a new folder")]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },

    /// A picture with pixels that are not opaque.
    #[error("{path}: transparent pixels are not read")]
    Transparent {
        /// The file.
        path: PathBuf,
    },

    /// Pictures of two shapes where one is wanted.
    #[error("{path}: a picture of {found:?}, those before it are of {expected:?}")]
    MixedShapes {
        /// The first that differs.
        path: PathBuf,
        /// Its shape.
        found: crate::ImageShape,
        /// The shape of the others.
        expected: crate::ImageShape,
    },

    /// A folder without a picture.
    #[error("{folder}: no pictures in it; looked for {looked_for}")]
    NoPictures {
        /// The folder.
        folder: PathBuf,
        /// What would do.
        looked_for: &'static str,
    },

    /// A class that the set does not have.
    #[error("{dataset} has no class {class:?}; it has {}", known.join(", "))]
    UnknownClass {
        /// The set.
        dataset: String,
        /// The name asked for.
        class: String,
        /// The names it has.
        known: Vec<String>,
    },

    /// A class named twice.
    #[error("{dataset}: class {class:?} is named twice")]
    RepeatedClass {
        /// The set.
        dataset: String,
        /// The repeated name.
        class: String,
    },

    /// A class of which the set has no pictures.
    #[error("{dataset} has no pictures of class {class:?}")]
    EmptyClass {
        /// The set.
        dataset: String,
        /// The name asked for.
        class: String,
    },

    /// A filter that names no class.
    #[error("{dataset}: no class to keep is named; it has {}", known.join(", "))]
    NoClass {
        /// The set.
        dataset: String,
        /// The names it has.
        known: Vec<String>,
    },

    /// A batch size of zero.
    #[error("batch size must be at least 1")]
    ZeroBatchSize,

    /// A batch larger than the set it is drawn from.
    #[error("batch size {batch_size} exceeds the {pictures} pictures of {dataset}")]
    BatchTooLarge {
        /// Pictures in a batch.
        batch_size: usize,
        /// Pictures in the set.
        pictures: usize,
        /// The set.
        dataset: String,
    },

    /// A `--dataset` that names no source.
    #[error(
        "unknown dataset {given:?}; known are mnist, idx:DIR, folder:DIR, hub:mnist, hub:fashion-mnist"
    )]
    UnknownSource {
        /// What was given.
        given: String,
    },

    /// A hub set in a program that was built without the hub.
    #[error("{dataset} needs a program built with the feature `hub`")]
    HubDisabled {
        /// The source asked for, e.g. `hub:mnist`.
        dataset: String,
    },

    /// A hub set could not be downloaded or decoded.
    #[error("cannot load {dataset}")]
    Hub {
        /// The source asked for, e.g. `hub:mnist`.
        dataset: String,
        /// The reason given by `candle-datasets`.
        source: candle_core::Error,
    },

    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_source_and_crosses_threads() {
        fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
            format!("{error}: {}", error.source().unwrap())
        }
        let error = Error::Read { path: "some/file".into(), source: io::Error::other("reason") };
        assert_eq!(chain(error), "cannot read some/file: reason");
    }
}
