//! A recorded pass of real, fake and perturbed images through the discriminator.

use crate::augmentation::{Augmentation, Augmented, Augmenter};
use crate::error::{Error, Result, check_shape};
use crate::gan::Gan;
use crate::losses::R1Penalty;
use crate::mean::add;
use crate::micro_batch::Batch;
use crate::network::{Backward, INPUT, TrainableNetwork};
use crate::stats::Logits;
use candle_core::Tensor;
use gan_models::{GradMask, Gradients};
use rand_chacha::ChaCha8Rng;

/// Real and fake images, and for R1 and R2 the same with noise, which the discriminator saw.
pub(crate) struct DiscriminatorPass<T> {
    pub(crate) logits: Logits,
    /// One tape for all parts, or one for each.
    tapes: Vec<T>,
    /// What augmentation did to the fakes.
    augmented_fake: Augmented,
}

/// Position of the fakes among the parts of a pass: real, fake, perturbed real, perturbed fake.
pub(crate) const FAKE: usize = 1;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// The augmentation of this step: instance noise fades over the schedule.
    pub(crate) fn augmentation(&self) -> Augmenter {
        let left = 1.0 - self.hyperparameters.done(self.step).min(1.0);
        let augmentation = self.hyperparameters.regularization.augmentation;
        Augmenter {
            augmentation: augmentation.scale_noise(left as f32),
            probability: augmentation.adaptive.map(|_| self.augmentation_probability),
        }
    }

    /// The R1 and R2 penalties of this step.
    pub(crate) fn penalties(&self) -> (R1Penalty, R1Penalty) {
        let done = self.hyperparameters.done(self.step);
        self.hyperparameters.regularization.penalties(done)
    }

    /// Runs augmented real and fake images through the discriminator, and with R1 and R2 those with
    /// noise, augmented in the same way: as one batch, unless the discriminator uses batch
    /// statistics.
    pub(crate) fn discriminate(
        &self,
        real: Batch,
        fake: &Tensor,
        rng: &mut ChaCha8Rng,
    ) -> Result<DiscriminatorPass<D::Tape>> {
        let _span = tracing::trace_span!("discriminator").entered();
        let augmentation = self.augmentation();
        let (real_images, augmented_real) = augmentation.apply(real.images, rng)?;
        let (fake_images, augmented_fake) = augmentation.apply(fake, rng)?;
        let mut parts = vec![real_images, fake_images];
        let (r1, r2) = self.penalties();
        for (penalty, images, augmented) in
            [(r1, real.images, &augmented_real), (r2, fake, &augmented_fake)]
        {
            if penalty.gamma > 0.0 {
                let noise = Augmentation::only_noise(penalty.std);
                let (perturbed, _) = noise.apply(images, rng)?;
                parts.push(augmented.forward(&perturbed)?);
            }
        }
        let mut passes = Vec::new();
        if self.discriminator.network.uses_batch_statistics() {
            for part in &parts {
                passes.push(self.logits(part, real.labels, rng)?);
            }
        } else {
            let labels = real.labels.repeat(parts.len());
            passes.push(self.logits(&Tensor::cat(&parts, 0)?, &labels, rng)?);
        }
        let (logits, tapes): (Vec<_>, Vec<_>) = passes.into_iter().unzip();
        let logits = self.logits_of_parts(Tensor::cat(&logits, 0)?.chunk(parts.len(), 0)?);
        Ok(DiscriminatorPass { logits, tapes, augmented_fake })
    }

    /// The logits of the parts of a pass: real, fake and where they are, perturbed real and perturbed
    /// fake.
    pub(crate) fn logits_of_parts(&self, parts: Vec<Tensor>) -> Logits {
        let (r1, _) = self.penalties();
        let mut parts = parts.into_iter().peekable();
        let (Some(real), Some(fake)) = (parts.next(), parts.next()) else {
            unreachable!("real and fake are always parts")
        };
        let perturbed_real = parts.next_if(|_| r1.gamma > 0.0);
        Logits { real, fake, perturbed_real, perturbed_fake: parts.next() }
    }

    /// The gradients of the discriminator's loss by the logits of every part (real, fake, perturbed
    /// real, perturbed fake), given that of the loss on fakes without R2.
    pub(crate) fn grad_logits(&self, logits: &Logits, grad_fake: Tensor) -> Result<Vec<Tensor>> {
        let loss = self.hyperparameters.loss;
        let (r1, r2) = self.penalties();
        let mut grad_real = match loss.is_relative() {
            true => grad_fake.neg()?,
            false => loss.on_real(self.hyperparameters.real_label).grad(&logits.real)?,
        };
        let (mut grad_fake, mut of_perturbed) = (grad_fake, Vec::new());
        if let Some(perturbed) = &logits.perturbed_real {
            let grad = r1.grad(&logits.real, perturbed)?;
            grad_real = (grad_real - &grad)?;
            of_perturbed.push(grad);
        }
        if let Some(perturbed) = &logits.perturbed_fake {
            let grad = r2.grad(&logits.fake, perturbed)?;
            grad_fake = (grad_fake - &grad)?;
            of_perturbed.push(grad);
        }
        Ok([grad_real, grad_fake].into_iter().chain(of_perturbed).collect())
    }

    /// Runs augmented fakes through the discriminator, for the generator's update.
    pub(crate) fn discriminate_fakes(
        &self,
        fake: &Tensor,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<FakePass<D::Tape>> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (fake, augmented) = self.augmentation().apply(fake, rng)?;
        let (logits, tape) = self.logits(&fake, labels, rng)?;
        Ok(FakePass { logits, tape, augmented })
    }

    /// Runs images through the discriminator, recording the pass.
    pub(crate) fn logits(
        &self,
        images: &Tensor,
        labels: &[u32],
        rng: &mut ChaCha8Rng,
    ) -> Result<(Tensor, D::Tape)> {
        let network = &self.discriminator.network;
        let (logits, tape) = network.forward_train(images, labels, rng)?;
        check_shape(|| "the discriminator's logits".into(), logits.dims(), &[images.dim(0)?])?;
        Ok((logits, tape))
    }
}

