//! Tests of steps in several micro-batches.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::tests::{BATCH, assert_same, gan_of, gradients, hyperparameters, real, value};
use crate::random::micro_batch_rng;
use crate::*;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarBuilder, VarMap};
use gan_models::{Backend, Conditioning, Latent, LatentDistribution, Mode, Norm, Parameters};
use rand::RngCore;

/// Hyperparameters of a loss alone, of which the networks' outputs are a function of images and
/// latents.
fn plain(loss: GanLoss, update: UpdateScheme, micro_batches: usize) -> Hyperparameters {
    let regularization = Regularization::default();
    Hyperparameters { micro_batches, regularization, ..hyperparameters(loss, update) }
}

/// The mean of the gradients of micro-batches is the gradient of the batch, where no image's output
/// depends on another image.
#[test]
fn micro_batches_have_the_gradients_of_the_whole_batch() {
    for update in [UpdateScheme::Simultaneous, UpdateScheme::Alternating] {
        for micro_batches in [2, 4] {
            let loss = GanLoss::LeastSquares;
            let settings = plain(loss, update, micro_batches);
            let by = Some(Conditioning::Projection);
            let new = || gan_of(settings, (Norm::None, Norm::None), by);
            let (mut gan, probe) = (new(), new());
            let (images, labels) = real();

            // The latents of the micro-batches, as one batch.
            let drawn = probe.rng.clone().next_u64();
            let latents: Vec<Tensor> = (0..micro_batches)
                .map(|index| {
                    let mut rng = micro_batch_rng(drawn, index);
                    probe.generator().sample_latents(BATCH / micro_batches, &mut rng).unwrap()
                })
                .collect();
            let latents = Tensor::cat(&latents, 0).unwrap();
            let generator = probe.generator().clone().with_backend(Backend::Candle);
            let discriminator = probe.discriminator().clone().with_backend(Backend::Candle);
            let rng = &mut micro_batch_rng(0, 0);
            let input = generator.input(&latents, &labels).unwrap();
            let fake = generator.forward(&input, Mode::Train(rng)).unwrap();
            let fake = discriminator.forward(&fake, &labels, Mode::Train(rng)).unwrap();
            let of_real = discriminator.forward(&images, &labels, Mode::Train(rng)).unwrap();
            let on_real = value(loss.on_real(settings.real_label), &of_real);
            let want = (on_real + value(loss.on_fake(), &fake)).unwrap().backward().unwrap();

            gan.train_step(&images, &labels).unwrap();
            let what = format!("{update:?} {micro_batches}");
            let got = gradients(&gan.discriminator.optimizer);
            assert_same(&got, &want, probe.discriminator_parameters(), &what);
            if update == UpdateScheme::Simultaneous {
                let want = value(loss.generator(), &fake).backward().unwrap();
                let got = gradients(&gan.generator.optimizer);
                assert_same(&got, &want, probe.generator_parameters(), &what);
            }
        }
    }
}

/// A threshold is compared with the loss over all micro-batches, whose own losses lie on both sides.
#[test]
fn a_threshold_decides_on_the_loss_over_all_micro_batches() {
    let (images, labels) = real();
    let loss = GanLoss::NonSaturating;
    let step = |threshold: Option<f32>| {
        let mut separate = SeparateUpdates::default();
        separate.skip_if_loss_below.real = threshold;
        let settings = plain(loss, UpdateScheme::Separate(separate), 2);
        let mut gan = gan_of(settings, (Norm::None, Norm::None), None);
        let output = gan.train_step(&images, &labels).unwrap();
        let logits = output.logits.real.to_vec1::<f32>().unwrap();
        let parts = [&logits[..2], &logits[2..], &logits[..]];
        let losses = parts.map(|logits| loss.on_real(settings.real_label).value(logits) as f32);
        (losses, gan.read_stats(&output).unwrap().updates)
    };
    let ([first, second, all], _) = step(None);
    assert!(first.min(second) < 0.9999 * all && 1.0001 * all < first.max(second));
    for (threshold, made) in [(0.9999 * all, 1), (1.0001 * all, 0)] {
        let (_, updates) = step(Some(threshold));
        assert_eq!(updates.unwrap().real, made, "{threshold}");
    }
}

/// A network of candle modules whose running statistic is half of what it was plus the mean label.
#[test]
fn running_statistics_are_the_mean_of_what_micro_batches_leave() {
    let network = || {
        let variables = VarMap::new();
        let vars = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        vars.get_with_hints(1, "weight", Init::Const(0.5)).unwrap();
        vars.get_with_hints((), "running_mean", Init::Const(0.0)).unwrap();
        Parameters::from_varmap(&variables)
    };
    let (of_generator, of_discriminator) = (network(), network());
    let weight = |of: &Parameters| of.get("weight").unwrap().as_tensor().clone();
    let generate = |latents: &Tensor, _: &[u32]| {
        let size = latents.dim(0)?;
        let images = latents.broadcast_mul(&weight(&of_generator))?.reshape((size, 1, 1, 1))?;
        images.broadcast_as((size, 1, 8, 8))?.contiguous()
    };
    let judge = |images: &Tensor, labels: &[u32]| {
        let running = of_discriminator.get("running_mean").unwrap();
        let mean = f64::from(labels.iter().sum::<u32>()) / labels.len() as f64;
        running.set(&running.as_detached_tensor().affine(0.5, mean)?)?;
        images.flatten_from(1)?.mean(1)?.broadcast_mul(&weight(&of_discriminator))
    };
    let settings = plain(GanLoss::LeastSquares, UpdateScheme::Alternating, 2);
    let mut gan = Gan::new(
        (Autograd::new(&of_generator, generate), of_generator.clone()),
        (Autograd::new(&of_discriminator, judge), of_discriminator.clone()),
        Latent { dim: 1, distribution: LatentDistribution::Normal },
        settings,
        1,
    )
    .unwrap();
    gan.train_step(&real().0, &[0, 0, 1, 1]).unwrap();
    // The discriminator's update shows it two batches: 0 and 0, or 1 and 1.5, so 0.75 on average.
    // The generator's shows it one: 0.375, or 1.375.
    let running = of_discriminator.get("running_mean").unwrap().to_scalar::<f32>().unwrap();
    assert_eq!(running, 0.875);
}
