//! An image for the tests of both formats.

use crate::{ImageShape, png};
use std::fs;

pub(super) const SIZE: usize = 8;

/// A grey PNG image of 8 x 8 pixels of one value.
pub(super) fn image(value: u8) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.png");
    let shape = ImageShape { channels: 1, height: SIZE, width: SIZE };
    png::write(&path, shape, &[value; SIZE * SIZE]).unwrap();
    fs::read(path).unwrap()
}
