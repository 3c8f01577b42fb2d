//! Writes IDX files.

use std::path::Path;

use super::{IMAGES, LABELS};
use crate::checks::{check_labels, count_images};
use crate::files::{create_directory, write_atomically};
use crate::{Error, ImageShape, Result};

/// Writes images to `images-idx3-ubyte` and labels to `labels-idx1-ubyte` in `directory`.
///
/// The directory must be new or empty; it appears once both files are written. [`load`](super::load)
/// and other readers of MNIST can read the result.
///
/// # Shapes
///
/// `pixels`: N x 1 x H x W values, contiguous, N at least 1; `labels`: N values, each at
/// most 255.
///
/// # Range
///
/// `pixels`: u8 in 0..=255.
///
/// # Errors
///
/// [`Error::Write`]; [`Error::NotEmpty`]; [`Error::PixelCount`] when pixels and labels do not match;
/// those of [`encode_images`] and [`encode_labels`]. Nothing is written unless both files can be encoded.
pub fn write(
    directory: &Path,
    shape: ImageShape,
    pixels: &[u8],
    labels: Option<&[u32]>,
) -> Result<()> {
    let images_file = directory.join(IMAGES.suffix);
    let labels_file = directory.join(LABELS.suffix);
    let images = encode_images(&images_file, shape, pixels)?;
    let labels = match labels {
        Some(labels) if labels.len().saturating_mul(shape.len()) != pixels.len() => {
            return Err(Error::PixelCount {
                name: images_file.display().to_string(),
                expected: labels.len().saturating_mul(shape.len()),
                found: pixels.len(),
            });
        }
        Some(labels) => Some(encode_labels(&labels_file, labels)?),
        None => None,
    };
    let new = create_directory(directory)?;
    write_atomically(&new.path().join(IMAGES.suffix), &images)?;
    if let Some(labels) = labels {
        write_atomically(&new.path().join(LABELS.suffix), &labels)?;
    }
    new.publish().map_err(|source| Error::Write { path: directory.into(), source })
}

/// Encodes an image file; `file` is its name for error messages.
///
/// # Shapes
///
/// `pixels`: N x 1 x H x W values in 0..=255, contiguous, N at least 1.
///
/// # Errors
///
/// [`Error::Channels`] unless there is one channel, [`Error::Empty`] for no images or an empty
/// shape, [`Error::PixelCount`] if `pixels` is not a whole number of images,
/// [`Error::FormatLimit`] for a count or size of 2^32 or more.
pub fn encode_images(file: &Path, shape: ImageShape, pixels: &[u8]) -> Result<Vec<u8>> {
    let count = count_images(&file.display().to_string(), shape, pixels.len())?;
    if shape.channels != 1 {
        return Err(Error::Channels {
            path: file.into(),
            channels: shape.channels,
            supported: "1",
        });
    }
    let mut bytes = Vec::with_capacity(16 + pixels.len());
    bytes.extend(IMAGES.magic.to_be_bytes());
    bytes.extend(word(file, "a count", count)?);
    bytes.extend(word(file, "a height", shape.height)?);
    bytes.extend(word(file, "a width", shape.width)?);
    bytes.extend(pixels);
    Ok(bytes)
}

/// Encodes a label file; `file` is its name for error messages.
///
/// # Errors
///
/// [`Error::LabelOutOfRange`] for a label above 255, [`Error::FormatLimit`] for 2^32
/// labels or more.
pub fn encode_labels(file: &Path, labels: &[u32]) -> Result<Vec<u8>> {
    check_labels(&file.display().to_string(), labels, 256)?;
    let mut bytes = Vec::with_capacity(8 + labels.len());
    bytes.extend(LABELS.magic.to_be_bytes());
    bytes.extend(word(file, "a count", labels.len())?);
    bytes.extend(labels.iter().map(|&label| label as u8)); // checked above
    Ok(bytes)
}

fn word(file: &Path, what: &'static str, value: usize) -> Result<[u8; 4]> {
    match u32::try_from(value) {
        Ok(value) => Ok(value.to_be_bytes()),
        Err(_) => Err(Error::FormatLimit { path: file.into(), what, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, idx};
    use std::fs;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 3 };
    const PIXELS: [u8; 12] = [0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255];

    #[test]
    fn files_are_exact_to_the_byte() {
        let file = Path::new("file");
        let images = encode_images(file, SHAPE, &PIXELS).unwrap();
        let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        assert_eq!(images, [&header[..], &PIXELS].concat());
        let labels = encode_labels(file, &[255, 0]).unwrap();
        assert_eq!(labels, [0, 0, 8, 1, 0, 0, 0, 2, 255, 0]);
    }

    #[test]
    fn a_written_set_loads_again() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("deep").join("set");
        idx::write(&directory, SHAPE, &PIXELS, Some(&[1, 0])).unwrap();
        for split in [Split::Train, Split::Test] {
            let dataset = idx::load(&directory, split).unwrap();
            assert_eq!((dataset.name(), dataset.shape()), ("set", SHAPE));
            assert_eq!(dataset.pixels(), PIXELS);
            assert_eq!(dataset.labels(), [1, 0]);
            assert_eq!(dataset.classes(), ["0", "1"]);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }

    /// Else images would stay beside the labels of others.
    #[test]
    fn a_set_is_not_written_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        idx::write(directory, SHAPE, &PIXELS, Some(&[1, 0])).unwrap();
        for labels in [None, Some(&[1, 1][..])] {
            let error = idx::write(directory, SHAPE, &[0; 12], labels).unwrap_err();
            assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
        }
        let dataset = idx::load(directory, Split::Train).unwrap();
        assert_eq!((dataset.pixels(), dataset.labels()), (&PIXELS[..], &[1, 0][..]));
    }

    #[test]
    fn what_idx_cannot_hold_is_refused_before_writing() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("set");
        let error = |shape, pixels: &[u8], labels: &[u32]| {
            idx::write(&directory, shape, pixels, Some(labels)).unwrap_err()
        };
        let colour = ImageShape { channels: 3, ..SHAPE };
        let channels = error(colour, &[0; 18], &[0]);
        assert!(matches!(channels, Error::Channels { .. }));
        assert!(
            channels.to_string().ends_with("cannot hold images of 3 channels, only 1"),
            "{channels}"
        );
        assert!(matches!(error(SHAPE, &[], &[]), Error::Empty { .. }));
        let part = error(SHAPE, &[0; 11], &[0, 0]);
        assert!(matches!(part, Error::PixelCount { expected: 12, found: 11, .. }));
        let fewer = error(SHAPE, &[0; 12], &[0]);
        assert!(matches!(fewer, Error::PixelCount { expected: 6, found: 12, .. }));
        let label = error(SHAPE, &[0; 6], &[256]);
        assert!(matches!(label, Error::LabelOutOfRange { label: 256, .. }));
        assert!(!directory.exists());
    }
}
