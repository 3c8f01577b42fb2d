//! Checks of pixels and labels that several modules share.

use crate::{Error, ImageShape, Result};

/// Returns how many images of this shape `pixels` bytes hold; `name` is for error messages.
///
/// # Errors
///
/// [`Error::Empty`] for zero bytes or an empty shape, [`Error::PixelCount`] if the bytes are not a
/// whole number of images.
pub(crate) fn count_images(name: &str, shape: ImageShape, pixels: usize) -> Result<usize> {
    let len = shape.len();
    if len == 0 || pixels == 0 {
        return Err(Error::Empty { name: name.into(), count: 0, shape });
    }
    if !pixels.is_multiple_of(len) {
        return Err(Error::PixelCount {
            name: name.into(),
            expected: pixels.div_ceil(len).saturating_mul(len),
            found: pixels,
        });
    }
    Ok(pixels / len)
}

/// Checks that all labels are less than `classes`.
///
/// # Errors
///
/// [`Error::LabelOutOfRange`].
pub(crate) fn check_labels(name: &str, labels: &[u32], classes: usize) -> Result<()> {
    let valid = 0..u32::try_from(classes).unwrap_or(u32::MAX);
    match labels.iter().position(|label| !valid.contains(label)) {
        None => Ok(()),
        Some(index) => {
            Err(Error::LabelOutOfRange { name: name.into(), index, label: labels[index], valid })
        }
    }
}
