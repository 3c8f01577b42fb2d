//! Reads the headers and labels of a directory of IDX files, without the pixels.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::directory::{find, join};
use super::{IMAGES, Images, emnist, read_labels};
use crate::files::directory_name;
use crate::{Dataset, ImageShape, Result, Split};

/// Reads the image shape of a split, and its labels and classes as a data set of one-byte images.
///
/// Returns `None` if the files are invalid in a way that only [`load`](super::load) reports.
///
/// # Errors
///
/// Those of [`load`](super::load).
pub(crate) fn read_header(directory: &Path, split: Split) -> Result<Option<(ImageShape, Dataset)>> {
    let (images_file, labels_file) = find(directory, split)?;
    let labels_file = labels_file?;
    let Some((count, shape)) = image_header(&images_file) else { return Ok(None) };
    let labels = read_labels(&labels_file)?;
    if labels.len() != count {
        return Ok(None);
    }
    let one_byte = ImageShape { channels: 1, height: 1, width: 1 };
    let stand_ins = Images { shape: one_byte, pixels: vec![0; count] };
    let outline =
        join(directory_name(directory), (&images_file, stand_ins), (&labels_file, labels))?;
    // Exchanges height and width for EMNIST's files.
    let shape = emnist::upright(&images_file, Images { shape, pixels: Vec::new() }).shape;
    Ok(Some((shape, outline)))
}

/// Returns the number and the shape of the images in a file. Returns `None` if its header or its
/// size is invalid.
fn image_header(path: &Path) -> Option<(usize, ImageShape)> {
    let mut start = [0; 2];
    gan_files::open(path).ok()?.read_exact(&mut start).ok()?;
    let file = gan_files::open(path).ok()?;
    let is_packed = start == [0x1f, 0x8b];
    let mut bytes: Box<dyn Read> = match is_packed {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut header = [0; 16];
    bytes.read_exact(&mut header).ok()?;
    let word = |i: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[4 * i + byte]));
    let [count, height, width] = [1, 2, 3].map(|i| word(i) as usize);
    let shape = ImageShape { channels: 1, height, width };
    let size = count.checked_mul(shape.len()).filter(|&size| size > 0)? as u64;
    let is_whole = is_packed || size.checked_add(16) == Some(fs::metadata(path).ok()?.len());
    (word(0) == IMAGES.magic && is_whole).then_some((count, shape))
}
