//! The discriminator is updated, then the generator against the updated discriminator.

use crate::error::Result;
use crate::gan::Gan;
use crate::micro_batch::MicroBatch;
use crate::network::{PARAMETERS, TrainableNetwork};
use crate::stats::StepOutput;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Alternating`].
    pub(crate) fn alternating_step(&mut self, parts: &mut [MicroBatch]) -> Result<StepOutput> {
        let loss = self.hyperparameters.loss;

        // The discriminator: real against fake, R1 and R2.
        let (logits, [gradients]) = self.phase(
            parts,
            |gan, real, rng| {
                let (fake, _) = gan.generate(real, rng)?;
                let pass = gan.discriminate(real, &fake, rng)?;
                Ok((pass.logits.to_vec(), pass))
            },
            |gan, pass| {
                let pairs = loss.on_pairs(&pass.logits.real, &pass.logits.fake)?;
                let grad_fake = loss.on_fake().grad(&pairs)?;
                let grad_logits = gan.grad_logits(&pass.logits, grad_fake)?;
                Ok([pass.backward(&grad_logits, PARAMETERS)?.1])
            },
        )?;
        self.check_logits("discriminator", &logits)?;
        let logits = self.logits_of_parts(logits);

        // The generator: fresh fakes, through the updated discriminator. The update is made beside
        // the first of them.
        let mut update = Some(gradients);
        let (mut generator_logits, [gradients]) = self.phase(
            parts,
            |gan, real, rng| {
                let (fake, generator_tape) = match update.take() {
                    Some(gradients) => {
                        gan.update_discriminator_and_generate(&gradients, real, rng)?
                    }
                    None => gan.generate(real, rng)?,
                };
                let pass = gan.discriminate_fakes(&fake, real.labels, rng)?;
                let pairs = match loss.is_relative() {
                    true => {
                        let of_real = gan.discriminate_fakes(real.images, real.labels, rng)?;
                        loss.on_pairs(&of_real.logits, &pass.logits)?
                    }
                    false => pass.logits.clone(),
                };
                let logits = vec![pairs.clone(), pass.logits.clone()];
                Ok((logits, (pass, generator_tape, pairs)))
            },
            |gan, (pass, generator_tape, pairs)| {
                let grad_images = pass.backward(&loss.generator().grad(&pairs)?)?;
                Ok([gan.generator_gradients(&generator_tape, &grad_images)?])
            },
        )?;
        self.check_logits("generator", &generator_logits)?;
        self.update_generator(&gradients)?;
        let pairs = generator_logits.swap_remove(0);
        Ok(self.output(logits, pairs))
    }
}
