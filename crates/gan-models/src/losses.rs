//! Losses on logits, with their derivatives in closed form.
//!
//! A derivative is where a hand-driven backward pass begins ([`crate::Tape::backward`]); in
//! candle's autograd, `(logits * derivative).sum_all()?.backward()` has the loss's gradients.

use crate::error::Result;
use candle_core::Tensor;

/// A loss and its derivative.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean over the batch.
    pub value: f32,
    /// The value's derivative by each logit, (B).
    pub derivative: Tensor,
}

/// Logits below this count as this in derivatives against label 0, so that those, and the ratio to
/// the generator's, stay normal numbers of f32 whose product is right.
const MOST_CONFIDENT: f32 = -60.0;

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
    let values = logits.to_vec1::<f32>()?;
    let count = values.len() as f32;
    // ln(1 + exp(l)) as max(l, 0) + ln(1 + exp(-|l|)).
    let softplus = |l: f32| l.max(0.0) + (-l.abs()).exp().ln_1p();
    let sum: f64 = values.iter().map(|&l| f64::from(softplus(l) - label * l)).sum();
    // Written so that no difference of near numbers is taken, save that of the label.
    let derivative = |l: f32| {
        let rest = 1.0 / (1.0 + l.exp());
        if label == 1.0 { -rest } else { logistic(l.max(MOST_CONFIDENT)) - label }
    };
    let derivative: Vec<f32> = values.iter().map(|&l| derivative(l) / count).collect();
    let derivative = Tensor::from_vec(derivative, values.len(), logits.device())?;
    Ok(Loss { value: (sum / f64::from(count)) as f32, derivative })
}

/// The discriminator's loss: the cross-entropy of real logits against `real_label` (1, or a
/// little less: one-sided label smoothing, Salimans et al. 2016) plus that of fake ones against 0.
/// The derivative is that of (real, fake), one after the other.
///
/// # Shapes
/// `real`: (B), `fake`: (B'); derivative: (B + B').
/// # Errors
/// Failures of the device.
/// # Reference
/// Goodfellow et al. 2014, "Generative adversarial networks".
pub fn discriminator_loss(real: &Tensor, fake: &Tensor, real_label: f32) -> Result<Loss> {
    let (real, fake) = (cross_entropy(real, real_label)?, cross_entropy(fake, 0.0)?);
    let derivative = Tensor::cat(&[&real.derivative, &fake.derivative], 0)?;
    Ok(Loss { value: real.value + fake.value, derivative })
}

/// The generator's non-saturating loss: the cross-entropy of fake logits against 1.
///
/// # Shapes
/// `fake`: (B).
/// # Errors
/// Failures of the device.
/// # Reference
/// Goodfellow et al. 2014, "Generative adversarial networks", section 3.
pub fn generator_loss(fake: &Tensor) -> Result<Loss> {
    cross_entropy(fake, 1.0)
}

/// For each fake logit, the derivative of the generator's loss over that of the
/// discriminator's: `(s - 1) / s = -exp(-l)` with `s` the logistic function of `l`.
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
pub fn generator_to_discriminator_ratio(fake: &Tensor) -> Result<Tensor> {
    let ratio: Vec<f32> =
        fake.to_vec1::<f32>()?.into_iter().map(|l| -(-l.max(MOST_CONFIDENT)).exp()).collect();
    Ok(Tensor::from_vec(ratio, fake.dims(), fake.device())?)
}

/// Mean probability of being real that logits stand for, in [0, 1].
///
/// # Shapes
/// `logits`: (B).
/// # Errors
/// Failures of the device.
pub fn mean_probability(logits: &Tensor) -> Result<f32> {
    let values = logits.to_vec1::<f32>()?;
    Ok(values.iter().copied().map(logistic).sum::<f32>() / values.len() as f32)
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

    #[test]
    fn the_ratio_turns_one_derivative_into_the_other() {
        let logits = [-1e4f32, -100.0, -70.0, -30.0, -3.0, 0.0, 0.5, 9.0];
        let (of_d, of_g) = (derivative(&logits, 0.0), derivative(&logits, 1.0));
        let ratio = generator_to_discriminator_ratio(&tensor(&logits)).expect("a ratio");
        let ratio: Vec<f32> = ratio.to_vec1().expect("a vector");
        for i in 0..logits.len() {
            let got = of_d[i] * ratio[i];
            assert!((got - of_g[i]).abs() < 1e-5 * of_g[i].abs(), "{got} {}", of_g[i]);
        }
    }

    #[test]
    fn both_sides_of_the_discriminator() {
        let loss = discriminator_loss(&tensor(&[2.0]), &tensor(&[0.0, 0.0]), 0.9).expect("a loss");
        assert!((loss.value - 0.326_928 - std::f32::consts::LN_2).abs() < 1e-6);
        let derivative: Vec<f32> = loss.derivative.to_vec1().expect("a vector");
        assert!((derivative[0] - (0.880_797 - 0.9)).abs() < 1e-6);
        assert_eq!(derivative[1..], [0.25, 0.25]);
        assert_eq!(mean_probability(&tensor(&[0.0, 1e4])).expect("a mean"), 0.75);
    }
}
