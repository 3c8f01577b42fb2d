//! The fives of MNIST, and how far samples are from them.
#![allow(dead_code, reason = "each example uses a part")]

use candle_core::{Device, Tensor};
use gan_data::{DatasetInfo, Source, Split, png, range};
use gan_metrics::{Classifier, Reference};
use gan_training::candle_core;
use rand::SeedableRng;
use std::{error::Error, path::Path};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// All fives of the training set, (5421, 1, 28, 28) in [-1, 1].
pub(crate) fn load() -> Result<Tensor> {
    let dataset = Source::Mnist.load(Split::Train)?.filter_classes(&["5".to_string()])?;
    Ok(range::to_tensor(dataset.pixels(), DatasetInfo::of(&dataset)?.shape())?)
}

/// A batch of random images, the same for the same step.
pub(crate) fn batch(images: &Tensor, size: usize, step: u64) -> Result<Tensor> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(step);
    let count = images.dim(0)?;
    let indices = rand::seq::index::sample(&mut rng, count, size);
    let indices: Vec<u32> = indices.iter().map(|index| index as u32).collect();
    Ok(images.index_select(&Tensor::new(indices, &Device::Cpu)?, 0)?)
}

/// The Frechet distance between samples and real images, through a classifier of digits.
pub(crate) fn frechet_distance(real: &Tensor, samples: &Tensor) -> Result<f64> {
    let classifier = Classifier::mnist()?;
    let reference = Reference::new(classifier.predict(real)?.features()?)?;
    Ok(reference.frechet(&classifier.predict(samples)?.features()?)?)
}

/// Writes 100 images as a grid.
pub(crate) fn write_grid(path: &Path, images: &Tensor) -> Result<()> {
    let (_, channels, height, width) = images.dims4()?;
    let shape = gan_data::ImageShape { channels, height, width };
    Ok(png::write_grid(path, shape, &range::to_bytes(&images.narrow(0, 0, 100)?)?, 10)?)
}
