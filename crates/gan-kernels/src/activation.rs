//! Activations and dropout, applied to a layer's output while it is still in the cache.

use crate::storage::map_chunks;

/// An elementwise activation whose derivative follows from its output.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `z`
    Identity,
    /// `z` where positive, `slope * z` elsewhere. Slope 0 is ReLU. The slope must not be negative.
    LeakyRelu(f32),
    /// Hyperbolic tangent, in (-1, 1).
    Tanh,
    /// Logistic function, in (0, 1).
    Sigmoid,
}

impl Activation {
    /// Replaces every `z` with its activation.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::LeakyRelu(slope) => {
                values.iter_mut().for_each(|z| *z = if *z > 0.0 { *z } else { *z * slope });
            }
            Self::Tanh => values.iter_mut().for_each(|z| *z = tanh(*z)),
            Self::Sigmoid => values.iter_mut().for_each(|z| *z = 1.0 / (1.0 + exp(-*z))),
        }
    }

    /// Returns the derivative of the activation, given its output.
    #[inline(always)]
    fn derivative_from_output(self, output: f32) -> f32 {
        match self {
            Self::Identity => 1.0,
            Self::LeakyRelu(slope) => {
                if output > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Tanh => 1.0 - output * output,
            Self::Sigmoid => output * (1.0 - output),
        }
    }

    /// Multiplies every gradient by the derivative that belongs to its output.
    #[inline(always)]
    pub(crate) fn backward(self, outputs: &[f32], gradients: &mut [f32]) {
        // One loop per variant, so that the compiler vectorises each.
        macro_rules! each {
            ($activation:expr) => {
                gradients
                    .iter_mut()
                    .zip(outputs)
                    .for_each(|(g, y)| *g *= $activation.derivative_from_output(*y))
            };
        }
        match self {
            Self::Identity => {}
            Self::LeakyRelu(slope) => each!(Self::LeakyRelu(slope)),
            Self::Tanh => each!(Self::Tanh),
            Self::Sigmoid => each!(Self::Sigmoid),
        }
    }
}

/// Returns `e^x` within 2 units in the last place: 0 below and infinity above the range of f32. The
/// compiler vectorises this arithmetic.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2. Adding and subtracting 1.5 * 2^23 rounds to whole n.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-104.0, 89.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // The Taylor series of e^r up to r^7.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    // 2^n as two factors in the range of f32. `n as i32` would not be vectorised, but the last bits
    // of the rounded sum are n.
    let half = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    p * half(n >> 1) * half(n - (n >> 1))
}

/// Returns `tanh(x)` within 2e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let square = x * x;
    // Near 0, where 1 - 2 / (e^2x + 1) would cancel: x - x^3 / 3 + 2 x^5 / 15 - 17 x^7 / 315.
    let near = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if square < 0.04 { near } else { far }
}

/// Inverted dropout: zeroes each element with a probability and scales up the others, which keeps
/// the mean.
///
/// The mask is a hash of a seed and the element's index. It is not stored; the backward pass
/// computes it again.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    threshold: u32,
    scale: f32,
    seed: (u32, u32),
}

impl Dropout {
    /// Zeroes elements with `probability`, in [0, 1).
    ///
    /// # Errors
    /// A probability outside of [0, 1).
    pub fn new(probability: f32, seed: u64) -> candle_core::Result<Self> {
        if !(0.0..1.0).contains(&probability) {
            candle_core::bail!("dropout probability {probability} is not in [0, 1)");
        }
        Ok(Self {
            threshold: (f64::from(probability) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - probability),
            seed: (seed as u32, (seed >> 32) as u32),
        })
    }

    /// Returns the factor of element `index`: 0 or the scale.
    #[inline(always)]
    fn factor(self, index: u32) -> f32 {
        // Two rounds of a multiply and xor-shift hash with full avalanche (the constants of Ellis's
        // lowbias32), one for each half of the seed.
        let mix = |mut x: u32| {
            x ^= x >> 16;
            x = x.wrapping_mul(0x7feb_352d);
            x ^= x >> 15;
            x = x.wrapping_mul(0x846c_a68b);
            x ^ (x >> 16)
        };
        let hash = mix(mix(index ^ self.seed.0).wrapping_add(self.seed.1));
        if hash >= self.threshold { self.scale } else { 0.0 }
    }

    /// Applies the mask to the elements that begin at `first`.
    #[inline(always)]
    pub(crate) fn apply(self, first: usize, values: &mut [f32]) {
        for (i, value) in values.iter_mut().enumerate() {
            *value *= self.factor(first.wrapping_add(i) as u32);
        }
    }

