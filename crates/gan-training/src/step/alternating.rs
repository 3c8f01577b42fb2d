//! The discriminator is updated, then the generator against the updated discriminator.

use crate::discriminator_pass::PERTURBATION_STD;
use crate::error::Result;
use crate::gan::{Batch, Gan};
use crate::losses::r1_penalty;
use crate::network::{PARAMETERS, TrainableNetwork};
use crate::stats::StepOutput;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Alternating`].
    pub(crate) fn alternating_step(&mut self, real: Batch) -> Result<StepOutput> {
        let (loss, label) = (self.hyperparameters.loss, self.hyperparameters.real_label);
        let gamma = self.hyperparameters.regularization.r1_gamma;

        // The discriminator: real against fake, and R1.
        let (fake, _) = self.generate(real)?;
        let pass = self.discriminate(real, &fake)?;
        let on_real = loss.on_real(&pass.real, label)?;
        let on_fake = loss.on_fake(&pass.fake)?;
        let mut discriminator_loss = (on_real.value + on_fake.value)?;
        let mut grad_logits = vec![on_real.grad, on_fake.grad];
        if let Some(perturbed) = &pass.perturbed {
            let r1 = r1_penalty(&pass.real, perturbed, gamma, PERTURBATION_STD)?;
            discriminator_loss = (discriminator_loss + r1.value)?;
            grad_logits[0] = (&grad_logits[0] - &r1.grad)?;
            grad_logits.push(r1.grad);
        }
        self.check_loss("discriminator", &discriminator_loss)?;
        let (_, gradients) = pass.backward(&grad_logits, PARAMETERS)?;

        // The generator: fresh fakes, through the updated discriminator.
        let (fake, generator_tape) = self.update_discriminator_and_generate(&gradients, real)?;
        let generator_pass = self.discriminate_fakes(&fake, real.labels)?;
        let on_generator = loss.generator(&generator_pass.logits)?;
        self.check_loss("generator", &on_generator.value)?;
        let grad_images = generator_pass.backward(&on_generator.grad)?;
        let generator_gradients = self.generator_gradients(&generator_tape, &grad_images)?;
        self.update_generator(&generator_gradients)?;
        Ok(self.output((pass.real, pass.fake), discriminator_loss, on_generator.value))
    }
}
