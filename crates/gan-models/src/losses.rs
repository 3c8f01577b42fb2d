//! Losses on logits, with their derivatives in closed form.
//!
//! A derivative is where a hand-driven backward pass begins ([`crate::Tape::backward`]); in
//! candle's autograd, `(logits * derivative).sum_all()?.backward()` has the loss's gradients.

use crate::error::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// A loss and its derivative.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean over the batch.
    pub value: f32,
    /// The value's derivative by each logit, (B).
    pub derivative: Tensor,
}

/// What the two networks play for: scores for pictures that the discriminator raises for real and
/// lowers for fake, while the generator raises those of its fakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GanLoss {
    /// Cross-entropy; the generator's is that of fakes against 1 (Goodfellow et al. 2014,
    /// "Generative adversarial networks", section 3).
    #[default]
    NonSaturating,
    /// `max(0, 1 - real) + max(0, 1 + fake)` and `-fake` (Lim and Ye 2017, "Geometric GAN").
    Hinge,
    /// `(real - label)^2 / 2 + fake^2 / 2` and `(fake - 1)^2 / 2` (Mao et al. 2017, "Least squares
    /// generative adversarial networks").
    LeastSquares,
    /// `fake - real` and `-fake` (Arjovsky et al. 2017, "Wasserstein GAN"): in need of a bound on
    /// the discriminator's slope, such as [`slope_penalty`] or spectral normalisation.
    Wasserstein,
}

/// Logits below this count as this in derivatives against label 0, so that those, and the ratio to
/// the generator's, stay normal numbers of f32 whose product is right.
const MOST_CONFIDENT: f32 = -60.0;
/// Derivatives by fake logits are no nearer to 0 than this, for the same reason: where a hinge or a
/// square is flat to the discriminator, it is not to the generator.
const LEAST_SLOPE: f32 = 1e-6;

impl GanLoss {
    /// The discriminator's loss. `real_label` is what real pictures are worth: 1, or a little less
    /// (one-sided label smoothing, Salimans et al. 2016); hinge and Wasserstein have no labels.
    /// The derivative is that of (real, fake), one after the other.
    ///
    /// # Shapes
    /// `real`: (B), `fake`: (B'); derivative: (B + B').
    /// # Errors
    /// Failures of the device.
    pub fn discriminator(self, real: &Tensor, fake: &Tensor, real_label: f32) -> Result<Loss> {
        let (real, fake) = (self.on_real(real, real_label)?, self.on_fake(fake)?);
        let derivative = Tensor::cat(&[&real.derivative, &fake.derivative], 0)?;
        Ok(Loss { value: real.value + fake.value, derivative })
    }

