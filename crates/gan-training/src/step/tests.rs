//! Gradients of every update scheme against candle's autograd of the losses' values.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::*;
use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use gan_models::{
    Activation, Architecture, Backend, ClassCondition, Conditioning, ConvStack, Dcgan,
    Discriminator, Generator, Gradients, Mode, Norm, Parameters, WeightInit,
};
use rand_chacha::ChaCha8Rng;

const IMAGE: (usize, usize, usize) = (1, 8, 8);
const CLASSES: usize = 3;
pub(super) const BATCH: usize = 4;
pub(super) const BATCH_NORM: Norm =
    Norm::Batch { epsilon: 1e-3, momentum: gan_models::Momentum(0.1) };

fn architecture(generator_norm: Norm, discriminator_norm: Norm) -> Architecture {
    let stack = |channels: &[usize], norm| {
        let activation = Activation::LeakyRelu(0.3);
        let mut stack = ConvStack::new(channels.to_vec(), vec![1, 2, 2], 4, activation);
        stack.norm = norm;
        stack
    };
    let (generator, discriminator) =
        (stack(&[7, 6, 4], generator_norm), stack(&[4, 6, 9], discriminator_norm));
    Architecture::Dcgan(Dcgan::new(5, WeightInit::Normal(0.2), generator, discriminator))
}

/// Adam with these settings keeps a step's gradient as its first moment.
const ADAM: AdamConfig = AdamConfig { lr: 1e-3, beta1: 0.0, beta2: 0.999 };

pub(super) fn hyperparameters(loss: GanLoss, update: UpdateScheme) -> Hyperparameters {
    let augmentation = Augmentation {
        colour: true,
        flip: true,
        translation: 2,
        cutout: 3,
        ..Augmentation::only_noise(0.1)
    };
    let is_separate = matches!(update, UpdateScheme::Separate(_));
    let (r1_gamma, r2_gamma) = if is_separate { (0.0, 0.0) } else { (0.5, 0.3) };
    Hyperparameters {
        batch_size: BATCH,
        micro_batches: 1,
        update,
        loss,
        real_label: if loss.has_labels() { 0.9 } else { 1.0 },
        regularization: Regularization {
            r1_gamma,
            r2_gamma,
            gamma_decay: Some(LinearDecay { start: 0.0, final_factor: 0.5 }),
            spectral_norm: 0.0,
            augmentation,
        },
        ema_decay: 0.9,
        lr_decay: None,
        frozen_layers: 0,
        schedule_steps: 100,
        generator_adam: ADAM,
        discriminator_adam: ADAM,
    }
}

/// A class-conditional pair, and a batch of real images with their labels.
fn gan(hyperparameters: Hyperparameters, norm: Norm, by: Option<Conditioning>) -> Gan {
    gan_of(hyperparameters, (BATCH_NORM, norm), by)
}

/// The same with a normalisation for the generator and one for the discriminator.
pub(super) fn gan_of(
    hyperparameters: Hyperparameters,
    (generator_norm, discriminator_norm): (Norm, Norm),
    by: Option<Conditioning>,
) -> Gan {
    let architecture = architecture(generator_norm, discriminator_norm);
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let condition = by.map(|by| ClassCondition::new(CLASSES, by));
    let generator = architecture.generator(IMAGE.into(), classes, by.is_some()).expect("fits");
    let discriminator = architecture.discriminator(IMAGE.into(), condition).expect("fits");
    Gan::init(&generator, &discriminator, hyperparameters, 7, &Device::Cpu).expect("a pair")
}

pub(super) fn real() -> (Tensor, Vec<u32>) {
    let (channels, height, width) = IMAGE;
    let values = (0..BATCH * channels * height * width).map(|i| (i as f32 * 0.37).sin()).collect();
    let images: Vec<f32> = values;
    let images = Tensor::from_vec(images, (BATCH, channels, height, width), &Device::Cpu);
    (images.expect("a batch"), (0..BATCH as u32).map(|i| i % CLASSES as u32).collect())
}

/// The gradients of the last update, from the first moments of the optimizer.
pub(super) fn gradients(optimizer: &Optimizer) -> Gradients {
    let first = |(name, value): (String, Tensor)| {
        name.strip_prefix("first.").map(|name| (name.to_string(), value))
    };
    optimizer.state().into_iter().filter_map(first).collect()
}

#[track_caller]
pub(super) fn assert_same(got: &Gradients, want: &GradStore, parameters: &Parameters, what: &str) {
    let mut compared = 0;
    for (name, var) in parameters.iter() {
        let Some(want) = want.get(var.as_tensor()) else { continue };
        let largest = |t: &Tensor| {
            t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap()
        };
        let got = got.get(name).unwrap_or_else(|| panic!("{what}: {name} has no gradient"));
        let (error, size) = (largest(&(got - want).unwrap()), largest(want));
        assert!(error <= 2e-4 * size + 5e-6, "{what}: {name} is off by {error} of {size}");
        compared += 1;
    }
    assert_eq!(compared, got.len(), "{what}: every gradient is compared");
}

