//! Losses on logits, with their gradients in closed form.
//!
//! A gradient is where a backward pass begins ([`crate::Backward::backward`]); in candle's autograd,
//! `(logits * grad).sum_all()?.backward()` has the loss's gradients. Values and gradients are
//! computed and stay on the logits' device.

use crate::error::Result;
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// A loss and its gradient.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean over the batch: a scalar.
    pub value: Tensor,
    /// Gradient of the value by each logit, (B), f32.
    pub grad: Tensor,
}

/// The objective of the two networks, on logits that the discriminator raises for real images and
/// lowers for fakes, while the generator raises those of its fakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GanLoss {
    /// Cross-entropy; the generator's is that of fakes against label 1 (Goodfellow et al. 2014,
    /// "Generative adversarial networks", section 3).
    #[default]
    NonSaturating,
    /// `max(0, 1 - real) + max(0, 1 + fake)` and `-fake` (Lim and Ye 2017, "Geometric GAN").
    Hinge,
    /// `(real - label)^2 / 2 + fake^2 / 2` and `(fake - 1)^2 / 2` (Mao et al. 2017, "Least squares
    /// generative adversarial networks").
    LeastSquares,
    /// `fake - real` and `-fake` (Arjovsky et al. 2017, "Wasserstein GAN"). The discriminator must
    /// be regularised, by [`r1_penalty`] or by spectral norms.
    Wasserstein,
}

impl GanLoss {
    /// The discriminator's loss on real images. `label` is their target, 1 or a little less; hinge
    /// and Wasserstein have no targets.
    ///
    /// # Shapes
    /// `real`: (B), B at least 1; gradient: (B).
    /// # Errors
    /// Failures of the device.
    pub fn on_real(self, real: &Tensor, label: f64) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(real, label),
            Self::Hinge => loss(
                &(wide(real)?.affine(-1.0, 1.0)?.relu()?),
                &real.lt(1f32)?.to_dtype(DType::F32)?.affine(-1.0, 0.0)?,
            ),
            Self::LeastSquares => squared_error(real, label),
            Self::Wasserstein => loss(&wide(real)?.neg()?, &real.ones_like()?.neg()?),
        }
    }

    /// The discriminator's loss on fakes.
    ///
    /// # Shapes
    /// `fake`: (B), B at least 1; gradient: (B).
    /// # Errors
    /// Failures of the device.
    pub fn on_fake(self, fake: &Tensor) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(fake, 0.0),
            Self::Hinge => {
                loss(&(wide(fake)? + 1.0)?.relu()?, &fake.gt(-1f32)?.to_dtype(DType::F32)?)
            }
            Self::LeastSquares => squared_error(fake, 0.0),
            Self::Wasserstein => loss(&wide(fake)?, &fake.ones_like()?),
        }
    }

    /// The generator's loss on its fakes.
    ///
    /// # Shapes
    /// `fake`: (B), B at least 1; gradient: (B).
    /// # Errors
    /// Failures of the device.
    pub fn generator(self, fake: &Tensor) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(fake, 1.0),
            Self::LeastSquares => squared_error(fake, 1.0),
            Self::Hinge | Self::Wasserstein => loss(&wide(fake)?.neg()?, &fake.ones_like()?.neg()?),
        }
    }

    /// The mean score of images: the mean probability of being real, in [0, 1], for cross-entropy,
    /// and the mean logit for the other losses, whose logits stand for no probability.
    ///
    /// `logits` must not be empty.
    pub fn score(self, logits: &[f32]) -> f32 {
        let of = |l: &f32| if self == Self::NonSaturating { logistic(*l) } else { *l };
        logits.iter().map(of).sum::<f32>() / logits.len() as f32
    }

    /// A logit as a decision value: positive for real, negative for fake. Least squares decide
    /// halfway between their targets; the other losses decide at 0.
    pub fn decision(self, logit: f32, label: f64) -> f32 {
        match self {
            Self::LeastSquares => logit - label as f32 / 2.0,
            Self::NonSaturating | Self::Hinge | Self::Wasserstein => logit,
        }
    }

    /// The fraction of images, real and fake, that the discriminator classifies correctly.
    pub fn accuracy(self, real: &[f32], fake: &[f32], label: f64) -> f32 {
        let is_real = |logit: &&f32| self.decision(**logit, label) > 0.0;
        let right = real.iter().filter(is_real).count()
            + fake.iter().filter(|logit| !is_real(logit)).count();
        right as f32 / (real.len() + fake.len()).max(1) as f32
    }

    /// Whether real images have a target that can be smoothed.
    pub fn has_labels(self) -> bool {
        matches!(self, Self::NonSaturating | Self::LeastSquares)
    }
}