    /// The part of the discriminator's loss that is about real pictures.
    ///
    /// # Shapes
    /// `real`: (B).
    /// # Errors
    /// Failures of the device.
    pub fn on_real(self, real: &Tensor, real_label: f32) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(real, real_label),
            Self::Hinge => mean_of(real, |l| if l < 1.0 { (1.0 - l, -1.0) } else { (0.0, 0.0) }),
            Self::LeastSquares => square(real, real_label),
            Self::Wasserstein => mean_of(real, |l| (-l, -1.0)),
        }
    }

    /// The part that is about fakes.
    ///
    /// # Shapes
    /// `fake`: (B).
    /// # Errors
    /// Failures of the device.
    pub fn on_fake(self, fake: &Tensor) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(fake, 0.0),
            Self::Hinge => mean_of(fake, |l| ((1.0 + l).max(0.0), hinge_slope(l))),
            Self::LeastSquares => mean_of(fake, |l| (l.powi(2) / 2.0, square_slope(l))),
            Self::Wasserstein => mean_of(fake, |l| (l, 1.0)),
        }
    }

    /// The generator's loss.
    ///
    /// # Shapes
    /// `fake`: (B).
    /// # Errors
    /// Failures of the device.
    pub fn generator(self, fake: &Tensor) -> Result<Loss> {
        match self {
            Self::NonSaturating => cross_entropy(fake, 1.0),
            Self::LeastSquares => square(fake, 1.0),
            Self::Hinge | Self::Wasserstein => mean_of(fake, |l| (-l, -1.0)),
        }
    }

    /// For each fake logit, the derivative of the generator's loss over that of the
    /// discriminator's. Of the non-saturating loss it is `(s - 1) / s = -exp(-l)` with `s` the
    /// logistic function of `l`.
    ///
    /// Where a discriminator treats every picture on its own, the gradient of the generator's loss
    /// at a picture is that of the discriminator's times this number: one backward pass through the
    /// discriminator serves both.
    ///
    /// # Shapes
    /// `fake`: (B); result: (B).
    /// # Range
    /// Logits below -60 count as -60, here as in [`cross_entropy`]'s derivative against 0.
    /// # Errors
    /// Failures of the device.
    /// # Reference
    /// Shen et al. 2021, "Training generative adversarial networks in one stage".
    pub fn generator_to_discriminator_ratio(self, fake: &Tensor) -> Result<Tensor> {
        let ratio = match self {
            Self::NonSaturating => |l: f32| -(-l.max(MOST_CONFIDENT)).exp(),
            Self::Wasserstein => |_| -1.0,
            Self::Hinge => |l| -1.0 / hinge_slope(l),
            Self::LeastSquares => |l| (l - 1.0) / square_slope(l),
        };
        let ratio: Vec<f32> = fake.to_vec1()?.into_iter().map(ratio).collect();
        Ok(Tensor::from_vec(ratio, fake.dims(), fake.device())?)
    }

    /// What is told of logits while training: the mean probability of being real that they stand
    /// for, in [0, 1], for cross-entropy; the mean logit for losses whose logits stand for none.
    ///
    /// # Shapes
    /// `logits`: (B).
    /// # Errors
    /// Failures of the device.
    pub fn score(self, logits: &Tensor) -> Result<f32> {
        let values = logits.to_vec1::<f32>()?;
        let of = |l: &f32| if self == Self::NonSaturating { logistic(*l) } else { *l };
        Ok(values.iter().map(of).sum::<f32>() / values.len() as f32)
    }

    /// A logit as a decision value: positive for real, negative for fake. Least squares decide halfway
    /// between their labels; where the loss knows no such point (Wasserstein), 0 stands for it.
    pub fn decision(self, logit: f32, real_label: f32) -> f32 {
        match self {
            Self::LeastSquares => logit - real_label / 2.0,
            Self::NonSaturating | Self::Hinge | Self::Wasserstein => logit,
        }
    }

    /// Share of pictures, real and fake, that the discriminator decides rightly about.
    ///
    /// # Shapes
    /// `real`: (B), `fake`: (B').
    /// # Errors
    /// Failures of the device.
    pub fn accuracy(self, real: &Tensor, fake: &Tensor, real_label: f32) -> Result<f32> {
        let (real, fake) = (real.to_vec1::<f32>()?, fake.to_vec1::<f32>()?);
        let is_real = |logit: &&f32| self.decision(**logit, real_label) > 0.0;
        let right = real.iter().filter(is_real).count()
            + fake.iter().filter(|logit| !is_real(logit)).count();
        Ok(right as f32 / (real.len() + fake.len()).max(1) as f32)
    }

    /// Whether real pictures have a label that can be smoothed.
    pub fn has_labels(self) -> bool {
        matches!(self, Self::NonSaturating | Self::LeastSquares)
    }
}

/// Mean over logits of a function that tells its value and derivative.
fn mean_of(logits: &Tensor, of: impl Fn(f32) -> (f32, f32)) -> Result<Loss> {
    let values = logits.to_vec1::<f32>()?;
    let count = values.len() as f32;
    let mut sum = 0.0;
    let take = |l: f32| {
        let (value, derivative) = of(l);
        sum += f64::from(value);
        derivative / count
    };
    let derivative: Vec<f32> = values.into_iter().map(take).collect();
    let derivative = Tensor::from_vec(derivative, logits.dims(), logits.device())?;
    Ok(Loss { value: (sum / f64::from(count)) as f32, derivative })
}

/// The derivative of `max(0, 1 + l)`.
fn hinge_slope(l: f32) -> f32 {
    if l > -1.0 { 1.0 } else { LEAST_SLOPE }
}

/// The derivative of `l^2 / 2`.
fn square_slope(l: f32) -> f32 {
    l.abs().max(LEAST_SLOPE).copysign(l)
}

fn square(logits: &Tensor, label: f32) -> Result<Loss> {
    mean_of(logits, |l| ((l - label).powi(2) / 2.0, l - label))
}

/// Mean cross-entropy of logits against one label for all: `mean(softplus(l) - label * l)`.
/// Finite for all finite logits.
///
/// # Shapes
/// `logits`: (B), at least one.
/// # Range
/// Raw logits, not probabilities; label in [0, 1]; value at least 0.
/// # Errors
/// Failures of the device.
pub fn cross_entropy(logits: &Tensor, label: f32) -> Result<Loss> {
    // ln(1 + exp(l)) as max(l, 0) + ln(1 + exp(-|l|)).
    let softplus = |l: f32| l.max(0.0) + (-l.abs()).exp().ln_1p();
    // Written so that no difference of near numbers is taken, save that of the label.
    let derivative = |l: f32| {
        let rest = 1.0 / (1.0 + l.exp());
        if label == 1.0 { -rest } else { logistic(l.max(MOST_CONFIDENT)) - label }
    };
    mean_of(logits, |l| (softplus(l) - label * l, derivative(l)))
}

