//! Losses on logits, and their gradients in closed form.
//!
//! A training step needs a loss's gradient alone, where a backward pass begins
//! ([`crate::Backward::backward`]); it is computed on the logits' device. The value is for reports: it
//! is computed on the host, in f64, from the logits that a report has copied. In candle's autograd,
//! `(logits * grad).sum_all()?.backward()` has the loss's gradients.

use crate::error::Result;
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// The objective of the two networks, on logits that the discriminator raises for real images and
/// lowers for fakes, while the generator raises those of its fakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
    /// be regularised, by [`R1Penalty`] or by spectral norms.
    Wasserstein,
    /// `softplus(fake - real)` and `softplus(real - fake)`, each fake against one real image
    /// (Jolicoeur-Martineau 2019, "The relativistic discriminator"; Huang et al. 2024, "The GAN is
    /// dead; long live the GAN!", section 3). It needs [`R1Penalty`] on real images or fakes.
    Relativistic,
}

impl GanLoss {
    /// All losses, in the order above.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] = [
        Self::NonSaturating,
        Self::Hinge,
        Self::LeastSquares,
        Self::Wasserstein,
        Self::Relativistic,
    ];

    /// The discriminator's loss on real images. `label` is their target, 1 or a little less; only
    /// cross-entropy and least squares have targets. The relativistic loss is all in
    /// [`GanLoss::on_fake`].
    pub fn on_real(self, label: f64) -> LogitLoss {
        match self {
            Self::NonSaturating => LogitLoss::CrossEntropy { label },
            Self::Hinge => LogitLoss::Hinge { sign: 1.0 },
            Self::LeastSquares => LogitLoss::SquaredError { target: label },
            Self::Wasserstein => LogitLoss::Linear { slope: -1.0 },
            Self::Relativistic => LogitLoss::Linear { slope: 0.0 },
        }
    }

    /// The discriminator's loss on fakes; with the relativistic loss, on the differences of
    /// [`GanLoss::is_relative`].
    pub fn on_fake(self) -> LogitLoss {
        match self {
            Self::NonSaturating | Self::Relativistic => LogitLoss::CrossEntropy { label: 0.0 },
            Self::Hinge => LogitLoss::Hinge { sign: -1.0 },
            Self::LeastSquares => LogitLoss::SquaredError { target: 0.0 },
            Self::Wasserstein => LogitLoss::Linear { slope: 1.0 },
        }
    }

    /// The generator's loss on its fakes; with the relativistic loss, on the differences of
    /// [`GanLoss::is_relative`].
    pub fn generator(self) -> LogitLoss {
        match self {
            Self::NonSaturating | Self::Relativistic => LogitLoss::CrossEntropy { label: 1.0 },
            Self::LeastSquares => LogitLoss::SquaredError { target: 1.0 },
            Self::Hinge | Self::Wasserstein => LogitLoss::Linear { slope: -1.0 },
        }
    }

    /// Whether the losses take the logit of each fake less that of the real image at the same place
    /// of the batch, instead of the fake's logit alone. The gradient by the real logit is then minus
    /// that by the fake's.
    pub fn is_relative(self) -> bool {
        self == Self::Relativistic
    }

    /// What the losses on fakes take: their logits, or where [`GanLoss::is_relative`] the
    /// differences from the real ones.
    ///
    /// # Shapes
    /// `real`, `fake`: (B); result: (B).
    /// # Errors
    /// Tensors of two shapes; failures of the device.
    pub(crate) fn on_pairs(self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        if self.is_relative() { Ok((fake - real)?) } else { Ok(fake.clone()) }
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
            Self::NonSaturating | Self::Hinge | Self::Wasserstein | Self::Relativistic => logit,
        }
    }

    /// The mean sign of the decision values of real images, in [-1, 1]; where [`GanLoss::is_relative`],
    /// that of the logits' differences in pairs.
    pub(crate) fn mean_sign(self, real: &[f32], fake: &[f32], label: f64) -> f32 {
        let sign = |value: f32| f32::from(value > 0.0) - f32::from(value < 0.0);
        let signs: f32 = match self.is_relative() {
            true => real.iter().zip(fake).map(|(real, fake)| sign(real - fake)).sum(),
            false => real.iter().map(|logit| sign(self.decision(*logit, label))).sum(),
        };
        signs / real.len().max(1) as f32
    }

    /// The fraction of images, real and fake, that the discriminator classifies correctly; where
    /// [`GanLoss::is_relative`], the fraction of pairs whose real image has the higher logit.
    pub fn accuracy(self, real: &[f32], fake: &[f32], label: f64) -> f32 {
        if self.is_relative() {
            let pairs = real.iter().zip(fake);
            let right = pairs.filter(|(real, fake)| real > fake).count();
            return right as f32 / real.len().min(fake.len()).max(1) as f32;
        }
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

/// The mean over a batch of a function of one logit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LogitLoss {
    /// `softplus(l) - label * l`: cross-entropy of raw logits against one label for all, in [0, 1].
    CrossEntropy {
        /// The label.
        label: f64,
    },
    /// `max(0, 1 - sign * l)`.
    Hinge {
        /// 1 or -1.
        sign: f64,
    },
    /// `(l - target)^2 / 2`.
    SquaredError {
        /// The target.
        target: f64,
    },
    /// `slope * l`.
    Linear {
        /// 1, -1 or 0.
        slope: f64,
    },
}

