//! Discriminators: from pictures to one logit.

use crate::config::{DiscriminatorConfig, Shape};
use crate::error::{Error, Result};
use crate::network::{Network, Tape};
use crate::stage::{Backend, Pass};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use rand::RngCore;

/// A network from pictures to logits: positive for real, negative for fake.
#[derive(Clone, Debug)]
pub struct Discriminator {
    network: Network,
}

impl Discriminator {
    /// Builds the network with weights from `vars`.
    ///
    /// # Errors
    /// A configuration whose layers do not fit, or do not end in one value; missing weights.
    pub fn new(config: &DiscriminatorConfig, vars: VarBuilder) -> Result<Self> {
        let network = Network::new(config.image, &config.layers, config.init, &vars)?;
        if network.output() != Shape::vector(1) {
            return Err(Error::Config(format!(
                "the discriminator's layers end in {:?}, not in one value",
                network.output()
            )));
        }
        Ok(Self { network })
    }

    /// Its layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same discriminator run by another backend.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { network: self.network.with_backend(backend) }
    }

    /// The same discriminator with weights that no gradient reaches.
    pub fn detached(&self) -> Self {
        Self { network: self.network.detached() }
    }

    /// Pictures (B, C, H, W) in [-1, 1] to logits (B).
    ///
    /// # Errors
    /// Pictures of another shape.
    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor> {
        let batch = images.dim(0)?;
        Ok(self.network.forward(images, pass)?.reshape(batch)?)
    }

    /// [`Network::record`] with logits (B) as its output; the gradient that its tape takes is
    /// (B, 1, 1, 1).
    ///
    /// # Errors
    /// Pictures of another shape.
    pub fn record(&self, images: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        let (logits, tape) = self.network.record(images, rng)?;
        Ok((logits.reshape(images.dim(0)?)?, tape))
    }
}
