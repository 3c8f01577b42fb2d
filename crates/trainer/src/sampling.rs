//! Images from a generator: latents, classes and chunks.

use anyhow::Result;
use candle_core::Tensor;
use gan_data::{ImageShape, range};
use gan_models::{FeatureShape, Generator, GeneratorConfig, Mode};
use rand_chacha::ChaCha8Rng;

/// Images generated at a time.
pub(crate) const CHUNK: usize = 256;

/// Where latents come from.
pub(crate) enum Latents {
    /// Drawn from the generator's distribution.
    Random(Box<ChaCha8Rng>),
    /// Given, (N, latent dim).
    Given(Tensor),
}

impl Latents {
    /// Latents of the images `first` to `first + count - 1`; random ones must be asked for in order.
    fn next(&mut self, generator: &Generator, first: usize, count: usize) -> Result<Tensor> {
        Ok(match self {
            Self::Random(rng) => generator.sample_latents(count, rng)?,
            Self::Given(latents) => latents.narrow(0, first, count)?,
        })
    }
}

/// Generates an image of each label's class, some at a time: `take` gets the number of the first,
/// their latents and their pixels.
///
/// # Errors
/// Those of `take`; failures of the device.
pub(crate) fn generate(
    generator: &Generator,
    labels: &[u32],
    latents: &mut Latents,
    mut take: impl FnMut(usize, Tensor, Vec<u8>) -> Result<()>,
) -> Result<()> {
    for (i, labels) in labels.chunks(CHUNK).enumerate() {
        let latents = latents.next(generator, i * CHUNK, labels.len())?;
        let images = generator.forward(&generator.input(&latents, labels)?, Mode::Eval)?;
        take(i * CHUNK, latents, range::to_bytes(&images)?)?;
    }
    Ok(())
}

/// The shape of a network's images as that of a data set's.
pub(crate) fn image_shape(FeatureShape { channels, height, width }: FeatureShape) -> ImageShape {
    ImageShape { channels, height, width }
}

/// The numbers that a generator's classes are named by; `None` if a name is no number, or if the
/// class of an image is not known.
pub(crate) fn class_numbers(config: &GeneratorConfig) -> Option<Vec<u32>> {
    let is_known = config.classes.len() == 1 || config.conditional;
    let numbers = config.classes.iter().map(|class| class.parse().ok()).collect::<Option<_>>();
    numbers.filter(|_| is_known)
}

/// Labels of this many images, all of a generator's classes in turn.
pub(crate) fn labels_in_turn(config: &GeneratorConfig, count: usize) -> Vec<u32> {
    (0..count).map(|i| (i % config.classes.len().max(1)) as u32).collect()
}
