//! Detects mode collapse: generated images of one class only, or nearly identical images in a class.

use crate::quality::{Extracted, Extractor};
use anyhow::Result;
use gan_metrics::FeatureStats;

/// Generated images count as collapsed if one class has more than this fraction of them, and no class
/// has that much of the real images.
const ONE_CLASS: f64 = 0.9;
/// Generated images count as collapsed if the variance of features within classes is below this
/// fraction of the real images' variance.
const ONE_IMAGE: f64 = 0.05;

/// Detects a collapse of generated images, compared with real ones.
pub(crate) struct CollapseDetector {
    /// The names of the classes that are recognised, none if none are.
    classes: Vec<String>,
    /// The largest fraction of the real images that are recognised as one class.
    largest: f64,
    /// Variance of the real features within their classes.
    variance: f64,
}

impl CollapseDetector {
    /// Prepares to compare images with real ones. Images have the classes that they are recognised
    /// as. Where none are, they have `labels`; without them all are one class.
    ///
    /// # Shapes
    /// `labels`: one per image.
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn new(
        extractor: &Extractor,
        real: &Extracted,
        labels: Option<&[u32]>,
    ) -> Result<Self> {
        let classes = extractor.recognizer().map_or(&[][..], |recognizer| &recognizer.classes);
        Ok(Self {
            classes: classes.to_vec(),
            largest: largest(real, classes).1,
            variance: variance_within_classes(real, labels)?,
        })
    }

    /// Returns the reason if the generated images have collapsed. `labels` are given where those of
    /// the real images were.
    ///
    /// # Shapes
    /// `labels`: one per image.
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn check(
        &self,
        generated: &Extracted,
        labels: Option<&[u32]>,
    ) -> Result<Option<String>> {
        let (class, fraction) = largest(generated, &self.classes);
        if fraction > ONE_CLASS && self.largest < ONE_CLASS {
            return Ok(Some(format!("{:.0}% are of class {class}", 100.0 * fraction)));
        }
        let fraction = variance_within_classes(generated, labels)? / self.variance;
        let has_classes = generated.predictions.is_some() || labels.is_some();
        let within = if has_classes { "within a class " } else { "" };
        Ok((fraction < ONE_IMAGE)
            .then(|| format!("{within}they vary by {:.1}% of what real ones do", 100.0 * fraction)))
    }
}

/// The class that most images are recognised as, and their fraction; 0 where none are recognised.
fn largest<'a>(images: &Extracted, classes: &'a [String]) -> (&'a str, f64) {
    let fractions = images.predictions.as_ref().map(|seen| seen.class_fractions(classes.len()));
    let fractions = classes.iter().map(String::as_str).zip(fractions.unwrap_or_default());
    fractions.fold(("", 0.0), |most, next| if next.1 > most.1 { next } else { most })
}

/// Returns the variance of features around the mean of their class.
fn variance_within_classes(images: &Extracted, labels: Option<&[u32]>) -> Result<f64> {
    let features = &images.features;
    let classes = match (&images.predictions, labels) {
        (Some(predictions), _) => &predictions.classes,
        (None, Some(labels)) => labels,
        (None, None) => &vec![0; features.len()],
    };
    let (mut sum, mut count) = (0.0, 0);
    for class in 0..=classes.iter().max().copied().unwrap_or(0) {
        let of_class: Vec<usize> = (0..features.len()).filter(|&i| classes[i] == class).collect();
        if of_class.len() >= 2 {
            let variance = FeatureStats::from_features(&features.take(&of_class))?.total_variance();
            sum += variance * of_class.len() as f64;
            count += of_class.len();
        }
    }
    Ok(sum / count.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::recognizer::Recognizer;
    use gan_data::{Source, Split};
    use gan_metrics::RandomNetwork;

    /// Real images have not collapsed; those of one class have, and one image repeated.
    #[test]
    fn collapses_are_detected() -> Result<()> {
        let classifier = Extractor::Digits(Recognizer::of_digits()?);
        let set = Source::Mnist.load(Split::Test)?;
        let len = set.shape().len();
        let predicted = |pixels: &[u8]| classifier.extract_pixels(set.shape(), pixels);
        let real = predicted(&set.pixels()[..600 * len])?;
        let detector = CollapseDetector::new(&classifier, &real, None)?;
        let reason = |pixels: &[u8]| detector.check(&predicted(pixels)?, None);
        assert_eq!(reason(&set.pixels()[600 * len..1200 * len])?, None);
        let sevens = set.clone().filter_classes(&["7".to_string()])?;
        let text = reason(&sevens.pixels()[..200 * len])?.expect("one class");
        assert!(text.ends_with("are of class 7"), "{text}");
        // One image of each of two classes; one image where there is one class only.
        let two = [&set.pixels()[..len], &set.pixels()[len..2 * len]].concat();
        let text = reason(&two.repeat(50))?.expect("two images");
        assert!(text.starts_with("within a class they vary by 0.0%"), "{text}");
        let real = predicted(&sevens.pixels()[..200 * len])?;
        let detector = CollapseDetector::new(&classifier, &real, None)?;
        let other = predicted(&sevens.pixels()[200 * len..400 * len])?;
        assert_eq!(detector.check(&other, None)?, None);
        let text = detector.check(&predicted(&sevens.pixels()[..len].repeat(50))?, None)?;
        assert!(text.expect("one image").starts_with("within a class they vary by 0.0%"));
        Ok(())
    }

    /// Images that are no digits: their classes are those asked for.
    #[test]
    fn collapses_of_other_images_are_detected() -> Result<()> {
        let set = Source::Mnist.load(Split::Test)?;
        let len = set.shape().len();
        let network = Extractor::Random(RandomNetwork::new((1, 28, 28))?, None);
        let extracted = |pixels: &[u8]| network.extract_pixels(set.shape(), pixels);
        let (real, labels) = (extracted(&set.pixels()[..600 * len])?, &set.labels()[..600]);
        let other = extracted(&set.pixels()[600 * len..1200 * len])?;
        let by_class = CollapseDetector::new(&network, &real, Some(labels))?;
        let together = CollapseDetector::new(&network, &real, None)?;
        assert_eq!(by_class.check(&other, Some(&set.labels()[600..1200]))?, None);
        assert_eq!(together.check(&other, None)?, None);
        // A seven and a two, the first two test images, over and over.
        let two = extracted(&set.pixels()[..2 * len].repeat(50))?;
        let text = by_class.check(&two, Some(&[7, 2].repeat(50)))?.expect("an image each");
        assert!(text.starts_with("within a class they vary by 0.0%"), "{text}");
        assert_eq!(together.check(&two, None)?, None);
        let text = together.check(&extracted(&set.pixels()[..len].repeat(50))?, None)?;
        assert!(text.expect("one image").starts_with("they vary by 0.0%"));
        Ok(())
    }
}