impl<T: Backward> DiscriminatorPass<T> {
    /// Returns the gradients of the fakes before augmentation and of the parameters, those that
    /// `mask` asks for, given those of the logits of every part, as
    /// [`Gan::grad_logits`] has them.
    pub(crate) fn backward(
        &self,
        grad_logits: &[Tensor],
        mask: GradMask,
    ) -> Result<(Option<Tensor>, Gradients)> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (grad_fake, gradients) = match self.tapes.as_slice() {
            [tape] => {
                let (grad_images, gradients) =
                    tape.backward(&Tensor::cat(grad_logits, 0)?, mask)?;
                let batch = grad_logits[FAKE].dim(0)?;
                let of_fake = |all: Tensor| all.narrow(0, FAKE * batch, batch);
                (grad_images.map(of_fake).transpose()?, gradients)
            }
            tapes => {
                let (mut grad_fake, mut sum) = (None, Gradients::new());
                for (part, (tape, grad)) in tapes.iter().zip(grad_logits).enumerate() {
                    let mask = GradMask { input: mask.input && part == FAKE, ..mask };
                    let (grad_images, gradients) = tape.backward(grad, mask)?;
                    grad_fake = grad_fake.or(grad_images);
                    add(&mut sum, gradients)?;
                }
                (grad_fake, sum)
            }
        };
        Ok((grad_fake, gradients))
    }

    /// The gradient of the fakes before augmentation, given that of those after it.
    pub(crate) fn before_augmentation(&self, grad_fake: &Tensor) -> Result<Tensor> {
        self.augmented_fake.backward(grad_fake)
    }
}

/// Fakes, which the discriminator saw for the generator's update.
pub(crate) struct FakePass<T> {
    /// (B)
    pub(crate) logits: Tensor,
    tape: T,
    augmented: Augmented,
}

impl<T: Backward> FakePass<T> {
    /// The gradient of the fakes before augmentation, given that of their logits.
    pub(crate) fn backward(&self, grad_logits: &Tensor) -> Result<Tensor> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (grad_fake, _) = self.tape.backward(grad_logits, INPUT)?;
        self.augmented.backward(&required(grad_fake)?)
    }
}

/// A gradient of images that must be there.
pub(crate) fn required(grad_images: Option<Tensor>) -> Result<Tensor> {
    grad_images.ok_or_else(|| {
        let text = "no gradient reached the generator's images: the discriminator's logits must \
                    depend on its input";
        Error::NoGradient(text.to_string())
    })
}
