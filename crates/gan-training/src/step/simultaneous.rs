//! Both networks are updated from one pass through the discriminator (Shen et al. 2021, "Training
//! generative adversarial networks in one stage").

use crate::discriminator_pass::{DiscriminatorPass, FAKE, required};
use crate::error::Result;
use crate::gan::Gan;
use crate::losses::{GanLoss, mean_grad};
use crate::micro_batch::{Batch, MicroBatch};
use crate::network::{BOTH, TrainableNetwork};
use crate::stats::StepOutput;
use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// One step of [`crate::UpdateScheme::Simultaneous`].
    pub(crate) fn simultaneous_step(&mut self, parts: &mut [MicroBatch]) -> Result<StepOutput> {
        let loss = self.hyperparameters.loss;
        let forward = |gan: &mut Self, real: Batch, rng: &mut ChaCha8Rng| {
            let (fake, generator_tape) = gan.generate(real, rng)?;
            let pass = gan.discriminate(real, &fake, rng)?;
            Ok((pass.logits.to_vec(), (pass, generator_tape)))
        };
        // One backward pass gives the discriminator's gradients, and at the fakes those of its loss,
        // which a factor for each image turns into those of the generator's loss.
        let backward = |gan: &Self, (pass, generator_tape): (DiscriminatorPass<_>, G::Tape)| {
            let pairs = loss.on_pairs(&pass.logits.real, &pass.logits.fake)?;
            let mut one_stage = OneStage::new(loss, &pairs)?;
            let mut grad_logits = gan.grad_logits(&pass.logits, one_stage.grad_fake.clone())?;
            if pass.logits.perturbed_fake.is_some() {
                one_stage = one_stage.with_total(&grad_logits[FAKE])?;
                grad_logits[FAKE] = one_stage.grad_fake.clone();
            }
            let (grad_fake, of_discriminator) = pass.backward(&grad_logits, BOTH)?;
            let grad_fake = one_stage.of_generator(&required(grad_fake)?)?;
            let grad_images = pass.before_augmentation(&grad_fake)?;
            Ok([of_discriminator, gan.generator_gradients(&generator_tape, &grad_images)?])
        };
        let (logits, [of_discriminator, of_generator]) = self.phase(parts, forward, backward)?;
        self.check_logits("discriminator", &logits)?;
        self.update_discriminator(&of_discriminator)?;
        self.update_generator(&of_generator)?;
        let logits = self.logits_of_parts(logits);
        let pairs = loss.on_pairs(&logits.real, &logits.fake)?;
        Ok(self.output(logits, pairs))
    }
}

/// The fake logits' gradient of the discriminator's loss, and the factors that turn it into that of
/// the generator's loss.
struct OneStage {
    /// (B)
    grad_fake: Tensor,
    /// (B)
    ratio: Tensor,
}

/// Logits below this count as this, so that cross-entropy's gradient and the ratio stay normal
/// numbers of f32 whose product is right.
const MIN_LOGIT: f64 = -60.0;
/// Gradients by fake logits are no nearer to 0 than this: where a hinge or a square is flat for the
/// discriminator, it is not for the generator, and the ratio would be infinite.
const MIN_GRAD: f32 = 1e-6;

impl OneStage {
    /// # Shapes
    /// `fake`: (B) logits, or their differences from the real ones.
    fn new(loss: GanLoss, fake: &Tensor) -> Result<Self> {
        let one = fake.ones_like()?;
        let (grad, ratio) = match loss {
            // s and (s - 1) / s = -exp(-l), with s the logistic function of l
            GanLoss::NonSaturating | GanLoss::Relativistic => {
                let e = fake.maximum(MIN_LOGIT)?.neg()?.exp()?;
                ((&e + 1.0)?.recip()?, e.neg()?)
            }
            GanLoss::Wasserstein => (one.clone(), one.neg()?),
            // The slope of max(0, 1 + l), and -1 over it.
            GanLoss::Hinge => {
                let flat = (&one * f64::from(MIN_GRAD))?;
                let slope = fake.gt(-1f32)?.where_cond(&one, &flat)?;
                let ratio = (one.neg()? / &slope)?;
                (slope, ratio)
            }
            // l, and (l - 1) / l
            GanLoss::LeastSquares => {
                let slope = away_from_0(fake)?;
                let ratio = ((fake - 1.0)? / &slope)?;
                (slope, ratio)
            }
        };
        Ok(Self { grad_fake: mean_grad(&grad)?, ratio })
    }

