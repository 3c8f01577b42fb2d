//! The discriminator is updated, then the generator against the updated discriminator.

use crate::error::Result;
use crate::gan::{Batch, Gan};
use crate::network::{PARAMETERS, TrainableNetwork};
use crate::stats::StepOutput;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Alternating`].
    pub(crate) fn alternating_step(&mut self, real: Batch) -> Result<StepOutput> {
        let loss = self.hyperparameters.loss;

        // The discriminator: real against fake, and R1.
        let (fake, _) = self.generate(real)?;
        let pass = self.discriminate(real, &fake)?;
        self.check_logits("discriminator", &pass.logits)?;
        let grad_fake = loss.on_fake().grad(&pass.logits.fake)?;
        let grad_logits = self.grad_logits(&pass.logits, grad_fake)?;
        let (_, gradients) = pass.backward(&grad_logits, PARAMETERS)?;

        // The generator: fresh fakes, through the updated discriminator.
        let (fake, generator_tape) = self.update_discriminator_and_generate(&gradients, real)?;
        let generator_pass = self.discriminate_fakes(&fake, real.labels)?;
        self.check_logits("generator", [&generator_pass.logits])?;
        let grad_logits = loss.generator().grad(&generator_pass.logits)?;
        let grad_images = generator_pass.backward(&grad_logits)?;
        let generator_gradients = self.generator_gradients(&generator_tape, &grad_images)?;
        self.update_generator(&generator_gradients)?;
        Ok(self.output(pass.logits, generator_pass.logits))
    }
}