/// Mean cross-entropy of logits against one label for all: `mean(softplus(l) - label * l)`.
/// Finite for all finite logits.
///
/// # Shapes
/// `logits`: (B), at least one; gradient: (B).
/// # Range
/// Raw logits, not probabilities; label in [0, 1]; value at least 0.
/// # Errors
/// Failures of the device.
pub fn cross_entropy(logits: &Tensor, label: f64) -> Result<Loss> {
    // softplus(l) = ln(1 + exp(l)) = max(l, 0) + ln(1 + exp(-|l|))
    let l = wide(logits)?;
    let softplus = (l.relu()? + (l.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    let value = (softplus - (l * label)?)?;
    // logistic(l) - label; against label 1 as -logistic(-l), which has no difference of near numbers.
    let grad = if label == 1.0 {
        (logits.exp()? + 1.0)?.recip()?.neg()?
    } else {
        ((logits.neg()?.exp()? + 1.0)?.recip()? - label)?
    };
    loss(&value, &grad)
}

/// `mean((l - label)^2 / 2)`.
fn squared_error(logits: &Tensor, label: f64) -> Result<Loss> {
    let error = (wide(logits)? - label)?;
    loss(&(error.sqr()? / 2.0)?, &(logits - label)?)
}

/// The R1 penalty by finite differences: `gamma / 2` times the mean of
/// `((perturbed - clean) / std)^2`, where `perturbed` are the logits of the same images with normal
/// noise of standard deviation `std` added.
///
/// As `std` tends to 0, its expectation over the noise tends to `gamma / 2` times the mean squared
/// norm of the gradient at the images, which is R1 where these are real. It needs no second
/// derivatives. The gradient is that by `perturbed`; that by `clean` is its negative.
///
/// # Shapes
/// `clean`, `perturbed`: (B); gradient: (B).
/// # Errors
/// Tensors of two shapes; failures of the device.
/// # Reference
/// Mescheder et al. 2018, "Which training methods for GANs do actually converge?" (R1).
pub fn r1_penalty(clean: &Tensor, perturbed: &Tensor, gamma: f64, std: f32) -> Result<Loss> {
    let scale = f64::from(gamma as f32 / std.powi(2));
    let change = (perturbed - clean)?;
    loss(&(wide(&change)?.sqr()? * (scale / 2.0))?, &(change * scale)?)
}

/// The mean of values, and its gradient, given the gradient of each value.
fn loss(values: &Tensor, grads: &Tensor) -> Result<Loss> {
    Ok(Loss { value: values.mean_all()?, grad: mean_grad(grads)? })
}

/// The gradients of a mean over (B) values, given those of the values.
pub(crate) fn mean_grad(grads: &Tensor) -> Result<Tensor> {
    // Divided by a tensor: candle divides by a number as a product with its rounded inverse.
    let count = Tensor::full(grads.dim(0)? as f32, (), grads.device())?;
    Ok(grads.broadcast_div(&count)?)
}

/// Values in f64 where the device has it (all but Metal), for means without loss.
fn wide(values: &Tensor) -> Result<Tensor> {
    let dtype = if values.device().is_metal() { DType::F32 } else { DType::F64 };
    Ok(values.to_dtype(dtype)?)
}

fn logistic(l: f32) -> f32 {
    1.0 / (1.0 + (-l).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const ALL: [GanLoss; 4] =
        [GanLoss::NonSaturating, GanLoss::Hinge, GanLoss::LeastSquares, GanLoss::Wasserstein];

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).expect("a vector")
    }

    fn value(loss: &Loss) -> f64 {
        loss.value.to_scalar().expect("a scalar")
    }

    fn grad(loss: &Loss) -> Vec<f32> {
        loss.grad.to_vec1().expect("a vector")
    }

    fn entropy(logits: &[f32], label: f64) -> Loss {
        cross_entropy(&tensor(logits), label).expect("a loss")
    }

    #[test]
    fn accuracy_counts_both_kinds() {
        let (real, fake) = ([0.5, -1.0, 2.0], [-3.0, 0.0, 1.0, -0.1, -2.0]);
        assert_eq!(GanLoss::NonSaturating.accuracy(&real, &fake, 1.0), 6.0 / 8.0);
        // Halfway between 0 and 0.9.
        let (real, fake) = ([0.46, 0.6], [0.44, -2.0]);
        assert_eq!(GanLoss::LeastSquares.accuracy(&real, &fake, 0.9), 1.0);
        assert_eq!(GanLoss::Hinge.accuracy(&real, &fake, 1.0), 3.0 / 4.0);
    }

    #[test]
    fn cross_entropy_at_known_points() {
        let ln2 = std::f64::consts::LN_2;
        assert!((value(&entropy(&[0.0], 0.0)) - ln2).abs() < 1e-12);
        assert!((value(&entropy(&[0.0], 0.9)) - ln2).abs() < 1e-12);
        // softplus(2) - 0.9 * 2 = 2.126928 - 1.8
        assert!((value(&entropy(&[2.0], 0.9)) - 0.326_928).abs() < 1e-6);
        // softplus(-1) = 0.313262, softplus(3) = 3.048587
        assert!((value(&entropy(&[-1.0, 3.0], 0.0)) - (0.313_262 + 3.048_587) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn extremes_stay_finite() {
        for (logit, label, want) in [(1e4, 1.0, 0.0), (-1e4, 1.0, 1e4), (1e4, 0.0, 1e4)] {
            assert_eq!(value(&entropy(&[logit], label)), want);
        }
        assert_eq!(value(&entropy(&[-1e4], 0.0)), 0.0);
        assert_eq!(grad(&entropy(&[1e4, -1e4], 1.0)), [0.0, -0.5]);
        assert_eq!(grad(&entropy(&[1e4, -1e4], 0.0)), [0.5, 0.0]);
    }

    /// Central differences of the value, for every loss and every part of it.
    #[test]
    fn gradients_are_those_of_the_value() {
        type Part = fn(GanLoss, &Tensor) -> Result<Loss>;
        let parts: [Part; 3] =
            [|l, x| l.on_real(x, 0.9), |l, x| l.on_fake(x), |l, x| l.generator(x)];
        for (loss, part) in ALL.into_iter().flat_map(|l| parts.map(|part| (l, part))) {
            for at in [-3.0f32, -0.1, 0.5, 4.0] {
                let of = |at: f32| part(loss, &tensor(&[at, 7.0])).expect("a loss");
                let step = 1e-2;
                let slope = (value(&of(at + step)) - value(&of(at - step))) / f64::from(2.0 * step);
                let got = grad(&of(at))[0];
                assert!((f64::from(got) - slope).abs() < 1e-4, "{loss:?} {at}: {got}, not {slope}");
            }
        }
    }

    /// Values by hand: (discriminator at real 0.5 and fake -0.25, generator at fake -0.25).
    #[test]
    fn every_loss_at_a_known_point() {
        let want = [
            // softplus(-0.5) + softplus(-0.25), softplus(0.25)
            (0.474_077 + 0.575_939, 0.825_939),
            (0.5 + 0.75, 0.25),
            (0.125 + 0.031_25, 0.781_25),
            (-0.25 - 0.5, 0.25),
        ];
        let (real, fake) = (tensor(&[0.5]), tensor(&[-0.25]));
        for (loss, (of_d, of_g)) in ALL.into_iter().zip(want) {
            let real = loss.on_real(&real, 1.0).expect("a loss");
            let got = value(&real) + value(&loss.on_fake(&fake).expect("a loss"));
            assert!((got - of_d).abs() < 1e-5, "{loss:?}: {got}, not {of_d}");
            let got = value(&loss.generator(&fake).expect("a loss"));
            assert!((got - of_g).abs() < 1e-5, "{loss:?}: {got}, not {of_g}");
        }
    }

    /// Where a loss is flat, its gradient is 0.
    #[test]
    fn flat_places_have_no_gradient() {
        for (loss, at) in [(GanLoss::Hinge, -3.0f32), (GanLoss::LeastSquares, 0.0)] {
            assert_eq!(grad(&loss.on_fake(&tensor(&[at])).expect("a loss")), [0.0]);
        }
        assert_eq!(grad(&GanLoss::Hinge.on_real(&tensor(&[1.5]), 1.0).expect("a loss")), [0.0]);
    }
}
