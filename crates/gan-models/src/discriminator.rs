//! Discriminators: from pictures to one logit each.

use crate::classes::one_hot;
use crate::config::{ClassCondition, Conditioning, DiscriminatorConfig, Shape};
use crate::error::{Error, Result};
use crate::network::{Gradients, Network, Tape};
use crate::stage::{Backend, Pass};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use gan_kernels::GradMask;
use rand::RngCore;

/// A network from pictures, and their classes where it tells these apart, to logits: positive for
/// real, negative for fake.
#[derive(Clone, Debug)]
pub struct Discriminator {
    network: Network,
    image: Shape,
    condition: Option<ClassCondition>,
}

impl Discriminator {
    /// Builds the network with weights from `vars`.
    ///
    /// # Errors
    /// A configuration whose layers do not fit, or do not end in one value (by projection: one for
    /// each class and one more); missing weights.
    pub fn new(config: &DiscriminatorConfig, vars: VarBuilder) -> Result<Self> {
        let DiscriminatorConfig { image, condition, .. } = *config;
        let logits = condition.map_or(1, ClassCondition::outputs);
        let input = match condition {
            Some(ClassCondition { classes, by: Conditioning::Concatenation }) => {
                Shape { channels: image.channels + classes, ..image }
            }
            _ => image,
        };
        let network = Network::new(input, &config.layers, config.init, &vars)?;
        if network.output() != Shape::vector(logits) {
            return Err(Error::Config(format!(
                "the discriminator's layers end in {:?}, not in {logits} value{}",
                network.output(),
                if logits == 1 { "" } else { "s" }
            )));
        }
        Ok(Self { network, image, condition })
    }

    /// Its layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same discriminator run by another backend.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { network: self.network.with_backend(backend), ..self }
    }

    /// The same discriminator with weights that no gradient reaches.
    pub fn detached(&self) -> Self {
        Self { network: self.network.detached(), ..self.clone() }
    }

    /// Pictures (B, C, H, W) in [-1, 1] to logits (B). Where it tells classes apart, `labels` are
    /// those of the B pictures; else they are not looked at.
    ///
    /// # Errors
    /// Pictures of another shape; labels that are not B or beyond the classes.
    pub fn forward(&self, images: &Tensor, labels: &[u32], pass: Pass) -> Result<Tensor> {
        let (input, chosen) = self.enter(images, labels)?;
        leave(&self.network.forward(&input, pass)?, chosen.as_ref())
    }

    /// A training pass, as [`Network::record`], with arguments and logits as those of
    /// [`Discriminator::forward`].
    ///
    /// # Errors
    /// As [`Discriminator::forward`].
    pub fn record(
        &self,
        images: &Tensor,
        labels: &[u32],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Judging)> {
        let (input, chosen) = self.enter(images, labels)?;
        let (output, tape) = self.network.record(&input, rng)?;
        let logits = leave(&output, chosen.as_ref())?;
        Ok((logits, Judging { tape, chosen, channels: self.image.channels }))
    }

    /// The network's input, and for each picture which of the output's values count.
    fn enter(&self, images: &Tensor, labels: &[u32]) -> Result<(Tensor, Option<Tensor>)> {
        let (batch, channels, height, width) = images.dims4()?;
        if Shape::from((channels, height, width)) != self.image {
            return Err(Error::Config(format!(
                "the discriminator judges pictures of {:?}, not {:?}",
                self.image,
                images.dims()
            )));
        }
        let Some(ClassCondition { classes, by }) = self.condition else {
            return Ok((images.clone(), None));
        };
        let chosen = one_hot(labels, batch, classes, images.device())?;
        Ok(match by {
            Conditioning::Projection => {
                let all = Tensor::ones((batch, 1), chosen.dtype(), images.device())?;
                (images.clone(), Some(Tensor::cat(&[&chosen, &all], 1)?))
            }
            Conditioning::Concatenation => {
                let planes = chosen.reshape((batch, classes, 1, 1))?;
                let planes = planes.broadcast_as((batch, classes, height, width))?;
                (Tensor::cat(&[images, &planes.contiguous()?], 1)?, None)
            }
        })
    }
}

/// The output (B, K, 1, 1) as logits (B): the sum of the chosen of K values, or the only one.
fn leave(output: &Tensor, chosen: Option<&Tensor>) -> Result<Tensor> {
    Ok(match chosen {
        Some(chosen) => (output.flatten_from(1)? * chosen)?.sum(1)?,
        None => output.reshape(output.dim(0)?)?,
    })
}

/// A recorded training pass of a [`Discriminator`]. The backward pass must come before the
/// parameters are updated.
pub struct Judging {
    tape: Tape,
    chosen: Option<Tensor>,
    /// Channels of the pictures, which those of their classes may follow.
    channels: usize,
}

impl Judging {
    /// Gradients of the pictures (B, C, H, W) and of the parameters, those wanted, given that of
    /// the logits (B).
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(
        &self,
        gradient: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Gradients)> {
        let gradient = gradient.reshape((gradient.dim(0)?, 1))?;
        let gradient = match &self.chosen {
            Some(chosen) => chosen.broadcast_mul(&gradient)?,
            None => gradient,
        };
        let (batch, logits) = gradient.dims2()?;
        let gradient = gradient.reshape((batch, logits, 1, 1))?;
        let (at_input, gradients) = self.tape.backward(&gradient, wants)?;
        let at_pictures = at_input.map(|gradient| gradient.narrow(1, 0, self.channels));
        Ok((at_pictures.transpose()?, gradients))
    }
}