/// The networks of a pair on candle's operators, with the random generator as it stands.
struct Reference<'a> {
    gan: &'a Gan,
    generator: Generator,
    discriminator: Discriminator,
    rng: ChaCha8Rng,
    labels: Vec<u32>,
}

impl<'a> Reference<'a> {
    fn of(gan: &'a Gan, labels: &[u32]) -> Self {
        Self {
            gan,
            generator: gan.generator().clone().with_backend(Backend::Candle),
            discriminator: gan.discriminator().clone().with_backend(Backend::Candle),
            rng: gan.rng.clone(),
            labels: labels.to_vec(),
        }
    }

    fn fake(&mut self) -> Tensor {
        let latents = self.generator.sample_latents(BATCH, &mut self.rng).unwrap();
        let input = self.generator.input(&latents, &self.labels).unwrap();
        self.generator.forward(&input, Mode::Train(&mut self.rng)).unwrap()
    }

    fn logits(&mut self, images: &Tensor) -> Tensor {
        self.discriminator.forward(images, &self.labels, Mode::Train(&mut self.rng)).unwrap()
    }

    /// The discriminator's loss on real images and these fakes, and what the losses on fakes take.
    fn discriminator_loss(&mut self, real: &Tensor, fake: &Tensor) -> (Tensor, Tensor) {
        let h = self.gan.hyperparameters;
        let (shown_real, augmented_real) =
            self.gan.augmentation().apply(real, &mut self.rng).unwrap();
        let (shown_fake, augmented_fake) =
            self.gan.augmentation().apply(fake, &mut self.rng).unwrap();
        let noise = Augmentation::only_noise(R1Penalty::STD);
        let [perturbed_real, perturbed_fake] =
            [(real, augmented_real), (&fake.detach(), augmented_fake)].map(
                |(images, augmented)| {
                    let (perturbed, _) = noise.apply(images, &mut self.rng).unwrap();
                    augmented.forward(&perturbed).unwrap()
                },
            );
        let (real, fake) = (self.logits(&shown_real), self.logits(&shown_fake));
        let (r1_gamma, r2_gamma) = (h.regularization.r1_gamma, h.regularization.r2_gamma);
        let mut penalty = |gamma: f64, clean: &Tensor, perturbed: &Tensor| {
            let change = (self.logits(perturbed) - clean).unwrap() / f64::from(R1Penalty::STD);
            (change.unwrap().sqr().unwrap().mean_all().unwrap() * (gamma / 2.0)).unwrap()
        };
        let r1 = penalty(r1_gamma, &real, &perturbed_real);
        let r2 = penalty(r2_gamma, &fake, &perturbed_fake);
        let pairs = h.loss.on_pairs(&real, &fake).unwrap();
        let on_real = value(h.loss.on_real(h.real_label), &real);
        let on_fake = value(h.loss.on_fake(), &pairs);
        (((on_real + on_fake).unwrap() + (r1 + r2).unwrap()).unwrap(), pairs)
    }
}

/// The value of a loss in candle's operators, which its autograd can differentiate.
pub(super) fn value(loss: LogitLoss, logits: &Tensor) -> Tensor {
    let logits = logits.to_dtype(DType::F64).unwrap();
    let values = match loss {
        LogitLoss::CrossEntropy { label } => {
            let log = (logits.abs().unwrap().neg().unwrap().exp().unwrap() + 1.0).unwrap().log();
            let softplus = (logits.relu().unwrap() + log.unwrap()).unwrap();
            (softplus - (logits * label).unwrap()).unwrap()
        }
        LogitLoss::Hinge { sign } => logits.affine(-sign, 1.0).unwrap().relu().unwrap(),
        LogitLoss::SquaredError { target } => {
            ((logits - target).unwrap().sqr().unwrap() / 2.0).unwrap()
        }
        LogitLoss::Linear { slope } => (logits * slope).unwrap(),
    };
    values.mean_all().unwrap().to_dtype(DType::F32).unwrap()
}

/// Shen et al. 2021: one pass gives the gradients of both losses, conditional or not, whether the
/// discriminator is undecided or confident.
#[test]
fn a_simultaneous_step_has_the_gradients_of_both_losses() {
    let conditions = [None, Some(Conditioning::Projection), Some(Conditioning::Concatenation)];
    for (loss, by) in GanLoss::ALL.into_iter().flat_map(|loss| conditions.map(|by| (loss, by))) {
        for confidence in [0.0, 3.0, -3.0] {
            let (images, labels) = real();
            let settings = hyperparameters(loss, UpdateScheme::Simultaneous);
            let mut gan = gan(settings, Norm::None, by);
            let bias = last_bias(gan.discriminator_parameters());
            bias.set(&(bias.as_detached_tensor() + confidence).unwrap()).unwrap();
            let what = format!("{loss:?} {by:?} {confidence}");

            let mut reference = Reference::of(&gan, &labels);
            let fake = reference.fake();
            let (loss_value, pairs) = reference.discriminator_loss(&images, &fake);
            let of_discriminator = loss_value.backward().unwrap();
            let of_generator = value(loss.generator(), &pairs).backward().unwrap();

            gan.train_step(&images, &labels).unwrap();
            // Beyond the hinge's margin the true gradient is 0, and MIN_GRAD stands in its place.
            if loss != GanLoss::Hinge || confidence >= 0.0 {
                let got = gradients(&gan.discriminator.optimizer);
                assert_same(&got, &of_discriminator, gan.discriminator_parameters(), &what);
            }
            let got = gradients(&gan.generator.optimizer);
            assert_same(&got, &of_generator, gan.generator_parameters(), &what);
        }
    }
}

