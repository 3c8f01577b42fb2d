//! The discriminator is updated, then the generator against the updated discriminator.

use crate::error::Result;
use crate::gan::{Batch, Gan};
use crate::network::{PARAMETERS, TrainableNetwork};
use crate::stats::StepOutput;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Alternating`].
    pub(crate) fn alternating_step(&mut self, real: Batch) -> Result<StepOutput> {
        let loss = self.hyperparameters.loss;

        // The discriminator: real against fake, R1 and R2.
        let (fake, _) = self.generate(real)?;
        let pass = self.discriminate(real, &fake)?;
        self.check_logits("discriminator", &pass.logits)?;
        let pairs = loss.on_pairs(&pass.logits.real, &pass.logits.fake)?;
        let grad_fake = loss.on_fake().grad(&pairs)?;
        let grad_logits = self.grad_logits(&pass.logits, grad_fake)?;
        let (_, gradients) = pass.backward(&grad_logits, PARAMETERS)?;

        // The generator: fresh fakes, through the updated discriminator.
        let (fake, generator_tape) = self.update_discriminator_and_generate(&gradients, real)?;
        let generator_pass = self.discriminate_fakes(&fake, real.labels)?;
        self.check_logits("generator", [&generator_pass.logits])?;
        let pairs = match loss.is_relative() {
            true => loss.on_pairs(
                &self.discriminate_fakes(real.images, real.labels)?.logits,
                &generator_pass.logits,
            )?,
            false => generator_pass.logits.clone(),
        };
        self.check_logits("generator", [&pairs])?;
        let grad_images = generator_pass.backward(&loss.generator().grad(&pairs)?)?;
        let generator_gradients = self.generator_gradients(&generator_tape, &grad_images)?;
        self.update_generator(&generator_gradients)?;
        Ok(self.output(pass.logits, pairs))
    }
}
