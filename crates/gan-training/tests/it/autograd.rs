//! Candle's own modules, trained by the same step.

use crate::{all_values, hyperparameters, images, networks};
use candle_core::{Device, Tensor};
use gan_models::{Backend, Discriminator, Generator, Latent, LatentDistribution, Mode, Parameters};
use gan_training::{Autograd, Gan, GanLoss, UpdateScheme};
use gan_training::{candle_core, gan_models};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const LATENT: Latent = Latent { dim: 64, distribution: LatentDistribution::Normal };

/// The same networks through candle's autograd and through the recorded pass take the same steps.
#[test]
fn autograd_and_the_recorded_pass_take_the_same_steps() {
    for update in [UpdateScheme::Alternating, UpdateScheme::Simultaneous] {
        let mut settings = hyperparameters();
        (settings.update, settings.batch_size) = (update, 4);
        settings.loss = GanLoss::LeastSquares;
        settings.regularization.r1_gamma = 0.3;

        let (generator, discriminator) = networks();
        let mut recorded = Gan::new(generator, discriminator, LATENT, settings, 5).unwrap();

        let ((generator, generator_parameters), (discriminator, discriminator_parameters)) =
            networks();
        let generator = generator.with_backend(Backend::Candle);
        let discriminator = discriminator.with_backend(Backend::Candle);
        let draw = |latents: &Tensor, _: &[u32]| forward_generator(&generator, latents);
        let judge = |images: &Tensor, _: &[u32]| forward_discriminator(&discriminator, images);
        let mut autograd = Gan::new(
            (Autograd::new(&generator_parameters, draw), generator_parameters.clone()),
            (Autograd::new(&discriminator_parameters, judge), discriminator_parameters.clone()),
            LATENT,
            settings,
            5,
        )
        .unwrap();
        for step in 0..3 {
            let (a, b) = (
                recorded.train_step(&images(step), &[]).unwrap(),
                autograd.train_step(&images(step), &[]).unwrap(),
            );
            let (a, b) = (recorded.read_stats(&a).unwrap(), autograd.read_stats(&b).unwrap());
            let close = |a: f32, b: f32| (a - b).abs() < 1e-3 * (1.0 + a.abs());
            assert!(close(a.discriminator_loss, b.discriminator_loss), "{step}: {a:?} {b:?}");
            assert!(close(a.generator_loss, b.generator_loss), "{step}: {a:?} {b:?}");
        }
        let moved = all_values(&generator_parameters);
        assert!(moved != all_values(&networks().0.1), "the networks are trained");
    }
}

fn forward_generator(generator: &Generator, latents: &Tensor) -> candle_core::Result<Tensor> {
    let mode = Mode::Train(&mut ChaCha8Rng::seed_from_u64(0));
    generator.forward(latents, mode).map_err(candle_core::Error::wrap)
}

fn forward_discriminator(
    discriminator: &Discriminator,
    images: &Tensor,
) -> candle_core::Result<Tensor> {
    let mode = Mode::Train(&mut ChaCha8Rng::seed_from_u64(0));
    discriminator.forward(images, &[], mode).map_err(candle_core::Error::wrap)
}

/// A seeded start: the same seed gives the same weights of candle's own layers.
#[test]
fn candle_modules_start_from_a_seed() {
    let init = |seed| {
        let (_, parameters) = Parameters::init(seed, &Device::Cpu, |vars| {
            Ok(candle_nn::conv2d(3, 8, 3, candle_nn::Conv2dConfig::default(), vars)?)
        })
        .unwrap();
        all_values(&parameters)
    };
    assert!(init(1) == init(1) && init(1) != init(2));
}
