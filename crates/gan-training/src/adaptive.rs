//! A probability of augmentation that follows how far the discriminator overfits.

use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// Settings of the probability with which each change of an augmentation is made to an image, noise
/// excepted. It begins at 0. It rises after a step in which the mean sign of the discriminator's
/// decision values of real images is above the target, and falls after one in which it is below.
///
/// # Reference
/// Karras et al. 2020, "Training generative adversarial networks with limited data" (their heuristic
/// r_t), with a change of the probability after every step instead of every fourth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveProbability {
    /// The wanted mean sign, in (-1, 1): 0 where the discriminator guesses, 1 where it knows every
    /// real image.
    #[serde(default = "usual_target")]
    pub target: f32,
    /// Real images over which the probability can rise from 0 to 1, at least 1.
    #[serde(default = "usual_images")]
    pub images: u64,
}

/// That of the paper.
fn usual_target() -> f32 {
    0.6
}

/// That of the paper.
fn usual_images() -> u64 {
    500_000
}

impl AdaptiveProbability {
    /// Returns the next probability, given the mean sign of a batch of real images.
    pub(crate) fn next(self, probability: f64, mean_sign: f32, batch: usize) -> f64 {
        let change = batch as f64 / self.images.max(1) as f64;
        let change = if mean_sign > self.target { change } else { -change };
        (probability + change).clamp(0.0, 1.0)
    }
}

/// Whether a change of this probability is made. Without a probability, nothing is drawn.
pub(crate) fn is_made(probability: Option<f64>, rng: &mut dyn RngCore) -> bool {
    probability.is_none_or(|probability| rng.random::<f64>() < probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_follows_the_sign() {
        let adaptive = AdaptiveProbability { target: 0.6, images: 100 };
        let next = |probability, sign| adaptive.next(probability, sign, 10);
        assert!((next(0.2, 0.7) - 0.3).abs() < 1e-12 && (next(0.2, 0.5) - 0.1).abs() < 1e-12);
        assert_eq!((next(0.95, 1.0), next(0.05, -1.0)), (1.0, 0.0));
    }
}
