//! The time of a training step, on random images.

use crate::config::TrainConfig;
use anyhow::Result;
use candle_core::{Device, Tensor};
use gan_data::Batch;
use gan_training::{Gan, StepOutput};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::iter::Cycle;
use std::time::Instant;
use std::vec::IntoIter;

/// Number of blocks of steps before the first that is timed.
const WARM_UP: u64 = 3;
/// Steps that are timed together on a device that computes while the host goes on.
const DEVICE_BLOCK: u64 = 10;
/// Number of batches of random images. The steps cycle through them.
const BATCHES: usize = 8;

/// Times the training steps of a pair.
pub(crate) struct StepTimer {
    batches: Cycle<IntoIter<Batch>>,
    /// Steps that are timed together.
    block: u64,
}

impl StepTimer {
    /// Makes random images.
    ///
    /// # Errors
    /// Failures of the device.
    pub(crate) fn new(config: &TrainConfig, gan: &Gan) -> Result<Self> {
        let batches = random_batches(config)?.into_iter().cycle();
        let block = if gan.device().is_cpu() { 1 } else { DEVICE_BLOCK };
        Ok(Self { batches, block })
    }

    /// Takes the steps that are not to be timed.
    ///
    /// # Errors
    /// Whatever a training step can fail with.
    pub(crate) fn warm_up(&mut self, gan: &mut Gan) -> Result<()> {
        (0..WARM_UP).try_for_each(|_| self.time(gan).map(drop))
    }

    /// Number of steps of which [`StepTimer::time`] takes the mean.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// The time of one step in seconds. Reading the statistics of the last waits for the device.
    ///
    /// # Errors
    /// Whatever a training step can fail with.
    pub(crate) fn time(&mut self, gan: &mut Gan) -> Result<f64> {
        let start = Instant::now();
        for _ in 1..self.block {
            self.step(gan)?;
        }
        let output = self.step(gan)?;
        gan.read_stats(&output)?;
        Ok(start.elapsed().as_secs_f64() / self.block as f64)
    }

    fn step(&mut self, gan: &mut Gan) -> Result<StepOutput> {
        let Some(batch) = self.batches.next() else { unreachable!("there are batches") };
        Ok(gan.train_step(&batch.images.to_device(gan.device())?, &batch.labels)?)
    }
}

/// The median of times.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Batches of random images of the shape that the networks take, from a fixed seed: the time of a step
/// does not depend on what the images show.
fn random_batches(config: &TrainConfig) -> Result<Vec<Batch>> {
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