/// A penalty on the discriminator's slope at pictures: `weight / 2` times the mean of
/// `((moved - still) / deviation)^2`, where `moved` are the logits of the same pictures with normal
/// noise of that deviation added.
///
/// Its expectation over the noise tends to `weight / 2` times the mean squared norm of the gradient
/// at the pictures, which is R1 where these are real, as the deviation tends to 0; it needs no
/// second derivatives. The derivative is that of (still, moved), one after the other.
///
/// # Shapes
/// `still`, `moved`: (B); derivative: (2 B).
/// # Errors
/// Tensors of two shapes; failures of the device.
/// # Reference
/// Mescheder et al. 2018, "Which training methods for GANs do actually converge?" (R1).
pub fn slope_penalty(still: &Tensor, moved: &Tensor, weight: f32, deviation: f32) -> Result<Loss> {
    let scale = weight / deviation.powi(2);
    let penalty = mean_of(&(moved - still)?, |by| (scale * by * by / 2.0, scale * by))?;
    let derivative = Tensor::cat(&[&penalty.derivative.neg()?, &penalty.derivative], 0)?;
    Ok(Loss { derivative, ..penalty })
}

fn logistic(l: f32) -> f32 {
    1.0 / (1.0 + (-l).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).expect("a vector")
    }

    #[test]
    fn accuracy_counts_both_kinds() -> Result<()> {
        let (real, fake) = (tensor(&[0.5, -1.0, 2.0]), tensor(&[-3.0, 0.0, 1.0, -0.1, -2.0]));
        assert_eq!(GanLoss::NonSaturating.accuracy(&real, &fake, 1.0)?, 6.0 / 8.0);
        // Halfway between 0 and 0.9.
        let (real, fake) = (tensor(&[0.46, 0.6]), tensor(&[0.44, -2.0]));
        assert_eq!(GanLoss::LeastSquares.accuracy(&real, &fake, 0.9)?, 1.0);
        assert_eq!(GanLoss::Hinge.accuracy(&real, &fake, 1.0)?, 3.0 / 4.0);
        Ok(())
    }

    fn loss(logits: &[f32], label: f32) -> f32 {
        cross_entropy(&tensor(logits), label).expect("a loss").value
    }

    fn derivative(logits: &[f32], label: f32) -> Vec<f32> {
        let loss = cross_entropy(&tensor(logits), label).expect("a loss");
        loss.derivative.to_vec1().expect("a vector")
    }

    #[test]
    fn known_points() {
        let ln2 = std::f32::consts::LN_2;
        assert_eq!(loss(&[0.0], 0.0), ln2);
        assert_eq!(loss(&[0.0], 0.9), ln2);
        // softplus(2) - 0.9 * 2 = 2.126928 - 1.8
        assert!((loss(&[2.0], 0.9) - 0.326_928).abs() < 1e-6);
        // softplus(-1) = 0.313262, softplus(3) = 3.048587
        assert!((loss(&[-1.0, 3.0], 0.0) - (0.313_262 + 3.048_587) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn extremes_stay_finite() {
        assert_eq!(loss(&[1e4], 1.0), 0.0);
        assert_eq!(loss(&[-1e4], 1.0), 1e4);
        assert_eq!(loss(&[1e4], 0.0), 1e4);
        assert_eq!(loss(&[-1e4], 0.0), 0.0);
        assert_eq!(derivative(&[1e4, -1e4], 1.0), [0.0, -0.5]);
        let [high, low] = derivative(&[1e4, -1e4], 0.0)[..] else { panic!("two") };
        assert!(high == 0.5 && (0.0..1e-26).contains(&low), "{high} {low}");
    }

    #[test]
    fn derivatives_are_those_of_the_value() {
        for label in [0.0, 0.9, 1.0] {
            for at in [-3.0f32, -0.1, 0.5, 4.0] {
                let step = 1e-2;
                let difference = (loss(&[at + step, 7.0], label) - loss(&[at - step, 7.0], label))
                    / (2.0 * step);
                let got = derivative(&[at, 7.0], label)[0];
                assert!((got - difference).abs() < 1e-4, "{at} {label}: {got}, not {difference}");
            }
        }
    }

    const ALL: [GanLoss; 4] =
        [GanLoss::NonSaturating, GanLoss::Hinge, GanLoss::LeastSquares, GanLoss::Wasserstein];

    #[test]
    fn the_ratio_turns_one_derivative_into_the_other() {
        let logits = tensor(&[-1e4f32, -100.0, -70.0, -30.0, -3.0, 0.0, 0.5, 9.0]);
        for loss in ALL {
            let both = loss.discriminator(&logits, &logits, 1.0).expect("a loss").derivative;
            let of_d: Vec<f32> = both.to_vec1().expect("a vector").split_off(8);
            let of_g: Vec<f32> =
                loss.generator(&logits).expect("a loss").derivative.to_vec1().expect("a vector");
            let ratio = loss.generator_to_discriminator_ratio(&logits).expect("a ratio");
            let ratio: Vec<f32> = ratio.to_vec1().expect("a vector");
            for i in 0..of_d.len() {
                let got = of_d[i] * ratio[i];
                assert!((got - of_g[i]).abs() < 1e-5 * of_g[i].abs(), "{got} {}", of_g[i]);
            }
        }
    }

    /// Where a loss is flat to the discriminator, all but nothing reaches it.
    #[test]
    fn flat_places_are_all_but_flat() {
        for (loss, at) in [(GanLoss::Hinge, -3.0f32), (GanLoss::LeastSquares, 0.0)] {
            let derivative = loss.on_fake(&tensor(&[at])).expect("a loss").derivative;
            let derivative = derivative.to_vec1::<f32>().expect("a vector")[0];
            assert!(derivative > 0.0 && derivative < 2e-6, "{derivative}");
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
            let got = loss.discriminator(&real, &fake, 1.0).expect("a loss").value;
            assert!((got - of_d).abs() < 1e-5, "{loss:?}: {got}, not {of_d}");
            let got = loss.generator(&fake).expect("a loss").value;
            assert!((got - of_g).abs() < 1e-5, "{loss:?}: {got}, not {of_g}");
        }
        // Beyond their margins, the hinges are at rest.
        let rest = GanLoss::Hinge.discriminator(&tensor(&[1.5]), &tensor(&[-2.0]), 1.0);
        let rest = rest.expect("a loss");
        assert_eq!(rest.value, 0.0);
        assert_eq!(rest.derivative.to_vec1::<f32>().expect("a vector"), [0.0, 1e-6]);
    }

    #[test]
    fn every_derivative_is_that_of_the_value() {
        let step = 1e-2;
        let check = |what: &str, value: &dyn Fn(&[f32; 3]) -> Loss| {
            let at = [0.4, -0.3, 0.7];
            let got: Vec<f32> = value(&at).derivative.to_vec1().expect("a vector");
            for i in 0..at.len() {
                let moved = |by: f32| {
                    let mut at = at;
                    at[i] += by;
                    value(&at).value
                };
                let want = (moved(step) - moved(-step)) / (2.0 * step);
                assert!((got[i] - want).abs() < 1e-3, "{what}, {i}: {}, not {want}", got[i]);
            }
        };
        for loss in ALL {
            check(&format!("{loss:?}, discriminator"), &|at| {
                let (real, fake) = (tensor(&at[..2]), tensor(&at[2..]));
                loss.discriminator(&real, &fake, 1.0).expect("a loss")
            });
            check(&format!("{loss:?}, generator"), &|at| {
                loss.generator(&tensor(at)).expect("a loss")
            });
        }
        let penalty = |still: &[f32], moved: &[f32]| {
            slope_penalty(&tensor(still), &tensor(moved), 3.0, 0.5).expect("a loss")
        };
        check("penalty", &|at| {
            let mut loss = penalty(&at[..1], &at[1..2]);
            let none = Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).expect("zero");
            loss.derivative = Tensor::cat(&[&loss.derivative, &none], 0).expect("three");
            loss
        });
        // 3 / 2 * (1 / 0.5)^2, (2 / 0.5)^2 twice as far: their mean.
        assert_eq!(penalty(&[0.0, 1.0], &[1.0, -1.0]).value, (6.0 + 24.0) / 2.0);
    }

    #[test]
    fn both_sides_of_the_discriminator() {
        let (real, fake) = (tensor(&[2.0]), tensor(&[0.0, 0.0]));
        let loss = GanLoss::NonSaturating.discriminator(&real, &fake, 0.9).expect("a loss");
        assert!((loss.value - 0.326_928 - std::f32::consts::LN_2).abs() < 1e-6);
        let derivative: Vec<f32> = loss.derivative.to_vec1().expect("a vector");
        assert!((derivative[0] - (0.880_797 - 0.9)).abs() < 1e-6);
        assert_eq!(derivative[1..], [0.25, 0.25]);
        let score = |loss: GanLoss| loss.score(&tensor(&[0.0, 1e4])).expect("a mean");
        assert_eq!(score(GanLoss::NonSaturating), 0.75);
        assert_eq!(score(GanLoss::Hinge), 5e3);
    }
}
