//! Discriminators: networks from images to one logit each.

use crate::backend::{Backend, Mode};
use crate::config::{ClassCondition, Conditioning, DiscriminatorConfig, FeatureShape};
use crate::error::{Error, Result};
use crate::network::{Gradients, LayerSummary, Network, Tape, plan};
use crate::one_hot::one_hot;
use crate::parameters::Parameters;
use crate::saved;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use gan_kernels::GradMask;
use rand::RngCore;
use std::path::Path;

/// A network from images, and their classes if it is class-conditional, to logits: positive for
/// real, negative for fake.
#[derive(Clone, Debug)]
pub struct Discriminator {
    config: DiscriminatorConfig,
    network: Network,
}

impl DiscriminatorConfig {
    /// The layers of the network, in order, without building it: shapes and numbers of parameters.
    ///
    /// # Errors
    /// As [`plan`]; layers that do not end in one value (with projection: one for each class and one
    /// more).
    pub fn summary(&self) -> Result<Vec<LayerSummary>> {
        let logits = self.condition.map_or(1, ClassCondition::outputs);
        let layers = plan(self.input(), &self.layers)?;
        let output = layers.last().map_or(self.input(), |layer| layer.output);
        if output != FeatureShape::vector(logits) {
            return Err(Error::Config(format!(
                "the discriminator's layers end in {output:?}, not in {logits} value{}",
                if logits == 1 { "" } else { "s" }
            )));
        }
        Ok(layers)
    }

    /// The shape of the network's input: the image, and the channels of its class.
    fn input(&self) -> FeatureShape {
        match self.condition {
            Some(ClassCondition { classes, by: Conditioning::Concatenation }) => {
                let channels = self.image.channels.saturating_add(classes);
                FeatureShape { channels, ..self.image }
            }
            _ => self.image,
        }
    }
}

impl Discriminator {
    /// Builds the network with weights from `vars`.
    ///
    /// # Errors
    /// A configuration whose layers do not fit each other, or do not end in one value (with
    /// projection: one for each class and one more); missing weights.
    pub fn new(config: &DiscriminatorConfig, vars: VarBuilder) -> Result<Self> {
        config.summary()?;
        let network = Network::new(config.input(), &config.layers, config.init, &vars)?;
        Ok(Self { config: config.clone(), network })
    }

    /// Loads a discriminator for inference from a directory that [`Discriminator::save`] wrote.
    ///
    /// # Errors
    /// A missing or damaged file; weights that do not match the configuration, naming the first
    /// tensor that differs and both shapes.
    pub fn load(directory: impl AsRef<Path>, device: &Device) -> Result<Self> {
        saved::load(directory.as_ref(), device, |config, vars| Self::new(&config, vars))
    }

    /// Loads a discriminator for further training, with its weights as trainable parameters.
    ///
    /// # Errors
    /// As [`Discriminator::load`].
    pub fn load_trainable(
        directory: impl AsRef<Path>,
        device: &Device,
    ) -> Result<(Self, Parameters)> {
        saved::load_trainable(directory.as_ref(), device, |config, vars| Self::new(&config, vars))
    }

    /// Writes `config.json` and `model.safetensors` into a directory, which is created if it is
    /// missing, if the one that it is in exists. Each file appears whole or not at all.
    ///
    /// # Errors
    /// A directory or file that cannot be written.
    pub fn save(&self, parameters: &Parameters, directory: impl AsRef<Path>) -> Result<()> {
        saved::save(directory.as_ref(), &self.config, parameters)
    }

    /// The configuration.
    pub fn config(&self) -> &DiscriminatorConfig {
        &self.config
    }