impl LogitLoss {
    /// The loss of a batch, finite for finite logits. `logits` must not be empty.
    pub fn value(self, logits: &[f32]) -> f64 {
        let of = |&l: &f32| {
            let l = f64::from(l);
            match self {
                // softplus(l) = ln(1 + exp(l)) = max(l, 0) + ln(1 + exp(-|l|))
                Self::CrossEntropy { label } => l.max(0.0) + (-l.abs()).exp().ln_1p() - l * label,
                // Not `max`, which would hide NaN.
                Self::Hinge { sign } if sign * l > 1.0 => 0.0,
                Self::Hinge { sign } => 1.0 - sign * l,
                Self::SquaredError { target } => (l - target).powi(2) / 2.0,
                Self::Linear { slope } => slope * l,
            }
        };
        logits.iter().map(of).sum::<f64>() / logits.len() as f64
    }

    /// The gradient of the loss by each logit, on the logits' device.
    ///
    /// # Shapes
    /// `logits`: (B), B at least 1, f32; gradient: (B).
    /// # Errors
    /// Failures of the device.
    pub fn grad(self, logits: &Tensor) -> Result<Tensor> {
        mean_grad(&match self {
            // logistic(l) - label; against label 1 as -logistic(-l), which has no difference of
            // near numbers.
            Self::CrossEntropy { label: 1.0 } => (logits.exp()? + 1.0)?.recip()?.neg()?,
            Self::CrossEntropy { label } => ((logits.neg()?.exp()? + 1.0)?.recip()? - label)?,
            Self::Hinge { sign } => {
                let is_inside = if sign > 0.0 { logits.lt(1f32)? } else { logits.gt(-1f32)? };
                is_inside.to_dtype(DType::F32)?.affine(-sign, 0.0)?
            }
            Self::SquaredError { target } => (logits - target)?,
            Self::Linear { slope } => (logits.ones_like()? * slope)?,
        })
    }
}

/// The R1 penalty by finite differences: `gamma / 2` times the mean of
/// `((perturbed - clean) / std)^2`, where `perturbed` are the logits of the same images with normal
/// noise of standard deviation `std` added.
///
/// As `std` tends to 0, its expectation over the noise tends to `gamma / 2` times the mean squared
/// norm of the gradient at the images, which is R1 where these are real and R2 where they are fakes.
/// It needs no second derivatives.
///
/// # Reference
/// Mescheder et al. 2018, "Which training methods for GANs do actually converge?" (R1 and R2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct R1Penalty {
    /// The weight of the penalty.
    pub gamma: f64,
    /// Standard deviation of the noise; pixels are in [-1, 1].
    pub std: f32,
}

impl R1Penalty {
    /// The standard deviation that training uses.
    pub const STD: f32 = 0.02;

