//! The discriminator is updated on real images, then on fakes; then the generator is updated. Each
//! update can be skipped while its loss is low.

use crate::error::Result;
use crate::gan::{Batch, Gan};
use crate::hyperparameters::{LossThresholds, SeparateUpdates};
use crate::losses::Loss;
use crate::network::{Backward, PARAMETERS, TrainableNetwork};
use crate::stats::{StepOutput, UpdateCounts, scalar};
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
        let on_real = |logits: &Tensor| loss.on_real(logits, label);
        let on_real =
            self.update_on(Batch { images: &images, labels }, thresholds.real, on_real)?;
        // The discriminator on fakes.
        let (fake, _) = self.generate(Batch { images: &images, labels })?;
        let on_fake = |logits: &Tensor| loss.on_fake(logits);
        let on_fake = self.update_on(Batch { images: &fake, labels }, thresholds.fake, on_fake)?;
        let discriminator_loss = (on_real.loss + on_fake.loss)?;

        // The generator, on fresh fakes.
        let (fake, generator_tape) = self.generate(real)?;
        let pass = self.discriminate_fakes(&fake, real.labels)?;
        let on_generator = loss.generator(&pass.logits)?;
        self.check_loss("generator", &on_generator.value)?;
        let generator_due = is_due(&on_generator.value, thresholds.generator)?;
        if generator_due {
            let grad_images = pass.backward(&on_generator.grad)?;
            let gradients = self.generator_gradients(&generator_tape, &grad_images)?;
            self.update_generator(&gradients)?;
        }

        let updates = UpdateCounts {
            real: on_real.is_due.into(),
            fake: on_fake.is_due.into(),
            generator: generator_due.into(),
        };
        let can_skip = thresholds != LossThresholds::default();
        let logits = (on_real.logits, on_fake.logits);
        let output = self.output(logits, discriminator_loss, on_generator.value);
        Ok(StepOutput { updates: can_skip.then_some(updates), ..output })
    }

    /// Shows images to the discriminator and updates it on them alone, if the loss is above the
    /// threshold.
    fn update_on(
        &mut self,
        shown: Batch,
        threshold: Option<f32>,
        loss: impl Fn(&Tensor) -> Result<Loss>,
    ) -> Result<OnePart> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (images, _) = self.augmentation().apply(shown.images, &mut self.rng)?;
        let (logits, tape) = self.logits(&images, shown.labels)?;
        let Loss { value, grad } = loss(&logits)?;
        self.check_loss("discriminator", &value)?;
        let is_due = is_due(&value, threshold)?;
        if is_due {
            let (_, gradients) = tape.backward(&grad, PARAMETERS)?;
            self.update_discriminator(&gradients)?;
        }
        Ok(OnePart { loss: value, logits, is_due })
    }
}

/// The discriminator's pass over real images, or over fakes.
struct OnePart {
    loss: Tensor,
    logits: Tensor,
    /// Whether the update was made.
    is_due: bool,
}

/// Whether a loss is above its threshold. Only with a threshold is it copied from the device.
fn is_due(loss: &Tensor, threshold: Option<f32>) -> Result<bool> {
    match threshold {
        Some(threshold) => Ok(scalar(loss)? as f32 > threshold),
        None => Ok(true),
    }
}