    /// Returns the mask of a tensor of this many elements, (H, W, B, C): 0 or the scale.
    pub fn mask(self, elements: usize) -> Vec<f32> {
        map_chunks(
            &vec![1.0; elements],
            #[inline(always)]
            |first, chunk| self.apply(first, chunk),
        )
    }
}

/// What follows the linear map of a layer and its bias or normalisation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Epilogue {
    /// Applied first.
    pub activation: Activation,
    /// Applied last.
    pub dropout: Option<Dropout>,
}

impl Epilogue {
    /// Nothing.
    pub const NONE: Self = Self::new(Activation::Identity);

    /// An activation without dropout.
    pub const fn new(activation: Activation) -> Self {
        Self { activation, dropout: None }
    }

    /// The same activation, then this dropout.
    pub const fn with_dropout(self, dropout: Option<Dropout>) -> Self {
        Self { dropout, ..self }
    }

    /// Applies both to the elements that begin at `first`.
    #[inline(always)]
    pub(crate) fn apply(self, first: usize, values: &mut [f32]) {
        self.activation.apply(values);
        if let Some(dropout) = self.dropout {
            dropout.apply(first, values);
        }
    }

    /// Turns gradients of the outputs that begin at `first` into gradients before both.
    #[inline(always)]
    pub(crate) fn backward(self, first: usize, outputs: &[f32], gradients: &mut [f32]) {
        let Some(dropout) = self.dropout else {
            return self.activation.backward(outputs, gradients);
        };
        dropout.apply(first, gradients);
        // The outputs before the mask. Where the mask is 0 any value will do, because the gradient is
        // 0 there.
        let activations: Vec<f32> = outputs.iter().map(|y| y / dropout.scale).collect();
        self.activation.backward(&activations, gradients);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_derivatives() {
        let mut z = [-2.0, 0.0, 3.0];
        Activation::LeakyRelu(0.2).apply(&mut z);
        assert_eq!(z, [-0.4, 0.0, 3.0]);
        let mut g = [1.0, 1.0, 2.0];
        Activation::LeakyRelu(0.2).backward(&z, &mut g);
        assert_eq!(g, [0.2, 0.2, 2.0]);
        for (activation, derivative) in [(Activation::Tanh, 1.0), (Activation::Sigmoid, 0.25)] {
            let mut z = [0.0, 1000.0, -1000.0];
            activation.apply(&mut z);
            let mut g = [1.0; 3];
            activation.backward(&z, &mut g);
            assert_eq!(g, [derivative, 0.0, 0.0], "{activation:?}");
        }
    }

    #[test]
    fn exp_and_tanh_equal_the_standard_library() {
        for i in -20_000..20_000 {
            let x = i as f32 / 180.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want.max(1e-37);
            assert!(error < 2.5e-7 || (want > f64::from(f32::MAX) && exp(x).is_infinite()), "{x}");
            assert!((f64::from(tanh(x / 10.0)) - f64::from(x / 10.0).tanh()).abs() < 2e-7, "{x}");
        }
        assert_eq!(
            [exp(-1e30), exp(0.0), tanh(0.0), tanh(1e30), tanh(-1e30)],
            [0.0, 1.0, 0.0, 1.0, -1.0]
        );
        assert_eq!(exp(1e30), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }

    #[test]
    fn dropout_keeps_the_mean_and_follows_its_seed() -> candle_core::Result<()> {
        let n = 100_000;
        let dropped = |seed| -> candle_core::Result<Vec<f32>> {
            let mut values = vec![1.0; n];
            Dropout::new(0.3, seed)?.apply(0, &mut values);
            Ok(values)
        };
        let (a, b) = (dropped(1)?, dropped(1 << 40)?);
        let zeros = a.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
        // Five standard deviations of a binomial fraction.
        assert!((zeros - 0.3).abs() < 5.0 * (0.21 / n as f64).sqrt(), "{zeros}");
        assert!(a.iter().all(|&v| v == 0.0 || v == 1.0 / 0.7));
        let both = a.iter().zip(&b).filter(|(a, b)| **a == 0.0 && **b == 0.0).count() as f64;
        assert!((both / n as f64 - 0.09).abs() < 0.006, "masks of two seeds are related: {both}");
        assert_eq!(a, dropped(1)?);
        assert_eq!(a, Dropout::new(0.3, 1)?.mask(n));
        // A part of the tensor has that part of the mask.
        let mut part = vec![1.0; 500];
        Dropout::new(0.3, 1)?.apply(1000, &mut part);
        assert_eq!(part, a[1000..1500]);
        Ok(())
    }

    #[test]
    fn dropout_of_everything_is_an_error() {
        let error = Dropout::new(1.0, 0).expect_err("1 is out of range").to_string();
        assert!(error.contains("dropout probability 1 is not in [0, 1)"), "{error}");
    }
}
