//! Measures the quality of a generator during training.

use crate::quality::collapse::CollapseDetector;
use crate::quality::{Extractor, MIN_IMAGES};
use crate::run::record::{Distance, Quality};
use crate::sampling;
use crate::train_loop::images::TrainingImages;
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use gan_metrics::Reference;
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
    extractor: Extractor,
    reference: Reference,
    detector: CollapseDetector,
    /// The generator's input: the same latents each time.
    input: Vec<Tensor>,
    /// The labels of the input, if the generator is class-conditional.
    labels: Option<Vec<u32>>,
    /// The classes that the input asks for, as the classifier numbers them.
    wanted: Option<Vec<u32>>,
}

impl QualityMonitor {
    /// Prepares to compare a generator with real images. Returns `None` for images that cannot be
    /// measured, or too few.
    ///
    /// # Errors
    /// Failures of the device.
    pub(crate) fn new(
        images: &TrainingImages,
        generator: &Generator,
        seed: u64,
    ) -> Result<Option<Self>> {
        let real = images.reference()?;
        if real.len() < MIN_IMAGES {
            return Ok(None);
        }
        let Some(extractor) = Extractor::of(images.training()?)? else { return Ok(None) };
        let every = real.len().div_ceil(REAL_IMAGES);
        let pixels: Vec<u8> =
            real.pixels().chunks(real.shape().len()).step_by(every).flatten().copied().collect();
        let extracted = extractor.extract_pixels(real.shape(), &pixels)?;
        let config = generator.config();
        let labels = sampling::labels_in_turn(config, GENERATED_IMAGES);
        let mut rng = RandomStream::Monitor.rng(seed);
        let input = labels
            .chunks(CHUNK)
            .map(|labels| {
                Ok(generator.input(&generator.sample_latents(labels.len(), &mut rng)?, labels)?)
            })
            .collect::<Result<_>>()?;
        let wanted = extractor
            .recognizer()
            .and_then(|recognizer| recognizer.classes_of(&sampling::file_labels(config, &labels)?));
        let real_labels: Vec<u32> = real.labels().iter().copied().step_by(every).collect();
        let known = config.conditional.then_some(&real_labels[..]);
        Ok(Some(Self {
            detector: CollapseDetector::new(&extractor, &extracted, known)?,
            reference: Reference::new(extracted.features)?,
            extractor,
            input,
            labels: config.conditional.then_some(labels),
            wanted,
        }))
    }

    /// Whether classes are recognised.
    pub(crate) fn recognises(&self) -> bool {
        self.extractor.recognizer().is_some()
    }

    /// Measures the generator in its current state.
    ///
    /// # Errors
    /// Failures of the device; images or figures that are not finite.
    pub(crate) fn measure(&self, generator: &Generator) -> Result<Quality> {
        let batches = self.input.iter().map(|input| -> Result<Tensor> {
            Ok(generator.forward(input, Mode::Eval)?.to_device(&Device::Cpu)?)
        });
        let generated = self.extractor.extract(batches)?;
        let scores = self.reference.prdc(&generated.features)?;
        let frechet = self.reference.frechet(&generated.features)?;
        let accuracy = self.wanted.as_ref().zip(generated.predictions.as_ref());
        let quality = Quality {
            images: generated.features.len(),
            distance: Distance::new(&self.extractor, frechet),
            precision: scores.precision,
            recall: scores.recall,
            accuracy: accuracy.map(|(wanted, predictions)| predictions.accuracy(wanted)),
            collapse: self.detector.check(&generated, self.labels.as_deref())?,
        };
        let Quality { precision, recall, .. } = quality;
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
        let images = TrainingImages { batches, held_out: None };
        let generator = config.gan(&Device::Cpu)?.ema_generator()?;
        let monitor = QualityMonitor::new(&images, &generator, 1)?.expect("28x28");
        let quality = monitor.measure(&generator)?;
        assert_eq!(quality, monitor.measure(&generator)?);
        let test = Source::Mnist.load(Split::Test)?.filter_classes(&["5".to_string()])?;
        let real = monitor.extractor.extract_pixels(test.shape(), test.pixels())?;
        let near = monitor.reference.frechet(&real.features)?;
        let far = quality.distance.digits().expect("digits");
        assert!(far > 20.0 * near, "{far} and {near}");
        assert_eq!((quality.images, quality.precision), (GENERATED_IMAGES, 0.0));
        Ok(())
    }
}
