//! The training step as a user of the crate sees it.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::duplicate_mod, reason = "two examples share a module")]

mod autograd;
mod bad_input;
mod checkpoint;
mod optimizer;
mod quality;
mod r3gan;

use candle_core::{Device, Tensor};
use gan_models::{Discriminator, Generator, Parameters};
use gan_training::{Gan, Hyperparameters, Recipe, candle_core, gan_models};

/// The networks of `mlp-small`, untrained.
fn networks() -> ((Generator, Parameters), (Discriminator, Parameters)) {
    let recipe = Recipe::built_in("mlp-small").unwrap().unwrap();
    let shape = (1, 28, 28).into();
    let generator = recipe.network.generator(shape, Vec::new(), false).unwrap();
    let discriminator = recipe.network.discriminator(shape, None).unwrap();
    (
        Parameters::init(1, &Device::Cpu, |vars| Generator::new(generator, vars)).unwrap(),
        Parameters::init(2, &Device::Cpu, |vars| Discriminator::new(&discriminator, vars)).unwrap(),
    )
}

fn hyperparameters() -> Hyperparameters {
    Recipe::built_in("mlp-small").unwrap().unwrap().training
}

fn gan() -> Gan {
    gan_of("mlp-small", 3)
}

fn gan_of(recipe: &str, seed: u64) -> Gan {
    gan_with(recipe, seed, |_| ())
}

/// The networks of a recipe with other settings.
fn gan_with(recipe: &str, seed: u64, change: impl FnOnce(&mut Hyperparameters)) -> Gan {
    let recipe = Recipe::built_in(recipe).unwrap().unwrap();
    let shape = (1, 28, 28).into();
    let generator = recipe.network.generator(shape, Vec::new(), false).unwrap();
    let discriminator = recipe.network.discriminator(shape, None).unwrap();
    let mut settings = recipe.training;
    settings.batch_size = 4;
    change(&mut settings);
    Gan::init(&generator, &discriminator, settings, seed, &Device::Cpu).unwrap()
}

/// Four images of a pattern that depends on a number.
fn images(number: u64) -> Tensor {
    let values: Vec<f32> = (0..4 * 784).map(|i| (i as f32 * 0.13 + number as f32).sin()).collect();
    Tensor::from_vec(values, (4, 1, 28, 28), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn all_values(parameters: &Parameters) -> Vec<f32> {
    parameters.iter().flat_map(|(_, var)| values(var)).collect()
}
