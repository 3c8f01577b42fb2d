//! The discriminator is updated on real images, then on fakes; then the generator is updated. Each
//! update can be skipped while its loss is low.

use crate::error::Result;
use crate::gan::Gan;
use crate::hyperparameters::{Hyperparameters, LossThresholds, SeparateUpdates};
use crate::losses::LogitLoss;
use crate::micro_batch::{Batch, MicroBatch};
use crate::network::{Backward, PARAMETERS, TrainableNetwork};
use crate::stats::{Logits, StepOutput, UpdateCounts};
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Separate`].
    pub(crate) fn separate_step(
        &mut self,
        parts: &mut [MicroBatch],
        SeparateUpdates { half_batches, skip_if_loss_below: thresholds }: SeparateUpdates,
    ) -> Result<StepOutput> {
        let Hyperparameters { loss, real_label, .. } = self.hyperparameters;

        // The discriminator on real images.
        let on_real =
            self.update_on(parts, (loss.on_real(real_label), thresholds.real), |_, real, _| {
                Ok(shown(real, half_batches)?.0)
            })?;
        // The discriminator on fakes.
        let on_fake =
            self.update_on(parts, (loss.on_fake(), thresholds.fake), |gan, real, rng| {
                let (images, labels) = shown(real, half_batches)?;
                Ok(gan.generate(Batch { images: &images, labels }, rng)?.0)
            })?;

        // The generator, on fresh fakes.
        let (mut logits, gradients) = self.phase_if(
            parts,
            thresholds.generator.map(|threshold| (loss.generator(), threshold)),
            |gan, real, rng| {
                let (fake, generator_tape) = gan.generate(real, rng)?;
                let pass = gan.discriminate_fakes(&fake, real.labels, rng)?;
                Ok((vec![pass.logits.clone()], (pass, generator_tape)))
            },
            |gan, (pass, generator_tape)| {
                let grad_images = pass.backward(&loss.generator().grad(&pass.logits)?)?;
                Ok([gan.generator_gradients(&generator_tape, &grad_images)?])
            },
        )?;
        self.check_logits("generator", &logits)?;
        if let Some([gradients]) = &gradients {
            self.update_generator(gradients)?;
        }

        let updates = UpdateCounts {
            real: on_real.is_due.into(),
            fake: on_fake.is_due.into(),
            generator: gradients.is_some().into(),
        };
        let can_skip = thresholds != LossThresholds::default();
        let generator_logits = logits.swap_remove(0);
        let (real, fake) = (on_real.logits, on_fake.logits);
        let logits = Logits { real, fake, perturbed_real: None, perturbed_fake: None };
        let output = self.output(logits, generator_logits);
        Ok(StepOutput { updates: can_skip.then_some(updates), ..output })
    }

    /// Shows images to the discriminator and updates it on them alone, if the loss is above the
    /// threshold.
    fn update_on(
        &mut self,
        parts: &mut [MicroBatch],
        (loss, threshold): (LogitLoss, Option<f32>),
        images: impl Fn(&Self, Batch, &mut ChaCha8Rng) -> Result<Tensor>,
    ) -> Result<OnePart> {
        let (mut logits, gradients) = self.phase_if(
            parts,
            threshold.map(|threshold| (loss, threshold)),
            |gan, real, rng| {
                let images = images(gan, real, rng)?;
                let labels = &real.labels[..real.labels.len().min(images.dim(0)?)];
                let _span = tracing::trace_span!("discriminator").entered();
                let (images, _) = gan.augmentation().apply(&images, rng)?;
                let (logits, tape) = gan.logits(&images, labels, rng)?;
                Ok((vec![logits.clone()], (logits, tape)))
            },
            |_, (logits, tape)| {
                let _span = tracing::trace_span!("discriminator").entered();
                Ok([tape.backward(&loss.grad(&logits)?, PARAMETERS)?.1])
            },
        )?;
        self.check_logits("discriminator", &logits)?;
        if let Some([gradients]) = &gradients {
            self.update_discriminator(gradients)?;
        }
        Ok(OnePart { logits: logits.swap_remove(0), is_due: gradients.is_some() })
    }
}

/// The discriminator's pass over real images, or over fakes.
struct OnePart {
    logits: Tensor,
    /// Whether the update was made.
    is_due: bool,
}

/// The images of a micro-batch that the discriminator is updated on, all or the first half, and
/// their labels.
fn shown(real: Batch<'_>, half: bool) -> Result<(Tensor, &[u32])> {
    let shown = if half { real.len()? / 2 } else { real.len()? };
    Ok((real.images.narrow(0, 0, shown)?, &real.labels[..shown.min(real.labels.len())]))
}
