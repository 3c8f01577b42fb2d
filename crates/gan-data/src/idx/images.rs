//! The images of an IDX file.

use crate::ImageShape;

/// The grey images of an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// 1 channel, rows, columns; never empty.
    pub shape: ImageShape,
    /// N x H x W values in 0..=255, N at least 1.
    pub pixels: Vec<u8>,
}

impl Images {
    /// Returns the number of images, N.
    pub fn count(&self) -> usize {
        self.pixels.len() / self.shape.len().max(1)
    }
}
