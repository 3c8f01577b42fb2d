//! Trains a generator on a tensor of images, with samples and checkpoints.
//!
//! `cargo run -p gan-training --example train -- DIRECTORY` trains handwritten fives. Stop it and run
//! it again: it continues from the last checkpoint.
#![allow(clippy::print_stdout, reason = "examples print what they do")]

pub(crate) mod fives;

use candle_core::{Device, Tensor};
use fives::Result;
use gan_training::{Gan, Recipe, candle_core, rand};
use rand::SeedableRng;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or("fives".to_string()));
    // Any images will do: (N, C, H, W) in [-1, 1].
    let images = fives::load()?;
    let distance = train(&images, &directory, 1000)?;
    println!("Frechet distance {distance:.2}; samples and generator in {}", directory.display());
    Ok(())
}

/// Trains the networks of the recipe `default` and returns the Frechet distance of its samples.
pub(crate) fn train(images: &Tensor, directory: &Path, steps: u64) -> Result<f64> {
    let recipe = Recipe::built_in("default")?.ok_or("no such recipe")?;
    let (_, channels, height, width) = images.dims4()?;
    let shape = (channels, height, width).into();
    let generator = recipe.network.generator(shape, vec!["5".to_string()], false)?;
    let discriminator = recipe.network.discriminator(shape, None)?;
    let mut settings = recipe.training;
    settings.schedule_steps = steps;
    let mut gan = Gan::init(&generator, &discriminator, settings, 1, &Device::Cpu)?;

    std::fs::create_dir_all(directory)?;
    let checkpoint = directory.join("checkpoint");
    if checkpoint.exists() {
        gan.restore(&checkpoint)?;
    }
    while gan.step() < steps {
        let batch = fives::batch(images, settings.batch_size, gan.step())?;
        let output = gan.train_step(&batch, &[])?;
        if gan.step().is_multiple_of(100) {
            let stats = gan.read_stats(&output)?;
            let (d, g) = (stats.discriminator_loss, stats.generator_loss);
            println!("step {} D {d:.3} G {g:.3}", gan.step());
            gan.save(&checkpoint)?;
        }
    }

    let generator = gan.ema_generator()?;
    generator.save(gan.ema_parameters(), directory.join("generator"))?;
    let samples = generator.sample(2000, &mut rand_chacha::ChaCha8Rng::seed_from_u64(2))?;
    fives::write_grid(&directory.join("samples.png"), &samples)?;
    fives::frechet_distance(images, &samples)
}
