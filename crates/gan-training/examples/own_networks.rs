//! Trains candle modules of your own by the same step, through candle's autograd.
//!
//! `cargo run --release -p gan-training --example own_networks` trains dense networks on handwritten
//! fives and compares the time of a step with that of the same networks built from a recipe. Dev
//! builds do not optimise candle's own products, so this example wants `--release`.
#![allow(clippy::print_stdout, reason = "examples print what they do")]

pub(crate) mod fives;

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Linear, VarBuilder, VarMap, linear};
use fives::Result;
use gan_models::{Latent, LatentDistribution, Parameters};
use gan_training::{AdamConfig, Autograd, Gan, Recipe, TrainableNetwork};
use gan_training::{candle_core, gan_models, rand};
use rand::SeedableRng;
use std::time::Instant;

const LATENT: Latent = Latent { dim: 64, distribution: LatentDistribution::Normal };

fn main() -> Result<()> {
    let (distance, own, recipe) = train(&fives::load()?, 1500)?;
    println!(
        "Frechet distance {distance:.2}; {own:.2} ms a step, {recipe:.2} ms with the recipe's \
         networks: {:.1} times",
        own / recipe
    );
    Ok(())
}

/// Three dense layers.
struct Mlp([Linear; 3]);

impl Mlp {
    fn new(sizes: [usize; 4], vars: VarBuilder) -> candle_core::Result<Self> {
        let layer = |i: usize| linear(sizes[i], sizes[i + 1], vars.pp(i));
        Ok(Self([layer(0)?, layer(1)?, layer(2)?]))
    }

    fn forward(&self, x: &Tensor, slope: f64) -> candle_core::Result<Tensor> {
        let [first, second, last] = &self.0;
        let x = candle_nn::ops::leaky_relu(&first.forward(x)?, slope)?;
        last.forward(&candle_nn::ops::leaky_relu(&second.forward(&x)?, slope)?)
    }
}

/// Trains for so many steps. Returns the Frechet distance of the samples, and the milliseconds of a
/// step with these networks and with the recipe's.
pub(crate) fn train(images: &Tensor, steps: u64) -> Result<(f64, f64, f64)> {
    let device = Device::Cpu;
    let recipe = Recipe::built_in("mlp-small")?.ok_or("no such recipe")?;
    let mut settings = recipe.training;
    settings.schedule_steps = steps;
    // What networks without normalisation need to keep learning: with the recipe's own settings, the
    // discriminator wins within 500 steps.
    settings.regularization.r1_gamma = 1.0;
    for adam in [&mut settings.generator_adam, &mut settings.discriminator_adam] {
        *adam = AdamConfig { lr: 1e-3, beta1: 0.5, ..*adam };
    }

    // `Parameters::init` in the place of the two `VarMap`s draws the weights from a seed.
    let (generator_vars, discriminator_vars) = (VarMap::new(), VarMap::new());
    let vars = VarBuilder::from_varmap(&generator_vars, DType::F32, &device);
    let generator = Mlp::new([64, 256, 256, 784], vars)?;
    let vars = VarBuilder::from_varmap(&discriminator_vars, DType::F32, &device);
    let discriminator = Mlp::new([784, 256, 256, 1], vars)?;

    let parameters = Parameters::from_varmap(&generator_vars);
    let draw = |latents: &Tensor, _: &[u32]| {
        generator.forward(latents, 0.0)?.tanh()?.reshape(((), 1, 28, 28))
    };
    let generator = (Autograd::new(&parameters, draw), parameters);
    let parameters = Parameters::from_varmap(&discriminator_vars);
    let judge = |images: &Tensor, _: &[u32]| {
        discriminator.forward(&images.flatten_from(1)?, 0.2)?.squeeze(1)
    };
    let discriminator = (Autograd::new(&parameters, judge), parameters);
    let mut gan = Gan::new(generator, discriminator, LATENT, settings, 1)?;
    let own = run(&mut gan, images, steps)?;

    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let latents = LATENT.sample(2000, &mut rng, &device)?;
    let (samples, _) = gan.generator().forward_train(&latents, &[], &mut rng)?;
    let distance = fives::frechet_distance(images, &samples)?;

    let generator = recipe.network.generator((1, 28, 28).into(), Vec::new(), false)?;
    let discriminator = recipe.network.discriminator((1, 28, 28).into(), None)?;
    let mut gan = Gan::init(&generator, &discriminator, settings, 1, &device)?;
    Ok((distance, own, run(&mut gan, images, 200.min(steps))?))
}

/// Makes steps and returns the median of their milliseconds.
fn run<G: TrainableNetwork, D: TrainableNetwork>(
    gan: &mut Gan<G, D>,
    images: &Tensor,
    steps: u64,
) -> Result<f64> {
    let mut times = Vec::new();
    while gan.step() < steps {
        let batch = fives::batch(images, gan.hyperparameters().batch_size, gan.step())?;
        let start = Instant::now();
        let output = gan.train_step(&batch, &[])?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if gan.step().is_multiple_of(500) {
            let stats = gan.read_stats(&output)?;
            println!("step {} accuracy {:.2}", gan.step(), stats.accuracy);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
