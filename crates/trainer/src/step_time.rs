//! The time of a training step, on random images.

use crate::config::TrainConfig;
use anyhow::Result;
use candle_core::{Device, Tensor};
use gan_data::Batch;
use gan_training::Gan;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// Number of warm-up steps, which are not timed.
pub(crate) const WARM_UP: u64 = 3;
/// Number of batches of random images. The steps cycle through them.
const BATCHES: usize = 8;

/// Times this many steps, in seconds each. Reading the statistics waits for the device.
///
/// # Errors
/// Whatever a training step can fail with.
pub(crate) fn step_times(gan: &mut Gan, config: &TrainConfig, steps: usize) -> Result<Vec<f64>> {
    let batches = random_batches(config)?;
    let mut batches = batches.iter().cycle();
    let mut time = || -> Result<f64> {
        let Some(batch) = batches.next() else { unreachable!("there are batches") };
        let start = Instant::now();
        let output = gan.train_step(&batch.images.to_device(gan.device())?, &batch.labels)?;
        gan.read_stats(&output)?;
        Ok(start.elapsed().as_secs_f64())
    };
    for _ in 0..WARM_UP {
        time()?;
    }
    (0..steps).map(|_| time()).collect()
}

/// Batches of random images of the shape that the networks take, from a fixed seed: the time of a step
/// does not depend on what the images show.
pub(crate) fn random_batches(config: &TrainConfig) -> Result<Vec<Batch>> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let image = config.discriminator.image;
    let dims = (config.training.batch_size, image.channels, image.height, image.width);
    let values = config.training.batch_size * image.channels * image.height * image.width;
    let classes = config.generator.classes.len().max(1) as u32;
    let mut batch = || -> Result<Batch> {
        let pixels: Vec<f32> = (0..values).map(|_| rng.random_range(-1.0..=1.0)).collect();
        let labels =
            (0..config.training.batch_size).map(|_| rng.random_range(0..classes)).collect();
        Ok(Batch { images: Tensor::from_vec(pixels, dims, &Device::Cpu)?, labels })
    };
    (0..BATCHES).map(|_| batch()).collect()
}