/// The bias that moves all logits.
fn last_bias(parameters: &Parameters) -> Var {
    let (_, bias) =
        parameters.iter().filter(|(name, _)| name.ends_with(".bias")).last().expect("a bias");
    bias.clone()
}

/// Alternating updates of a discriminator with and without batch statistics: one tape for all
/// parts, or one for each.
#[test]
fn an_alternating_step_has_the_gradients_of_its_losses() {
    for (loss, norm) in
        GanLoss::ALL.into_iter().flat_map(|loss| [(loss, Norm::None), (loss, BATCH_NORM)])
    {
        let (images, labels) = real();
        let settings = hyperparameters(loss, UpdateScheme::Alternating);
        let new = || gan(settings, norm, Some(Conditioning::Projection));
        let (mut gan, probe) = (new(), new());
        let what = format!("{loss:?} {norm:?}");

        let mut reference = Reference::of(&probe, &labels);
        let fake = reference.fake().detach();
        let (loss_value, _) = reference.discriminator_loss(&images, &fake);
        let of_discriminator = loss_value.backward().unwrap();

        gan.train_step(&images, &labels).unwrap();
        let got = gradients(&gan.discriminator.optimizer);
        assert_same(&got, &of_discriminator, probe.discriminator_parameters(), &what);

        // The generator's update sees the discriminator after its own.
        for (name, var) in probe.discriminator_parameters().iter() {
            var.set(gan.discriminator_parameters().get(name).unwrap().as_tensor()).unwrap();
        }
        let fake = reference.fake();
        let (fake, _) = probe.augmentation().apply(&fake, &mut reference.rng).unwrap();
        let mut logits = reference.logits(&fake);
        if loss.is_relative() {
            let (shown, _) = probe.augmentation().apply(&images, &mut reference.rng).unwrap();
            logits = loss.on_pairs(&reference.logits(&shown), &logits).unwrap();
        }
        let of_generator = value(loss.generator(), &logits).backward().unwrap();
        let got = gradients(&gan.generator.optimizer);
        assert_same(&got, &of_generator, probe.generator_parameters(), &what);
    }
}

/// Each update is made where its loss is above its threshold, and only then.
#[test]
fn separate_updates_can_be_skipped() {
    let (images, labels) = real();
    let (never, always) = (Some(f32::INFINITY), None);
    for (thresholds, want) in [
        (LossThresholds { real: never, fake: never, generator: never }, [false, false]),
        (LossThresholds { real: Some(1e-6), fake: never, generator: never }, [false, true]),
        (LossThresholds { real: never, fake: always, generator: never }, [false, true]),
        (LossThresholds { real: never, fake: never, generator: always }, [true, false]),
    ] {
        let separate = SeparateUpdates { half_batches: true, skip_if_loss_below: thresholds };
        let settings = hyperparameters(GanLoss::NonSaturating, UpdateScheme::Separate(separate));
        let mut gan = gan(settings, Norm::None, None);
        let output = gan.train_step(&images, &labels).unwrap();
        let moved = [&gan.generator.optimizer, &gan.discriminator.optimizer]
            .map(|optimizer| optimizer.step() > 0);
        assert_eq!(moved, want, "{thresholds:?}");
        let made = gan.read_stats(&output).unwrap().updates.expect("thresholds");
        assert_eq!([made.generator > 0, made.real + made.fake > 0], want);
    }
}

/// Layers 0 and 1 are a convolution and its activation.
#[test]
fn frozen_layers_keep_their_weights() {
    let (images, labels) = real();
    let mut settings = hyperparameters(GanLoss::Hinge, UpdateScheme::Alternating);
    settings.frozen_layers = 2;
    settings.regularization.spectral_norm = 1e-3;
    let mut gan = gan(settings, Norm::None, None);
    let before = gan.discriminator_parameters().deep_clone().unwrap();
    gan.train_step(&images, &labels).unwrap();
    for (name, var) in gan.discriminator_parameters().iter() {
        let values = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let is_same = values(var) == values(before.get(name).unwrap());
        assert_eq!(is_same, name.starts_with("layers.0."), "{name}");
    }
}