    /// The same for a discriminator's loss with a penalty on fakes, whose gradient by their logits is
    /// `total`, (B): where it is near 0, no nearer than [`MIN_GRAD`].
    fn with_total(&self, total: &Tensor) -> Result<Self> {
        let of_generator = (&self.grad_fake * &self.ratio)?;
        let grad_fake = away_from_0(total)?;
        let ratio = (of_generator / &grad_fake)?;
        Ok(Self { grad_fake, ratio })
    }

    /// The generator's gradient at the fakes, (B, C, H, W), given the discriminator's.
    fn of_generator(&self, grad_fake: &Tensor) -> Result<Tensor> {
        Ok(grad_fake.broadcast_mul(&self.ratio.reshape((self.ratio.dim(0)?, 1, 1, 1))?)?)
    }
}

/// Gradients, none of them nearer to 0 than [`MIN_GRAD`].
fn away_from_0(grads: &Tensor) -> Result<Tensor> {
    let size = grads.abs()?.maximum(f64::from(MIN_GRAD))?;
    Ok(grads.ge(0f32)?.where_cond(&size, &size.neg()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// With a penalty on fakes: the generator's gradient stays, where the sum is 0 too.
    #[test]
    fn a_penalty_changes_the_discriminator_s_gradient_alone() -> Result<()> {
        let logits = Tensor::new(&[-0.5f32, 0.0, 2.0], &Device::Cpu)?;
        let one_stage = OneStage::new(GanLoss::Relativistic, &logits)?;
        let want = (&one_stage.grad_fake * &one_stage.ratio)?.to_vec1::<f32>()?;
        let total = [0.3f32, 0.0, -1e-9];
        let with_total = one_stage.with_total(&Tensor::new(&total, &Device::Cpu)?)?;
        let of_discriminator = with_total.grad_fake.to_vec1::<f32>()?;
        assert_eq!(of_discriminator, [0.3, MIN_GRAD, -MIN_GRAD]);
        let got = (with_total.grad_fake * with_total.ratio)?.to_vec1::<f32>()?;
        for (got, want) in got.into_iter().zip(want) {
            assert!((got - want).abs() < 1e-6 * want.abs(), "{got}, not {want}");
        }
        Ok(())
    }

    #[test]
    fn the_ratio_turns_one_gradient_into_the_other() -> Result<()> {
        let logits = [-1e4f32, -100.0, -70.0, -30.0, -3.0, 0.0, 0.5, 9.0];
        let logits = Tensor::new(&logits, &Device::Cpu)?;
        for loss in GanLoss::ALL {
            let one_stage = OneStage::new(loss, &logits)?;
            let got = (one_stage.grad_fake * one_stage.ratio)?.to_vec1::<f32>()?;
            let want = loss.generator().grad(&logits)?.to_vec1::<f32>()?;
            for (got, want) in got.into_iter().zip(want) {
                assert!((got - want).abs() < 1e-5 * want.abs(), "{loss:?}: {got}, not {want}");
            }
        }
        Ok(())
    }

    /// Where a loss is flat for the discriminator, next to nothing reaches it; elsewhere its
    /// gradient is the loss's own.
    #[test]
    fn the_discriminator_does_not_notice() -> Result<()> {
        let logits = Tensor::new(&[-3f32, -0.5, 0.0, 2.0], &Device::Cpu)?;
        for loss in GanLoss::ALL {
            let got = OneStage::new(loss, &logits)?.grad_fake.to_vec1::<f32>()?;
            let want = loss.on_fake().grad(&logits)?.to_vec1::<f32>()?;
            for (got, want) in got.into_iter().zip(want) {
                assert!((got - want).abs() < 1e-6, "{loss:?}: {got}, not {want}");
            }
        }
        Ok(())
    }
}
