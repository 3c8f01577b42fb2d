//! Images that the command line names.

use crate::format;
use anyhow::{Result, ensure};
use gan_data::folder::{self, Colour, Options, Size};
use gan_data::{Error, ImageSet, ImageShape, Split};
use std::path::Path;

/// The images of a file or directory. A JPEG or PNG image is resized to the network's shape, as in training.
///
/// # Errors
/// Images that cannot be read, or are of another shape and cannot be resized.
pub(crate) fn read(path: &Path, shape: ImageShape, network: &str) -> Result<ImageSet> {
    let is_image = path.extension().is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    });
    let size = Size::from(shape);
    if is_image && !path.is_dir() {
        let pixels = folder::read(path, size, Some(Colour::of(shape.channels)))?;
        return Ok(ImageSet::new(shape, pixels, None)?);
    }
    let resized = || {
        let colour = Some(Colour::of(shape.channels));
        let options = Options::new().size(size).colour(colour).strict(true);
        folder::load(path, Split::Train, &options).map(|loaded| ImageSet::from(&loaded.dataset))
    };
    let images = match ImageSet::load(path) {
        // Images of other kinds or sizes, and directories of them.
        Err(Error::NoImages { .. } | Error::MixedShapes { .. }) => resized()?,
        // Images of another size, unless they are IDX files, which are used as they are.
        Ok(images) if images.shape != shape => resized().unwrap_or(images),
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
