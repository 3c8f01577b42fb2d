//! Latent vectors, the input of generators.

use crate::config::{GeneratorConfig, LatentDistribution};
use crate::error::Result;
use crate::parameters::truncated_normal;
use candle_core::{Device, Tensor};
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;

/// The latent vectors z of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latent {
    /// Values of a vector.
    pub dim: usize,
    /// The distribution of each value.
    pub distribution: LatentDistribution,
}

impl Latent {
    /// Draws latent vectors.
    ///
    /// # Shapes
    /// Result: (`batch`, `dim`), f32.
    /// # Errors
    /// Failures of the device.
    pub fn sample(self, batch: usize, rng: &mut dyn RngCore, device: &Device) -> Result<Tensor> {
        let draw = |_| match self.distribution {
            LatentDistribution::Normal => rng.sample(StandardNormal),
            LatentDistribution::TruncatedNormal => truncated_normal(rng),
        };
        let values: Vec<f32> = (0..batch * self.dim).map(draw).collect();
        Ok(Tensor::from_vec(values, (batch, self.dim), device)?)
    }
}

impl GeneratorConfig {
    /// The latent vectors that the generator takes.
    pub fn latent(&self) -> Latent {
        Latent { dim: self.latent_dim, distribution: self.latent_distribution }
    }
}
