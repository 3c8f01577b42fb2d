//! One step: the ways in which the two networks take turns.

use super::{BOTH, Gan, INPUT, PARAMETERS, StepStats, Updates};
use crate::judgement::{FAKE, Judgement};
use crate::recipe::{Separate, Thresholds};
use anyhow::Result;
use candle_core::Tensor;
use gan_data::Batch;
use gan_models::{Gradients, losses::Loss};

impl Gan {
    /// One pass of real and fake through the discriminator serves both losses.
    pub(super) fn simultaneous_step(&mut self, real: &Batch) -> Result<StepStats> {
        let (fake, generator_tape) = self.fake(&real.labels)?;
        let judgement = self.judge(real, &fake)?;
        let stats = self.stats(&judgement)?;
        let (discriminator_gradients, at_fake) = self.one_pass_back(&judgement)?;
        let generator_gradients = self.teach_generator(&generator_tape, &at_fake)?;
        self.update_discriminator(&discriminator_gradients)?;
        self.update_generator(&generator_gradients)?;
        Ok(stats)
    }

    /// The gradients of the discriminator's parameters by its loss, and of the fake pictures by
    /// the generator's: from one way back, as the losses' derivatives are multiples of each other
    /// ([`gan_models::GanLoss::generator_to_discriminator_ratio`]).
    fn one_pass_back(&self, judgement: &Judgement) -> Result<(Gradients, Tensor)> {
        let ratio = self.rules.loss.generator_to_discriminator_ratio(&judgement.logits[FAKE])?;
        let (at_fake, gradients) = judgement.backward(&judgement.derivatives, BOTH)?;
        let at_fake =
            self.reached(at_fake)?.broadcast_mul(&ratio.reshape((ratio.dim(0)?, 1, 1, 1))?)?;
        Ok((gradients, judgement.augmented.backward(&at_fake)?))
    }

    pub(super) fn alternating_step(&mut self, real: &Batch) -> Result<StepStats> {
        let (fake, _) = self.fake(&real.labels)?;
        let judgement = self.judge(real, &fake)?;
        let mut stats = self.stats(&judgement)?;
        let (_, gradients) = judgement.backward(&judgement.derivatives, PARAMETERS)?;

        let (fake, generator_tape) = self.update_discriminator_and_fake(&gradients, real)?;
        let (loss, at_fake) = self.judge_for_generator(&fake, &real.labels, None)?;
        stats.generator_loss = self.finite("generator", loss)?;
        let gradients = self.teach_generator(&generator_tape, &self.reached(at_fake)?)?;
        self.update_generator(&gradients)?;
        Ok(stats)
    }

    /// The discriminator on real pictures, then on fakes, then the generator, each update only
    /// where its loss is above the threshold.
    pub(super) fn separate_step(
        &mut self,
        real: &Batch,
        Separate { half_batches, only_above }: Separate,
    ) -> Result<StepStats> {
        let shown = if half_batches { real.labels.len() / 2 } else { real.labels.len() };
        let (shown_images, shown_labels) =
            (real.images.narrow(0, 0, shown)?, &real.labels[..shown]);
        let (loss, label) = (self.rules.loss, self.rules.real_label);
        let on_real = |logits: &Tensor| Ok(loss.on_real(logits, label)?);
        let (of_real, real_logits) =
            self.update_on(&shown_images, shown_labels, only_above.real, on_real)?;
        let (fake, _) = self.fake(shown_labels)?;
        let on_fake = |logits: &Tensor| Ok(loss.on_fake(logits)?);
        let (of_fake, fake_logits) =
            self.update_on(&fake, shown_labels, only_above.fake, on_fake)?;

        let (fake, generator_tape) = self.fake(&real.labels)?;
        let (of_generator, at_fake) =
            self.judge_for_generator(&fake, &real.labels, only_above.generator)?;
        let logits = (&real_logits, &fake_logits);
        let stats = self.stats_of(logits, of_real + of_fake, of_generator)?;
        if let Some(at_fake) = at_fake {
            let gradients = self.teach_generator(&generator_tape, &at_fake)?;
            self.update_generator(&gradients)?;
        }
        let updates = Updates {
            real: is_due(of_real, only_above.real).into(),
            fake: is_due(of_fake, only_above.fake).into(),
            generator: is_due(of_generator, only_above.generator).into(),
        };
        let counted = only_above != Thresholds::default();
        Ok(StepStats { updates: counted.then_some(updates), ..stats })
    }

