//! Features and classes of images by the metrics' classifier.

pub(crate) mod collapse;
pub(crate) mod monitor;
pub(crate) mod training;

use anyhow::{Result, ensure};
use gan_data::folder::{Colour, Options};
use gan_data::{ImageShape, range};
use gan_metrics::{Classifier, Predictions};

/// The name of the feature extractor in names of metrics.
const EXTRACTOR: &str = "mnistnet";
/// Number of images that are converted to a tensor at a time.
const CHUNK: usize = 1000;
/// Minimum number of images of a data set for the metrics.
pub(crate) const MIN_IMAGES: usize = 6;

/// The options that read the images of a directory for the classifier.
pub(crate) const MEASURED: Options =
    Options::new().size(Options::SIZE).colour(Some(Colour::Grey)).strict(false);

/// Returns features and predicted classes of images.
///
/// # Errors
/// Images that are not 28x28 and grey.
pub(crate) fn predict(
    classifier: &Classifier,
    shape: ImageShape,
    pixels: &[u8],
) -> Result<Predictions> {
    check_shape(shape)?;
    let mut all = Predictions::default();
    for pixels in pixels.chunks(CHUNK * shape.len()) {
        all.extend(classifier.predict(&range::to_tensor(pixels, shape)?)?);
    }
    Ok(all)
}

/// # Errors
/// Images that the metrics' classifier does not take.
pub(crate) fn check_shape(shape: ImageShape) -> Result<()> {
    ensure!(
        can_measure(shape),
        "the metrics' classifier takes grey images of 28x28 pixels, these are {}x{} with {} \
         channel(s)",
        shape.width,
        shape.height,
        shape.channels
    );
    Ok(())
}

/// Returns whether images of this shape can be measured.
pub(crate) fn can_measure(shape: ImageShape) -> bool {
    Classifier::accepts((shape.channels, shape.height, shape.width))
}

/// Returns the full name of a metric: its short name, the extractor and the number of images.
pub(crate) fn metric_name(metric: &str, images: usize) -> String {
    match (images / 1000, images % 1000) {
        (0, _) | (_, 1..) => format!("{metric}-{EXTRACTOR}-{images}"),
        (thousands, 0) => format!("{metric}-{EXTRACTOR}-{thousands}k"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_extractor_and_count() {
        assert_eq!(metric_name("fd", 10_000), "fd-mnistnet-10k");
        assert_eq!(metric_name("kid", 892), "kid-mnistnet-892");
        assert_eq!(metric_name("fd", 1_999), "fd-mnistnet-1999");
    }
}