    /// The penalty of a batch. The slices have one length, which is not 0.
    pub fn value(self, clean: &[f32], perturbed: &[f32]) -> f64 {
        let square = |(clean, perturbed): (&f32, &f32)| f64::from(perturbed - clean).powi(2);
        let squares: f64 = clean.iter().zip(perturbed).map(square).sum();
        squares * (self.scale() / 2.0) / clean.len() as f64
    }

    /// The gradient by `perturbed`; that by `clean` is its negative.
    ///
    /// # Shapes
    /// `clean`, `perturbed`: (B); gradient: (B).
    /// # Errors
    /// Tensors of two shapes; failures of the device.
    pub fn grad(self, clean: &Tensor, perturbed: &Tensor) -> Result<Tensor> {
        mean_grad(&((perturbed - clean)? * self.scale())?)
    }

    fn scale(self) -> f64 {
        f64::from(self.gamma as f32 / self.std.powi(2))
    }
}

/// The gradients of a mean over (B) values, given those of the values.
pub(crate) fn mean_grad(grads: &Tensor) -> Result<Tensor> {
    // Divided by a tensor: candle divides by a number as a product with its rounded inverse.
    let count = Tensor::full(grads.dim(0)? as f32, (), grads.device())?;
    Ok(grads.broadcast_div(&count)?)
}