    /// The generator's loss, and where that is above the threshold its gradient at the fake pictures.
    fn judge_for_generator(
        &mut self,
        fake: &Tensor,
        labels: &[u32],
        only_above: Option<f32>,
    ) -> Result<(f32, Option<Tensor>)> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (fake, augmented) = self.augmentation().apply(fake, &mut self.rng)?;
        let (logits, tape) = self.discriminator.record(&fake, labels, &mut self.rng)?;
        let loss = self.rules.loss.generator(&logits)?;
        if !is_due(loss.value, only_above) {
            return Ok((loss.value, None));
        }
        let (at_fake, _) = tape.backward(&loss.derivative, INPUT)?;
        Ok((loss.value, Some(augmented.backward(&self.reached(at_fake)?)?)))
    }

    /// Shows pictures to the discriminator and updates it on them alone, where the loss is above
    /// the threshold: the loss, and the logits.
    fn update_on(
        &mut self,
        images: &Tensor,
        labels: &[u32],
        only_above: Option<f32>,
        loss: impl Fn(&Tensor) -> Result<Loss>,
    ) -> Result<(f32, Tensor)> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (images, _) = self.augmentation().apply(images, &mut self.rng)?;
        let (logits, tape) = self.discriminator.record(&images, labels, &mut self.rng)?;
        let loss = loss(&logits)?;
        self.finite("discriminator", loss.value)?;
        if is_due(loss.value, only_above) {
            let (_, gradients) = tape.backward(&loss.derivative, PARAMETERS)?;
            self.update_discriminator(&gradients)?;
        }
        Ok((loss.value, logits))
    }
}

