//! The discriminator is updated on real images, then on fakes; then the generator is updated. Each
//! update can be skipped while its loss is low.

use crate::error::Result;
use crate::gan::{Batch, Gan};
use crate::hyperparameters::{LossThresholds, SeparateUpdates};
use crate::losses::LogitLoss;
use crate::network::{Backward, PARAMETERS, TrainableNetwork};
use crate::stats::{Logits, StepOutput, UpdateCounts, to_host};
use candle_core::Tensor;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Separate`].
    pub(crate) fn separate_step(
        &mut self,
        real: Batch,
        SeparateUpdates { half_batches, skip_if_loss_below: thresholds }: SeparateUpdates,
    ) -> Result<StepOutput> {
        let (loss, label) = (self.hyperparameters.loss, self.hyperparameters.real_label);
        let shown = if half_batches { real.len()? / 2 } else { real.len()? };
        let images = real.images.narrow(0, 0, shown)?;
        let labels = &real.labels[..shown.min(real.labels.len())];

        // The discriminator on real images.
        let shown = Batch { images: &images, labels };
        let on_real = self.update_on(shown, loss.on_real(label), thresholds.real)?;
        // The discriminator on fakes.
        let (fake, _) = self.generate(shown)?;
        let shown = Batch { images: &fake, labels };
        let on_fake = self.update_on(shown, loss.on_fake(), thresholds.fake)?;

        // The generator, on fresh fakes.
        let (fake, generator_tape) = self.generate(real)?;
        let pass = self.discriminate_fakes(&fake, real.labels)?;
        self.check_logits("generator", [&pass.logits])?;
        let generator_due = is_due(loss.generator(), &pass.logits, thresholds.generator)?;
        if generator_due {
            let grad_images = pass.backward(&loss.generator().grad(&pass.logits)?)?;
            let gradients = self.generator_gradients(&generator_tape, &grad_images)?;
            self.update_generator(&gradients)?;
        }

        let updates = UpdateCounts {
            real: on_real.is_due.into(),
            fake: on_fake.is_due.into(),
            generator: generator_due.into(),
        };
        let can_skip = thresholds != LossThresholds::default();
        let (real, fake) = (on_real.logits, on_fake.logits);
        let logits = Logits { real, fake, perturbed_real: None, perturbed_fake: None };
        let output = self.output(logits, pass.logits);
        Ok(StepOutput { updates: can_skip.then_some(updates), ..output })
    }

    /// Shows images to the discriminator and updates it on them alone, if the loss is above the
    /// threshold.
    fn update_on(
        &mut self,
        shown: Batch,
        loss: LogitLoss,
        threshold: Option<f32>,
    ) -> Result<OnePart> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (images, _) = self.augmentation().apply(shown.images, &mut self.rng)?;
        let (logits, tape) = self.logits(&images, shown.labels)?;
        self.check_logits("discriminator", [&logits])?;
        let is_due = is_due(loss, &logits, threshold)?;
        if is_due {
            let (_, gradients) = tape.backward(&loss.grad(&logits)?, PARAMETERS)?;
            self.update_discriminator(&gradients)?;
        }
        Ok(OnePart { logits, is_due })
    }
}

/// The discriminator's pass over real images, or over fakes.
struct OnePart {
    logits: Tensor,
    /// Whether the update was made.
    is_due: bool,
}

/// Whether a loss is above its threshold. Only with a threshold are the logits copied from the
/// device.
fn is_due(loss: LogitLoss, logits: &Tensor, threshold: Option<f32>) -> Result<bool> {
    match threshold {
        Some(threshold) => Ok(loss.value(&to_host(logits)?) as f32 > threshold),
        None => Ok(true),
    }
}
