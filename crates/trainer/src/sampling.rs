//! Generates images in chunks from latents and labels.

use anyhow::Result;
use candle_core::Tensor;
use gan_data::{ImageShape, range};
use gan_models::{FeatureShape, Generator, GeneratorConfig, Mode};
use rand_chacha::ChaCha8Rng;

/// Number of images generated at a time.
pub(crate) const CHUNK: usize = 256;

/// The source of latents.
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

/// Generates an image for each label, in chunks. `take` gets the index of a chunk's first image, its
/// latents and its pixels.
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

/// Converts the shape of a network's images to that of a data set's.
pub(crate) fn image_shape(FeatureShape { channels, height, width }: FeatureShape) -> ImageShape {
    ImageShape { channels, height, width }
}

/// Returns class names as numbers. Returns `None` if a name is not a number.
pub(crate) fn numbers(classes: &[String]) -> Option<Vec<u32>> {
    classes.iter().map(|class| class.parse().ok()).collect()
}

/// Returns the [numbers] of a generator's classes. Returns `None` too if the class of an image is
/// unknown.
pub(crate) fn class_numbers(config: &GeneratorConfig) -> Option<Vec<u32>> {
    let is_known = config.classes.len() == 1 || config.conditional;
    numbers(&config.classes).filter(|_| is_known)
}

/// Returns labels for this many images: the generator's classes in turn.
pub(crate) fn labels_in_turn(config: &GeneratorConfig, count: usize) -> Vec<u32> {
    (0..count).map(|i| (i % config.classes.len().max(1)) as u32).collect()
}
