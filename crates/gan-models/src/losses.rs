//! Losses on logits.

use crate::error::Result;
use candle_core::Tensor;

/// `ln(1 + exp(x))`, finite for every finite `x`: `max(x, 0) + ln(1 + exp(-|x|))`.
fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?)
}

/// Mean cross-entropy of logits against one label for all: `mean(softplus(l) - label * l)`.
///
/// # Shapes
/// `logits`: (B); result: scalar.
/// # Range
/// Raw logits, not probabilities; label in [0, 1]; result at least 0.
/// # Errors
/// Failures of the device.
pub fn cross_entropy(logits: &Tensor, label: f64) -> Result<Tensor> {
    Ok((softplus(logits)? - (logits * label)?)?.mean_all()?)
}

/// The discriminator's loss: the cross-entropy of the real logits against `real_label` (1, or
/// below 1 for one-sided label smoothing, Salimans et al. 2016) plus that of the fake against 0.
///
/// # Shapes
/// `real`, `fake`: (B); result: scalar.
/// # Errors
/// Failures of the device.
/// # Reference
/// Goodfellow et al. 2014, "Generative adversarial networks".
pub fn discriminator_loss(real: &Tensor, fake: &Tensor, real_label: f64) -> Result<Tensor> {
    Ok((cross_entropy(real, real_label)? + cross_entropy(fake, 0.0)?)?)
}

/// The generator's non-saturating loss: the cross-entropy of the fake logits against 1.
///
/// # Shapes
/// `fake`: (B); result: scalar.
/// # Errors
/// Failures of the device.
/// # Reference
/// Goodfellow et al. 2014, "Generative adversarial networks", section 3.
pub fn generator_loss(fake: &Tensor) -> Result<Tensor> {
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
/// Logits below -60 count as -60, which keeps the result finite in f32.
/// # Errors
/// Failures of the device.
/// # Reference
/// Shen et al. 2021, "Training generative adversarial networks in one stage".
pub fn generator_to_discriminator_ratio(fake: &Tensor) -> Result<Tensor> {
    Ok(fake.maximum(-60.0)?.neg()?.exp()?.neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn loss(logits: &[f32], label: f64) -> f32 {
        let logits = Tensor::new(logits, &Device::Cpu).expect("a vector");
        cross_entropy(&logits, label).expect("a loss").to_scalar().expect("a scalar")
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
    }

    fn gradient(logits: &Var, loss: &Tensor) -> Vec<f32> {
        let gradients = loss.backward().expect("a gradient");
        gradients.get(logits).expect("tracked").to_vec1().expect("a vector")
    }

    #[test]
    fn gradients_are_logistic_less_label() {
        let logits = Var::new(&[-1e4f32, -3.0, 0.5, 1e4], &Device::Cpu).expect("a vector");
        let got = gradient(&logits, &cross_entropy(&logits, 0.9).expect("a loss"));
        for (got, want) in got.iter().zip([-0.9, 0.047_425_87 - 0.9, 0.622_459_3 - 0.9, 0.1]) {
            assert!((got * 4.0 - want).abs() < 1e-6, "{got}, not {want} / 4");
        }
    }

    #[test]
    fn the_ratio_turns_one_gradient_into_the_other() {
        let logits = Var::new(&[-30.0f32, -3.0, 0.0, 0.5, 9.0], &Device::Cpu).expect("a vector");
        let of_d = gradient(&logits, &cross_entropy(&logits, 0.0).expect("a loss"));
        let of_g = gradient(&logits, &generator_loss(&logits).expect("a loss"));
        let ratio = generator_to_discriminator_ratio(&logits).expect("a ratio");
        let ratio: Vec<f32> = ratio.to_vec1().expect("a vector");
        for i in 0..5 {
            let got = of_d[i] * ratio[i];
            assert!((got - of_g[i]).abs() < 1e-5 * of_g[i].abs() + 1e-8, "{got} {}", of_g[i]);
        }
    }
}
