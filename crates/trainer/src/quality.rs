//! Features of images, and their classes where a classifier knows them.

pub(crate) mod collapse;
pub(crate) mod monitor;
pub(crate) mod recognizer;
pub(crate) mod training;

use crate::sampling;
use anyhow::Result;
use candle_core::Tensor;
use gan_data::{Dataset, ImageShape, range};
use gan_metrics::{Features, Predictions, RANDOM_FEATURES, RandomNetwork};
use recognizer::{CHUNK, Recognizer};

/// Minimum number of images of a data set for the metrics.
pub(crate) const MIN_IMAGES: usize = 6;
/// Number of images whose classes are predicted to find out whether a data set shows digits.
const TRIED: usize = 500;
/// The fraction of them that are recognised, at least, if it does.
const RECOGNISED: f64 = 0.9;

/// The network whose features are compared. Figures of different networks do not compare.
pub(crate) enum Extractor {
    /// The classifier of digits, for digits like MNIST's.
    Digits(Recognizer),
    /// The random network, for all other images, and the classifier that was trained on them, if there
    /// is one in the cache.
    Random(RandomNetwork, Option<Recognizer>),
}

/// What an extractor makes of images.
pub(crate) struct Extracted {
    pub(crate) features: Features,
    /// The classes that a classifier recognises.
    pub(crate) predictions: Option<Predictions>,
}

impl Extractor {
    /// Returns the extractor for a set of training images: the classifier of digits if their classes
    /// are digits which it recognises. Returns `None` for images that cannot be measured.
    ///
    /// # Errors
    /// A failed tensor operation.
    pub(crate) fn of(training: &Dataset) -> Result<Option<Self>> {
        let shape = training.shape().into();
        let digits = Recognizer::of_digits()?;
        if shape == digits.classifier.shape() && shows_digits(training, &digits)? {
            return Ok(Some(Self::Digits(digits)));
        }
        if !RandomNetwork::accepts(shape) {
            return Ok(None);
        }
        Ok(Some(Self::Random(RandomNetwork::new(shape)?, Recognizer::cached(training))))
    }

    /// The classifier of the images, if there is one.
    pub(crate) fn recognizer(&self) -> Option<&Recognizer> {
        match self {
            Self::Digits(recognizer) => Some(recognizer),
            Self::Random(_, recognizer) => recognizer.as_ref(),
        }
    }

    /// The extractor's name in names of metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Digits(_) => "mnistnet",
            Self::Random(..) => "r64",
        }
    }

    /// Returns the full name of a metric: its short name, the extractor and the number of images.
    pub(crate) fn metric_name(&self, metric: &str, images: usize) -> String {
        format!("{metric}-{}-{}", self.name(), count_name(images))
    }

    /// Computes the features of batches of images.
    ///
    /// # Shapes
    /// Each batch: (B, C, H, W).
    /// # Range
    /// [-1, 1].
    /// # Errors
    /// Those of the batches; images of another shape than the extractor's; features that are not
    /// finite.
    pub(crate) fn extract(
        &self,
        batches: impl Iterator<Item = Result<Tensor>>,
    ) -> Result<Extracted> {
        let (mut values, mut predictions) = (Vec::new(), Predictions::default());
        for batch in batches {
            let batch = batch?;
            if let Self::Random(network, _) = self {
                values.extend(network.features(&batch)?.values());
            }
            if let Some(recognizer) = self.recognizer() {
                predictions.extend(recognizer.classifier.predict(&batch)?);
            }
        }
        let features = match self {
            Self::Digits(_) => predictions.features()?,
            Self::Random(..) => Features::new(values, RANDOM_FEATURES)?,
        };
        Ok(Extracted { features, predictions: self.recognizer().map(|_| predictions) })
    }

    /// Computes the features of images in bytes.
    ///
    /// # Errors
    /// Images of another shape than the extractor's.
    pub(crate) fn extract_pixels(&self, shape: ImageShape, pixels: &[u8]) -> Result<Extracted> {
        let chunks = pixels.chunks(CHUNK * shape.len().max(1));
        self.extract(chunks.map(|pixels| Ok(range::to_tensor(pixels, shape)?)))
    }
}

/// Returns whether the classes of a data set are digits and the classifier recognises its images.
fn shows_digits(set: &Dataset, recognizer: &Recognizer) -> Result<bool> {
    let Some(digits) = sampling::numbers(set.classes()) else { return Ok(false) };
    let tried = (0..set.len()).step_by(set.len().div_ceil(TRIED));
    let wanted: Vec<u32> = tried.clone().map(|i| digits[set.labels()[i] as usize]).collect();
    let pixels: Vec<u8> = tried.filter_map(|i| set.image(i)).flatten().copied().collect();
    let predictions = recognizer.predict(set.shape(), &pixels)?;
    Ok(predictions.accuracy(&wanted) >= RECOGNISED)
}

/// Returns a number of images as names of metrics have it: `10k`, `892`.
pub(crate) fn count_name(images: usize) -> String {
    match (images / 1000, images % 1000) {
        (0, _) | (_, 1..) => images.to_string(),
        (thousands, 0) => format!("{thousands}k"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_data::{Source, Split};

    #[test]
    fn names_tell_extractor_and_count() -> Result<()> {
        let digits = Extractor::Digits(Recognizer::of_digits()?);
        let random = Extractor::Random(RandomNetwork::new((3, 16, 16))?, None);
        assert_eq!(digits.metric_name("fd", 10_000), "fd-mnistnet-10k");
        assert_eq!(digits.metric_name("kid", 892), "kid-mnistnet-892");
        assert_eq!(random.metric_name("fd", 1_999), "fd-r64-1999");
        Ok(())
    }

    /// Digits are measured by their classifier, whatever file they come from; images that it does not
    /// recognise are not, whatever their classes are called.
    #[test]
    fn digits_are_known_by_their_looks() -> Result<()> {
        let name = |set: &Dataset| Ok::<_, anyhow::Error>(Extractor::of(set)?.map(|e| e.name()));
        let digits = Source::Mnist.load(Split::Test)?;
        let sevens = digits.clone().filter_classes(&["7".to_string()])?;
        for set in [&digits, &sevens] {
            assert_eq!(name(set)?, Some("mnistnet"));
        }
        let same = |classes: &[&str], labels: Vec<u32>| {
            let classes = classes.iter().map(|class| class.to_string()).collect();
            Dataset::new("same", digits.shape(), digits.pixels().to_vec(), labels, classes)
        };
        let digit_names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let next = digits.labels().iter().map(|label| (label + 1) % 10).collect();
        let images = vec![0; digits.len()];
        assert_eq!(name(&same(&digit_names, next)?)?, Some("r64"), "labels of other images");
        assert_eq!(
            name(&same(
                &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
                digits.labels().to_vec()
            )?)?,
            Some("r64")
        );
        assert_eq!(name(&same(&["images"], images)?)?, Some("r64"), "no labels");

        let plain = |channels, height, width| {
            let shape = ImageShape { channels, height, width };
            Dataset::new(
                "plain",
                shape,
                vec![7; 9 * shape.len()],
                vec![0; 9],
                vec!["0".to_string()],
            )
        };
        assert_eq!(name(&plain(3, 64, 64)?)?, Some("r64"));
        assert_eq!(name(&plain(1, 28, 28)?)?, Some("r64"));
        assert_eq!(name(&plain(1, 28, 300)?)?, None);
        Ok(())
    }
}
