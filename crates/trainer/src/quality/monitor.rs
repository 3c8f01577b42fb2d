//! Measures the quality of a generator during training.

use crate::quality::collapse::CollapseDetector;
use crate::quality::{MIN_IMAGES, can_measure, predict};
use crate::run::record::Quality;
use crate::sampling;
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use gan_data::Dataset;
use gan_metrics::{Classifier, Predictions, Reference};
use gan_models::{Generator, Mode};
use gan_training::RandomStream;

/// Maximum number of real images in a measurement.
const REAL_IMAGES: usize = 5_000;
/// Number of generated images in a measurement.
const GENERATED_IMAGES: usize = 2_000;
/// Number of images generated at a time.
const CHUNK: usize = 250;

/// Measures a generator while it trains, on fewer images and with fewer metrics than `evaluate`.
pub(crate) struct QualityMonitor {
    classifier: Classifier,
    reference: Reference,
    detector: CollapseDetector,
    /// The generator's input: the same latents each time.
    input: Vec<Tensor>,
    /// The digits that the generator was trained on.
    wanted: Option<Vec<u32>>,
}

impl QualityMonitor {
    /// Prepares to measure generators of a data set's images. Returns `None` for images that the
    /// classifier does not take.
    ///
    /// # Errors
    /// Failures of the device.
    pub(crate) fn new(set: &Dataset, generator: &Generator, seed: u64) -> Result<Option<Self>> {
        let shape = set.shape();
        if !can_measure(shape) || set.len() < MIN_IMAGES {
            return Ok(None);
        }
        let classifier = Classifier::mnist()?;
        let every = set.len().div_ceil(REAL_IMAGES);
        let real: Vec<u8> =
            set.pixels().chunks(shape.len()).step_by(every).flatten().copied().collect();
        let predicted = predict(&classifier, shape, &real)?;
        let config = generator.config();
        let labels = sampling::labels_in_turn(config, GENERATED_IMAGES);
        let mut rng = RandomStream::Monitor.rng(seed);
        let input = labels
            .chunks(CHUNK)
            .map(|labels| {
                Ok(generator.input(&generator.sample_latents(labels.len(), &mut rng)?, labels)?)
            })
            .collect::<Result<_>>()?;
        let wanted = sampling::class_numbers(config)
            .map(|digits| labels.iter().map(|&label| digits[label as usize]).collect());
        Ok(Some(Self {
            detector: CollapseDetector::new(&predicted)?,
            reference: Reference::new(predicted.features()?)?,
            classifier,
            input,
            wanted,
        }))
    }

    /// Measures the generator in its current state.
    ///
    /// # Errors
    /// Failures of the device; images or figures that are not finite.
    pub(crate) fn measure(&self, generator: &Generator) -> Result<Quality> {
        let mut predicted = Predictions::default();
        for input in &self.input {
            let images = generator.forward(input, Mode::Eval)?.to_device(&Device::Cpu)?;
            predicted.extend(self.classifier.predict(&images)?);
        }
        let features = predicted.features()?;
        let scores = self.reference.prdc(&features)?;
        let quality = Quality {
            images: predicted.len(),
            frechet: self.reference.frechet(&features)?,
            precision: scores.precision,
            recall: scores.recall,
            accuracy: self.wanted.as_ref().map(|wanted| predicted.accuracy(wanted)),
            collapse: self.detector.check(&predicted)?,
        };
        let Quality { frechet, precision, recall, .. } = quality;
        let are_finite = [frechet, precision, recall].iter().all(|value| value.is_finite());
        ensure!(are_finite, "distance {frechet}, precision {precision}, recall {recall}");
        Ok(quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::NewRunOptions;
    use crate::config::resolve::resolved;
    use gan_data::{Source, Split};

    /// A generator that has learned nothing is far away, and real images are near.
    #[test]
    fn a_monitor_measures_from_the_same_latents() -> Result<()> {
        let mut run = NewRunOptions::default();
        run.data.classes.digit = vec!["5".to_string()];
        let (config, batches) = resolved(run)?;
        let generator = config.gan(&Device::Cpu)?.ema_generator()?;
        let monitor = QualityMonitor::new(batches.dataset(), &generator, 1)?.expect("28x28");
        let quality = monitor.measure(&generator)?;
        assert_eq!(quality, monitor.measure(&generator)?);
        let test = Source::Mnist.load(Split::Test)?.filter_classes(&["5".to_string()])?;
        let real = predict(&monitor.classifier, test.shape(), test.pixels())?;
        let near = monitor.reference.frechet(&real.features()?)?;
        assert!(quality.frechet > 20.0 * near, "{} and {near}", quality.frechet);
        assert_eq!((quality.images, quality.precision), (GENERATED_IMAGES, 0.0));
        Ok(())
    }
}
