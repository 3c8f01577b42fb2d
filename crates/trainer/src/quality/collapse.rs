//! Detects mode collapse: generated images of one class only, or nearly identical images in a class.

use anyhow::Result;
use gan_metrics::{FeatureStats, Predictions};

/// Number of classes of the built-in classifier: the digits.
pub(crate) const DIGITS: usize = 10;
/// Generated images count as collapsed if one class has more than this fraction of them, and no class
/// has that much of the real images.
const ONE_CLASS: f64 = 0.9;
/// Generated images count as collapsed if the variance of features within classes is below this
/// fraction of the real images' variance.
const ONE_IMAGE: f64 = 0.05;

/// Detects a collapse of generated images, compared with real ones.
pub(crate) struct CollapseDetector {
    /// Fraction of the real images in each class.
    fractions: Vec<f64>,
    /// Variance of the real features within their classes.
    variance: f64,
}

impl CollapseDetector {
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn new(real: &Predictions) -> Result<Self> {
        Ok(Self {
            fractions: real.class_fractions(DIGITS),
            variance: variance_within_classes(real)?,
        })
    }

    /// Returns the reason if the generated images have collapsed.
    ///
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn check(&self, generated: &Predictions) -> Result<Option<String>> {
        let max = |fractions: &[f64]| fractions.iter().copied().fold(0.0, f64::max);
        let fractions = generated.class_fractions(DIGITS);
        if max(&fractions) > ONE_CLASS && max(&self.fractions) < ONE_CLASS {
            let class = fractions.iter().position(|fraction| *fraction > ONE_CLASS).unwrap_or(0);
            return Ok(Some(format!("{:.0}% are of class {class}", 100.0 * fractions[class])));
        }
        let fraction = variance_within_classes(generated)? / self.variance;
        Ok((fraction < ONE_IMAGE).then(|| {
            format!("within a class they vary by {:.1}% of what real ones do", 100.0 * fraction)
        }))
    }
}

/// Returns the variance of features around the mean of their predicted class.
fn variance_within_classes(predicted: &Predictions) -> Result<f64> {
    let features = predicted.features()?;
    let (mut sum, mut count) = (0.0, 0);
    for class in 0..DIGITS as u32 {
        let of_class: Vec<usize> =
            (0..predicted.len()).filter(|&i| predicted.classes[i] == class).collect();
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
    use crate::quality::predict;
    use gan_data::{Source, Split};
    use gan_metrics::Classifier;

    /// Real images have not collapsed; those of one class have, and one image repeated.
    #[test]
    fn collapses_are_detected() -> Result<()> {
        let classifier = Classifier::mnist()?;
        let set = Source::Mnist.load(Split::Test)?;
        let len = set.shape().len();
        let predicted = |pixels: &[u8]| predict(&classifier, set.shape(), pixels);
        let detector = CollapseDetector::new(&predicted(&set.pixels()[..600 * len])?)?;
        let reason = |pixels: &[u8]| detector.check(&predicted(pixels)?);
        assert_eq!(reason(&set.pixels()[600 * len..1200 * len])?, None);
        let sevens = set.clone().filter_classes(&["7".to_string()])?;
        let text = reason(&sevens.pixels()[..200 * len])?.expect("one class");
        assert!(text.ends_with("are of class 7"), "{text}");
        // One image of each of two classes; one image where there is one class only.
        let two = [&set.pixels()[..len], &set.pixels()[len..2 * len]].concat();
        let text = reason(&two.repeat(50))?.expect("two images");
        assert!(text.starts_with("within a class they vary by 0.0%"), "{text}");
        let detector = CollapseDetector::new(&predicted(&sevens.pixels()[..200 * len])?)?;
        let other = predicted(&sevens.pixels()[200 * len..400 * len])?;
        assert_eq!(detector.check(&other)?, None);
        let text = detector.check(&predicted(&sevens.pixels()[..len].repeat(50))?)?;
        assert!(text.expect("one image").starts_with("within a class they vary by 0.0%"));
        Ok(())
    }
}