/// Whether a loss asks for an update.
fn is_due(loss: f32, only_above: Option<f32>) -> bool {
    only_above.is_none_or(|threshold| loss > threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::NewRunOptions;
    use crate::config::TrainConfig;
    use crate::config::resolve::resolved;
    use crate::recipe::{Regularization, UpdateRule};
    use candle_core::Device;
    use gan_models::{Augmentation, GanLoss};

    /// Shen et al. 2021: one way back gives what two give, dropout included, whether the
    /// discriminator is undecided or sure of itself.
    #[test]
    fn one_pass_equals_two() -> Result<()> {
        let args = NewRunOptions {
            recipe: Some("dcgan".to_string()),
            batch_size: Some(3),
            ..NewRunOptions::default()
        };
        let (config, mut batches) = resolved(args)?;
        let config = TrainConfig { real_label: 0.9, ..config };
        let real = batches.batch(0)?;
        // Dropout would make a difference of its own, but one way back and two see the same.
        let regularization = Regularization { gradient_penalty: 0.1, ..Regularization::default() };
        let augmentation = Augmentation { translation: 2, cutout: 6, noise: 0.1 };
        let regularised = Regularization { augmentation, ..regularization };
        let cases = [
            (0.0, GanLoss::NonSaturating, Regularization::default()),
            (6.0, GanLoss::NonSaturating, regularization),
            (-6.0, GanLoss::NonSaturating, regularised),
            (0.0, GanLoss::Wasserstein, regularised),
            (0.5, GanLoss::Hinge, regularization),
            // Fakes beyond the margin teach the generator alone.
            (-3.0, GanLoss::Hinge, regularization),
            (0.5, GanLoss::LeastSquares, regularised),
        ];
        for (confidence, loss, regularization) in cases {
            let config = TrainConfig { loss, regularization, ..config.clone() };
            let mut gan = Gan::new(&config, &Device::Cpu)?;
            let bias = gan.discriminator_parameters.get("layers.6.bias").expect("a bias").clone();
            bias.set(&(bias.as_detached_tensor() + confidence)?)?;
            compare_one_pass_with_two(&mut gan, &real)?;
        }
        Ok(())
    }

    fn compare_one_pass_with_two(gan: &mut Gan, real: &Batch) -> Result<()> {
        let (fake, generator_tape) = gan.fake(&real.labels)?;
        let judgement = gan.judge(real, &fake)?;
        let (at_discriminator, at_fake) = gan.one_pass_back(&judgement)?;

        // Back once for the discriminator's loss, once more for the generator's.
        let (_, want) = judgement.backward(&judgement.derivatives, PARAMETERS)?;
        let of_generator = gan.rules.loss.generator(&judgement.logits[FAKE])?.derivative;
        let mut derivatives = vec![of_generator.zeros_like()?; judgement.logits.len()];
        derivatives[FAKE] = of_generator;
        let (at_fakes, _) = judgement.backward(&derivatives, INPUT)?;
        let want_at_fake = judgement.augmented.backward(&at_fakes.expect("wanted"))?;

        let largest = |tensor: &Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        let same = |got: &Tensor, want: &Tensor, what: &str| -> Result<()> {
            let (error, size) = (largest(&(got - want)?)?, largest(want)?);
            // Wasserstein's gradient of the last bias is 0: as many up as down.
            assert!(size > 0.0 || what == "layers.6.bias", "{what} is 0");
            assert!(error <= 1e-4 * size, "{what}: {error} of {size}");
            Ok(())
        };
        same(&at_fake, &want_at_fake, "the fake pictures")?;
        for (name, want) in &want {
            same(&at_discriminator[name], want, name)?;
        }
        let got = gan.teach_generator(&generator_tape, &at_fake)?;
        let want = gan.teach_generator(&generator_tape, &want_at_fake)?;
        assert_eq!(got.len(), want.len());
        for (name, want) in &want {
            same(&got[name], want, name)?;
        }
        Ok(())
    }

    /// Each update is made where its loss is above its threshold, and only then.
    #[test]
    fn separate_updates_can_be_left_out() -> Result<()> {
        let args = NewRunOptions {
            recipe: Some("mlp-bn".to_string()),
            batch_size: Some(4),
            ..NewRunOptions::default()
        };
        let (config, mut batches) = resolved(args)?;
        let real = batches.batch(0)?;
        let (never, always) = (Some(f32::INFINITY), None);
        for (only_above, want) in [
            (Thresholds { real: never, fake: never, generator: never }, [false, false]),
            (Thresholds { real: Some(1e-6), fake: never, generator: never }, [false, true]),
            (Thresholds { real: never, fake: always, generator: never }, [false, true]),
            (Thresholds { real: never, fake: never, generator: always }, [true, false]),
        ] {
            let update = UpdateRule::Separate(Separate { half_batches: true, only_above });
            let mut gan = Gan::new(&TrainConfig { update, ..config.clone() }, &Device::Cpu)?;
            let weights = |gan: &Gan| -> Result<[Vec<f32>; 2]> {
                let of = |parameters: &gan_models::Parameters| -> Result<Vec<f32>> {
                    let weight = parameters.get("layers.0.weight").expect("a weight");
                    Ok(weight.as_detached_tensor().flatten_all()?.to_vec1()?)
                };
                Ok([of(&gan.generator_parameters)?, of(&gan.discriminator_parameters)?])
            };
            let before = weights(&gan)?;
            let stats = gan.train_step(&real)?;
            let after = weights(&gan)?;
            let moved = [0, 1].map(|network| before[network] != after[network]);
            assert_eq!(moved, want, "{only_above:?}");
            let made = stats.updates.expect("thresholds");
            assert_eq!([made.generator > 0, made.real + made.fake > 0], want);
        }
        Ok(())
    }
}
