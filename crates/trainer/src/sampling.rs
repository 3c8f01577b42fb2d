//! Generates images in chunks from latents and labels.

use anyhow::{Result, bail};
use candle_core::Tensor;
use gan_data::{ImageShape, class_position, range};
use gan_models::{FeatureShape, Generator, GeneratorConfig, Mode};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

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

/// The labels that a generator can be asked for: that of the class, or those of all its classes. One that
/// is not conditioned has the label 0.
///
/// # Errors
/// A class that the generator does not generate, or cannot generate alone.
pub(crate) fn labels(config: &GeneratorConfig, class: Option<&str>) -> Result<Vec<u32>> {
    let classes = &config.classes;
    let all = classes.join(", ");
    Ok(match class {
        None if config.conditional => (0..classes.len() as u32).collect(),
        None => vec![0],
        Some(wanted) => match class_position(classes, wanted) {
            Some(class) if config.conditional || classes.len() == 1 => vec![class as u32],
            Some(_) => bail!(
                "--class {wanted}: this generator was trained on classes {all} without being \
                 conditioned on them, so it cannot generate one of them alone"
            ),
            None if classes.is_empty() => {
                bail!("--class {wanted}: this generator knows no classes")
            }
            None => bail!("--class {wanted}: this generator generates class {all} only"),
        },
    })
}

/// Converts the shape of a network's images to that of a data set's.
pub(crate) fn image_shape(FeatureShape { channels, height, width }: FeatureShape) -> ImageShape {
    ImageShape { channels, height, width }
}

/// Returns class names as numbers. Returns `None` if a name is not a number.
pub(crate) fn numbers(classes: &[String]) -> Option<Vec<u32>> {
    classes.iter().map(|class| class.parse().ok()).collect()
}

/// Returns the labels that files have for these classes: the classes' own numbers if all are named by
/// one, so that a five is labelled 5 as in MNIST, else their positions.
pub(crate) fn labels_of_files(classes: &[String]) -> Vec<u32> {
    numbers(classes).unwrap_or_else(|| (0..classes.len() as u32).collect())
}

/// Returns the positions of the classes that these labels of a file stand for. Returns `None` if one
/// is unknown.
pub(crate) fn positions(classes: &[String], labels: &[u32]) -> Option<Vec<u32>> {
    let known: HashMap<u32, u32> = labels_of_files(classes).into_iter().zip(0..).collect();
    labels.iter().map(|label| known.get(label).copied()).collect()
}

/// Returns the labels of a generator's images in a file, where their class is known. A single class
/// without a number has none.
pub(crate) fn file_labels(config: &GeneratorConfig, labels: &[u32]) -> Option<Vec<u32>> {
    let is_numbered = config.classes.len() == 1 && numbers(&config.classes).is_some();
    let of_file = labels_of_files(&config.classes);
    let is_known = is_numbered || config.conditional && !of_file.is_empty();
    is_known.then(|| labels.iter().map(|&label| of_file[label as usize]).collect())
}

/// Returns labels for this many images: the generator's classes in turn.
pub(crate) fn labels_in_turn(config: &GeneratorConfig, count: usize) -> Vec<u32> {
    (0..count).map(|i| (i % config.classes.len().max(1)) as u32).collect()
}
