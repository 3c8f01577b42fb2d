//! Generators: networks from latent vectors to images.

use crate::backend::{Backend, Mode};
use crate::config::{FeatureShape, GeneratorConfig};
use crate::error::{Error, Result};
use crate::network::{LayerSummary, Network, Tape, plan};
use crate::one_hot::one_hot;
use crate::parameters::Parameters;
use crate::saved;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use rand::RngCore;
use std::path::Path;

/// A network from latent vectors z, and class labels if it is class-conditional, to images in
/// [-1, 1].
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    network: Network,
    device: Device,
}

impl GeneratorConfig {
    /// The layers of the network, in order, without building it: shapes and numbers of parameters.
    ///
    /// # Errors
    /// As [`plan`]; layers that do not end in the image; a conditional generator without classes.
    pub fn summary(&self) -> Result<Vec<LayerSummary>> {
        if self.latent_dim == 0 || self.image.is_empty() {
            return Err(Error::Config(format!(
                "a generator needs latent vectors and images of at least one value, not \
                 latent_dim {} and {:?}",
                self.latent_dim, self.image
            )));
        }
        if self.conditional && self.classes.is_empty() {
            return Err(Error::Config("a conditional generator needs classes".to_string()));
        }
        let input = FeatureShape::vector(self.input_len());
        let layers = plan(input, &self.layers)?;
        let output = layers.last().map_or(input, |layer| layer.output);
        if output != self.image {
            return Err(Error::Config(format!(
                "the generator's layers end in {output:?}, not in its image, {:?}",
                self.image
            )));
        }
        Ok(layers)
    }
}

impl Generator {
    /// Builds the network with weights from `vars`.
    ///
    /// # Errors
    /// A configuration whose layers do not fit each other or do not end in the image; missing
    /// weights.
    pub fn new(config: GeneratorConfig, vars: VarBuilder) -> Result<Self> {
        config.summary()?;
        let input = FeatureShape::vector(config.input_len());
        let network = Network::new(input, &config.layers, config.init, &vars)?;
        let device = vars.device().clone();
        Ok(Self { config, network, device })
    }

    /// Loads a generator for inference from a directory that [`Generator::save`] wrote. On the CPU the
    /// weights are packed once, at the first images.
    ///
    /// # Errors
    /// A missing or damaged file; weights that do not match the configuration, naming the first
    /// tensor that differs and both shapes.
    pub fn load(directory: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let generator = saved::load(directory.as_ref(), device, Self::new)?;
        Ok(Self { network: generator.network.with_fixed_weights()?, ..generator })
    }

    /// Loads a generator for fine-tuning, with its weights as trainable parameters.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn load_trainable(
        directory: impl AsRef<Path>,
        device: &Device,
    ) -> Result<(Self, Parameters)> {
        saved::load_trainable(directory.as_ref(), device, Self::new)
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
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// The layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same generator run by another backend.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { network: self.network.with_backend(backend), ..self }
    }

    /// The same generator with weights that receive no gradient.
    pub fn detached(&self) -> Self {
        Self { network: self.network.detached(), ..self.clone() }
    }

    /// Draws latent vectors z from the configured distribution.
    ///
    /// # Shapes
    /// Result: (B, latent dim).
    /// # Errors
    /// Failures of the device.
    pub fn sample_latents(&self, batch: usize, rng: &mut dyn RngCore) -> Result<Tensor> {
        self.config.latent().sample(batch, rng, &self.device)
    }

    /// Builds the network's input: the latent vectors, followed by the one-hot classes if the
    /// generator is class-conditional. Other generators ignore the labels.
    ///
    /// # Shapes
    /// `latents`: (B, latent dim); `labels`: B; result: (B, [`GeneratorConfig::input_len`]).
    /// # Errors
    /// Latents of another shape; a number of labels other than B, or labels beyond the classes.
    pub fn input(&self, latents: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let batch = check_vectors("the latents", latents, self.config.latent_dim)?;
        if !self.config.conditional {
            return Ok(latents.clone());
        }
        let classes = one_hot(labels, batch, self.config.classes.len(), &self.device)?;
        Ok(Tensor::cat(&[latents, &classes], 1)?)
    }

    /// Forward pass, differentiable by candle's autograd.
    ///
    /// # Shapes
    /// `input`: (B, [`GeneratorConfig::input_len`]), from [`Generator::input`]; result:
    /// (B, C, H, W).
    /// # Range
    /// The images are in [-1, 1].
    /// # Errors
    /// An input of another shape.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Result<Tensor> {
        self.network.forward(&self.as_image(input)?, mode)
    }

    /// The outputs of the first layer with weights, normalisation and activation included, in
    /// evaluation mode.
    ///
    /// # Shapes
    /// `input`: as [`Generator::forward`]; result: (B, values).
    /// # Errors
    /// An input of another shape.
    pub(crate) fn first_features(&self, input: &Tensor) -> Result<Tensor> {
        self.network.first_features(&self.as_image(input)?)
    }

    /// The device of the weights.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Training pass: images and the tape of the backward pass. See [`Network::forward_train`].
    ///
    /// # Shapes
    /// As [`Generator::forward`].
    /// # Errors
    /// An input of another shape.
    pub fn forward_train(&self, input: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        self.network.forward_train(&self.as_image(input)?, rng)
    }

    /// The input vectors as images of one pixel.
    fn as_image(&self, input: &Tensor) -> Result<Tensor> {
        let length = self.config.input_len();
        let batch = check_vectors("the generator's input", input, length)?;
        Ok(input.reshape((batch, length, 1, 1))?)
    }

    /// Generates images from new latent vectors. A class-conditional generator generates all
    /// classes in turn.
    ///
    /// # Shapes
    /// Result: (B, C, H, W).
    /// # Range
    /// The images are in [-1, 1].
    /// # Errors
    /// Failures of the device.
    pub fn sample(&self, batch: usize, rng: &mut dyn RngCore) -> Result<Tensor> {
        let classes = self.config.classes.len().max(1);
        let labels: Vec<u32> = (0..batch).map(|i| (i % classes) as u32).collect();
        self.sample_classes(&labels, rng)
    }

    /// Generates one image of each label's class from new latent vectors.
    ///
    /// # Shapes
    /// `labels`: B; result: (B, C, H, W).
    /// # Range
    /// The images are in [-1, 1].
    /// # Errors
    /// A label beyond the classes; failures of the device.
    pub fn sample_classes(&self, labels: &[u32], rng: &mut dyn RngCore) -> Result<Tensor> {
        let latents = self.sample_latents(labels.len(), rng)?;
        self.forward(&self.input(&latents, labels)?, Mode::Eval)
    }
}

/// The forward pass in evaluation mode, on the result of [`Generator::input`]: the latent vectors z
/// of an unconditional generator.
impl candle_core::Module for Generator {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.forward(input, Mode::Eval)?)
    }
}

/// Checks that a tensor has the shape (B, length) and returns B.
fn check_vectors(what: &str, tensor: &Tensor, length: usize) -> Result<usize> {
    match *tensor.dims() {
        [batch, values] if values == length => Ok(batch),
        _ => Err(Error::Shape {
            tensor: what.to_string(),
            found: tensor.dims().to_vec(),
            expected: format!("[B, {length}]"),
        }),
    }
}