    /// The layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same discriminator run by another backend.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { network: self.network.with_backend(backend), ..self }
    }

    /// The same discriminator with weights that receive no gradient.
    pub fn detached(&self) -> Self {
        Self { network: self.network.detached(), ..self.clone() }
    }

    /// Forward pass, differentiable by candle's autograd. An unconditional discriminator ignores
    /// the labels.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W); `labels`: B; result: (B).
    /// # Range
    /// The images are in [-1, 1].
    /// # Errors
    /// Images of another shape; a number of labels other than B, or labels beyond the classes.
    pub fn forward(&self, images: &Tensor, labels: &[u32], mode: Mode) -> Result<Tensor> {
        let (input, selection) = self.to_input(images, labels)?;
        to_logits(&self.network.forward(&input, mode)?, selection.as_ref())
    }

    /// Training pass: logits and the tape of the backward pass. See [`Network::forward_train`].
    ///
    /// # Shapes
    /// As [`Discriminator::forward`].
    /// # Errors
    /// As [`Discriminator::forward`].
    pub fn forward_train(
        &self,
        images: &Tensor,
        labels: &[u32],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, DiscriminatorTape)> {
        let (input, selection) = self.to_input(images, labels)?;
        let (output, tape) = self.network.forward_train(&input, rng)?;
        let logits = to_logits(&output, selection.as_ref())?;
        let channels = self.config.image.channels;
        Ok((logits, DiscriminatorTape { tape, selection, channels }))
    }

    /// The network's input, and with projection a mask (B, outputs) of the outputs that add up to
    /// each image's logit.
    fn to_input(&self, images: &Tensor, labels: &[u32]) -> Result<(Tensor, Option<Tensor>)> {
        let FeatureShape { channels, height, width } = self.config.image;
        let batch = match *images.dims() {
            [batch, c, h, w] if (c, h, w) == (channels, height, width) => batch,
            _ => {
                return Err(Error::Shape {
                    tensor: "the discriminator's batch of images".to_string(),
                    found: images.dims().to_vec(),
                    expected: format!("[B, {channels}, {height}, {width}]"),
                });
            }
        };
        let Some(ClassCondition { classes, by }) = self.config.condition else {
            return Ok((images.clone(), None));
        };
        let classes_one_hot = one_hot(labels, batch, classes, images.device())?;
        Ok(match by {
            Conditioning::Projection => {
                let shared = Tensor::ones((batch, 1), classes_one_hot.dtype(), images.device())?;
                (images.clone(), Some(Tensor::cat(&[&classes_one_hot, &shared], 1)?))
            }
            Conditioning::Concatenation => {
                let planes = classes_one_hot.reshape((batch, classes, 1, 1))?;
                let planes = planes.broadcast_as((batch, classes, height, width))?;
                (Tensor::cat(&[images, &planes.contiguous()?], 1)?, None)
            }
        })
    }
}

/// Converts the output (B, K, 1, 1) to logits (B): the sum of the selected of K values, or the only
/// one.
fn to_logits(output: &Tensor, selection: Option<&Tensor>) -> Result<Tensor> {
    Ok(match selection {
        Some(selection) => (output.flatten_from(1)? * selection)?.sum(1)?,
        None => output.reshape(output.dim(0)?)?,
    })
}

/// The forward pass of an unconditional discriminator in evaluation mode: (B, C, H, W) to (B).
impl candle_core::Module for Discriminator {
    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.forward(images, &[], Mode::Eval)?)
    }
}

/// The saved activations of a discriminator's training pass. Call [`DiscriminatorTape::backward`]
/// before the parameters are updated.
pub struct DiscriminatorTape {
    tape: Tape,
    selection: Option<Tensor>,
    /// Channels of the images, without those of the classes.
    channels: usize,
}

impl DiscriminatorTape {
    /// Backward pass: the gradients of the images and of the trainable parameters, as far as `wants`
    /// asks for them, given the gradient of the logits.
    ///
    /// # Shapes
    /// `grad`: (B); the images' gradient: (B, C, H, W).
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, grad: &Tensor, wants: GradMask) -> Result<(Option<Tensor>, Gradients)> {
        let grad = grad.reshape((grad.dim(0)?, 1))?;
        let grad = match &self.selection {
            Some(selection) => selection.broadcast_mul(&grad)?,
            None => grad,
        };
        let (batch, outputs) = grad.dims2()?;
        let (grad_input, gradients) =
            self.tape.backward(&grad.reshape((batch, outputs, 1, 1))?, wants)?;
        let grad_images = grad_input.map(|grad| grad.narrow(1, 0, self.channels));
        Ok((grad_images.transpose()?, gradients))
    }
}
