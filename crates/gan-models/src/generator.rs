//! Generators: from noise to pictures.

use crate::classes::one_hot;
use crate::config::{GeneratorConfig, Noise, Shape};
use crate::error::{Error, Result};
use crate::network::{Network, Tape};
use crate::parameters::{Parameters, truncated_normal};
use crate::stage::{Backend, Pass};
use crate::weights;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use std::path::Path;

/// Name of a generator's configuration in its folder.
pub const CONFIG_FILE: &str = "config.json";
/// Name of a generator's weights in its folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// A network from noise, and a class where that can be chosen, to pictures in [-1, 1].
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    network: Network,
    device: Device,
}

impl Generator {
    /// Builds the network with weights from `vars`.
    ///
    /// # Errors
    /// A configuration whose layers do not fit, or do not end in the picture; missing weights.
    pub fn new(config: GeneratorConfig, vars: VarBuilder) -> Result<Self> {
        if config.latent_dim == 0 || config.image.is_empty() {
            return Err(Error::Config(format!(
                "a generator needs noise and pictures of at least one value, not latent_dim {} and \
                 {:?}",
                config.latent_dim, config.image
            )));
        }
        if config.conditional && config.classes.is_empty() {
            return Err(Error::Config("a conditional generator needs classes".to_string()));
        }
        let input = Shape::vector(config.input_len());
        let network = Network::new(input, &config.layers, config.init, &vars)?;
        if network.output() != config.image {
            return Err(Error::Config(format!(
                "the generator's layers end in {:?}, not in its picture, {:?}",
                network.output(),
                config.image
            )));
        }
        let device = vars.device().clone();
        Ok(Self { config, network, device })
    }

    /// Reads a folder that [`Generator::save`] wrote.
    ///
    /// # Errors
    /// A missing or damaged file; weights that are not those of the configuration, naming the
    /// first tensor that differs.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG_FILE);
        let text =
            std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let config: GeneratorConfig =
            serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
        // Built once on fresh weights only to learn which there must be.
        let (_, expected) =
            Parameters::fresh(0, &Device::Cpu, |vars| Self::new(config.clone(), vars))?;
        let tensors = weights::load(&folder.join(WEIGHTS_FILE), &expected, device)?;
        let vars = VarBuilder::from_tensors(tensors, candle_core::DType::F32, device);
        Self::new(config, vars)
    }

    /// Writes `config.json` and `model.safetensors` into a folder, which is made if missing; each
    /// file appears whole or not at all.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn save(&self, parameters: &Parameters, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Io { path: folder.into(), source })?;
        weights::save(&folder.join(WEIGHTS_FILE), parameters)?;
        let path = folder.join(CONFIG_FILE);
        let mut text = serde_json::to_vec_pretty(&self.config)
            .map_err(|source| Error::Json { path: path.clone(), source })?;
        text.push(b'\n');
        weights::write_whole(&path, &text)
    }

    /// What the generator is.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// Its layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same generator run by another backend.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { network: self.network.with_backend(backend), ..self }
    }

    /// The same generator with weights that no gradient reaches.
    pub fn detached(&self) -> Self {
        Self { network: self.network.detached(), ..self.clone() }
    }

    /// Draws noise, (B, latent dim), as [`GeneratorConfig::noise`] says.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn noise(&self, batch: usize, rng: &mut dyn RngCore) -> Result<Tensor> {
        let count = batch * self.config.latent_dim;
        let draw = |_| match self.config.noise {
            Noise::Normal => rng.sample(StandardNormal),
            Noise::TruncatedNormal => truncated_normal(rng),
        };
        let values: Vec<f32> = (0..count).map(draw).collect();
        Ok(Tensor::from_vec(values, (batch, self.config.latent_dim), &self.device)?)
    }

    /// What pictures are made from: noise, (B, latent dim), and where the class can be chosen, B
    /// labels, which are else not looked at.
    ///
    /// # Shapes
    /// Result: (B, [`GeneratorConfig::input_len`]).
    /// # Errors
    /// Labels that are not B or beyond the classes.
    pub fn input(&self, noise: &Tensor, labels: &[u32]) -> Result<Tensor> {
        if !self.config.conditional {
            return Ok(noise.clone());
        }
        let classes = one_hot(labels, noise.dim(0)?, self.config.classes.len(), &self.device)?;
        Ok(Tensor::cat(&[noise, &classes], 1)?)
    }

    /// [`Generator::input`] to pictures (B, C, H, W) in [-1, 1].
    ///
    /// # Errors
    /// An input of another length.
    pub fn forward(&self, input: &Tensor, pass: Pass) -> Result<Tensor> {
        let (batch, values) = input.dims2()?;
        self.network.forward(&input.reshape((batch, values, 1, 1))?, pass)
    }

    /// [`Network::record`] on [`Generator::input`].
    ///
    /// # Errors
    /// An input of another length.
    pub fn record(&self, input: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        let (batch, values) = input.dims2()?;
        self.network.record(&input.reshape((batch, values, 1, 1))?, rng)
    }

    /// New pictures, (B, C, H, W) in [-1, 1], from fresh noise; where the class can be chosen, all
    /// classes in turn.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn sample(&self, batch: usize, rng: &mut dyn RngCore) -> Result<Tensor> {
        let classes = self.config.classes.len().max(1);
        let labels: Vec<u32> = (0..batch).map(|i| (i % classes) as u32).collect();
        self.sample_classes(&labels, rng)
    }

    /// New pictures, one of each label's class, (B, C, H, W) in [-1, 1], from fresh noise.
    ///
    /// # Errors
    /// A label beyond the classes; failures of the device.
    pub fn sample_classes(&self, labels: &[u32], rng: &mut dyn RngCore) -> Result<Tensor> {
        let noise = self.noise(labels.len(), rng)?;
        self.forward(&self.input(&noise, labels)?, Pass::Infer)
    }
}