fn logistic(l: f32) -> f32 {
    1.0 / (1.0 + (-l).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn grad(loss: LogitLoss, logits: &[f32]) -> Vec<f32> {
        let logits = Tensor::new(logits, &Device::Cpu).expect("a vector");
        loss.grad(&logits).and_then(|grad| Ok(grad.to_vec1()?)).expect("a vector")
    }

    fn entropy(label: f64) -> LogitLoss {
        LogitLoss::CrossEntropy { label }
    }

    #[test]
    fn accuracy_counts_both_kinds() {
        let (real, fake) = ([0.5, -1.0, 2.0], [-3.0, 0.0, 1.0, -0.1, -2.0]);
        assert_eq!(GanLoss::NonSaturating.accuracy(&real, &fake, 1.0), 6.0 / 8.0);
        // Halfway between 0 and 0.9.
        let (real, fake) = ([0.46, 0.6], [0.44, -2.0]);
        assert_eq!(GanLoss::LeastSquares.accuracy(&real, &fake, 0.9), 1.0);
        assert_eq!(GanLoss::Hinge.accuracy(&real, &fake, 1.0), 3.0 / 4.0);
        // Pairs: 0.5 against 0.75, -1 against -2.
        let (real, fake) = ([0.5, -1.0], [0.75, -2.0]);
        assert_eq!(GanLoss::Relativistic.accuracy(&real, &fake, 1.0), 1.0 / 2.0);
    }

    #[test]
    fn cross_entropy_at_known_points() {
        let ln2 = std::f64::consts::LN_2;
        assert!((entropy(0.0).value(&[0.0]) - ln2).abs() < 1e-12);
        assert!((entropy(0.9).value(&[0.0]) - ln2).abs() < 1e-12);
        // softplus(2) - 0.9 * 2 = 2.126928 - 1.8
        assert!((entropy(0.9).value(&[2.0]) - 0.326_928).abs() < 1e-6);
        // softplus(-1) = 0.313262, softplus(3) = 3.048587
        let want = (0.313_262 + 3.048_587) / 2.0;
        assert!((entropy(0.0).value(&[-1.0, 3.0]) - want).abs() < 1e-6);
    }

    #[test]
    fn extremes_stay_finite() {
        for (logit, label, want) in [(1e4, 1.0, 0.0), (-1e4, 1.0, 1e4), (1e4, 0.0, 1e4)] {
            assert_eq!(entropy(label).value(&[logit]), want);
        }
        assert_eq!(entropy(0.0).value(&[-1e4]), 0.0);
        assert_eq!(grad(entropy(1.0), &[1e4, -1e4]), [0.0, -0.5]);
        assert_eq!(grad(entropy(0.0), &[1e4, -1e4]), [0.5, 0.0]);
    }

    #[test]
    fn nan_is_not_hidden() {
        for loss in GanLoss::ALL {
            for part in [loss.on_real(1.0), loss.on_fake(), loss.generator()] {
                assert!(part.value(&[0.0, f32::NAN]).is_nan(), "{part:?}");
            }
        }
    }

    /// Central differences of the value, for every loss and every part of it.
    #[test]
    fn gradients_are_those_of_the_value() {
        for loss in
            GanLoss::ALL.into_iter().flat_map(|l| [l.on_real(0.9), l.on_fake(), l.generator()])
        {
            for at in [-3.0f32, -0.1, 0.5, 4.0] {
                let of = |at: f32| loss.value(&[at, 7.0]);
                let step = 1e-2;
                let slope = (of(at + step) - of(at - step)) / f64::from(2.0 * step);
                let got = grad(loss, &[at, 7.0])[0];
                assert!((f64::from(got) - slope).abs() < 1e-4, "{loss:?} {at}: {got}, not {slope}");
            }
        }
    }

    #[test]
    fn the_penalty_has_the_gradient_of_its_value() -> Result<()> {
        let (clean, perturbed, r1) =
            ([0.5f32, -1.0], [0.75f32, -1.5], R1Penalty { gamma: 0.3, std: 0.5 });
        // 0.15 * mean((0.25 / 0.5)^2, (0.5 / 0.5)^2)
        assert!((r1.value(&clean, &perturbed) - 0.15 * (0.25 + 1.0) / 2.0).abs() < 1e-8);
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu);
        let got = r1.grad(&tensor(&clean)?, &tensor(&perturbed)?)?.to_vec1::<f32>()?;
        for (i, got) in got.into_iter().enumerate() {
            let of = |by: f32| {
                let mut moved = perturbed;
                moved[i] += by;
                r1.value(&clean, &moved)
            };
            let slope = (of(1e-2) - of(-1e-2)) / 2e-2;
            assert!((f64::from(got) - slope).abs() < 1e-5, "{i}: {got}, not {slope}");
        }
        Ok(())
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
            // softplus(-0.75), softplus(0.75)
            (0.386_871, 1.136_871),
        ];
        let tensor = |value: f32| Tensor::new(&[value], &Device::Cpu).expect("a vector");
        for (loss, (of_d, of_g)) in GanLoss::ALL.into_iter().zip(want) {
            let pair = loss.on_pairs(&tensor(0.5), &tensor(-0.25)).expect("one shape");
            let pair = pair.to_vec1::<f32>().expect("a vector");
            let got = loss.on_real(1.0).value(&[0.5]) + loss.on_fake().value(&pair);
            assert!((got - of_d).abs() < 1e-5, "{loss:?}: {got}, not {of_d}");
            let got = loss.generator().value(&pair);
            assert!((got - of_g).abs() < 1e-5, "{loss:?}: {got}, not {of_g}");
        }
    }

    /// Where a loss is flat, its gradient is 0.
    /// Of two, none and one real image that counts as real.
    #[test]
    fn signs_are_those_of_decisions() {
        let sign = |loss: GanLoss, real: &[f32], fake: &[f32]| loss.mean_sign(real, fake, 0.9);
        assert_eq!(sign(GanLoss::Hinge, &[0.1, 3.0], &[9.0, 9.0]), 1.0);
        assert_eq!(sign(GanLoss::LeastSquares, &[0.1, 0.4], &[]), -1.0);
        assert_eq!(sign(GanLoss::NonSaturating, &[0.0, 0.5, -7.0, 2.0], &[]), 0.25);
        assert_eq!(sign(GanLoss::Relativistic, &[-5.0, 3.0], &[-6.0, 4.0]), 0.0);
    }

    #[test]
    fn flat_places_have_no_gradient() {
        for (loss, at) in [(GanLoss::Hinge, -3.0f32), (GanLoss::LeastSquares, 0.0)] {
            assert_eq!(grad(loss.on_fake(), &[at]), [0.0]);
        }
        assert_eq!(grad(GanLoss::Hinge.on_real(1.0), &[1.5]), [0.0]);
    }
}
