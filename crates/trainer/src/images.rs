//! Images that the command line names.

use crate::format;
use anyhow::{Result, ensure};
use gan_data::folder::{self, Colour, Options};
use gan_data::{Error, ImageSet, ImageShape, Split};
use std::path::Path;

/// The images of a file or directory. A JPEG or PNG image is resized to the network's shape, as in training,
/// if that is a square.
///
/// # Errors
/// Images that cannot be read, or are of another shape and cannot be resized.
pub(crate) fn read(path: &Path, shape: ImageShape, network: &str) -> Result<ImageSet> {
    let is_image = path.extension().is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    });
    if is_image && !path.is_dir() && shape.height == shape.width {
        let pixels = folder::read(path, shape.height, Some(Colour::of(shape.channels)))?;
        return Ok(ImageSet::new(shape, pixels, None)?);
    }
    let resized = || {
        let colour = Some(Colour::of(shape.channels));
        let options = Options::new().size(shape.height).colour(colour).strict(true);
        folder::load(path, Split::Train, &options).map(|loaded| ImageSet::from(&loaded.dataset))
    };
    let is_square = shape.height == shape.width;
    let images = match ImageSet::load(path) {
        // Images of other kinds or sizes, and directories of them.
        Err(Error::NoImages { .. } | Error::MixedShapes { .. }) if is_square => resized()?,
        // Images of another size, unless they are IDX files, which are used as they are.
        Ok(images) if images.shape != shape && is_square => resized().unwrap_or(images),
        images => images?,
    };
    ensure!(
        images.shape == shape,
        "{}: {}, but this {network} takes {}",
        path.display(),
        format::image(images.shape),
        format::image(shape)
    );
    Ok(images)
}
