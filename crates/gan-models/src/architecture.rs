//! Architectures: a few numbers from which both networks' lists of layers are made.

use crate::config::{
    Activation, ClassCondition, DiscriminatorConfig, FeatureShape, GeneratorConfig,
    LatentDistribution, Layer, Momentum, WeightInit,
};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The architecture of a generator and a discriminator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Architecture {
    /// Dense networks.
    Mlp(Mlp),
    /// Convolutional networks.
    Dcgan(Dcgan),
    /// Explicit lists of layers, for images of one size.
    #[serde(alias = "layers")]
    Custom(Custom),
}

/// The normalisation of hidden layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Norm {
    /// None.
    #[default]
    None,
    /// Batch normalisation.
    Batch {
        /// Added to the variance before the square root.
        epsilon: f32,
        /// Weight of a batch in each update of the running statistics.
        momentum: Momentum,
    },
}

impl Norm {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    fn layer(self) -> Option<Layer> {
        match self {
            Self::None => None,
            Self::Batch { epsilon, momentum } => {
                Some(Layer::BatchNorm { epsilon, momentum, per_channel: false })
            }
        }
    }
}

/// Dense networks, as in Goodfellow et al. 2014, "Generative adversarial networks".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Mlp {
    /// Length of the latent vector z.
    pub latent_dim: usize,
    /// Initialisation of the weights.
    pub init: WeightInit,
    /// Hidden layers of the generator. The output layer, with tanh, is added.
    pub generator: DenseStack,
    /// Hidden layers of the discriminator. The output layer is added.
    pub discriminator: DenseStack,
}

/// Hidden layers of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DenseStack {
    /// Number of units of each hidden layer.
    pub units: Vec<usize>,
    /// Activation of each hidden layer.
    pub activation: Activation,
    /// Normalisation after each activation.
    #[serde(default, skip_serializing_if = "Norm::is_none")]
    pub norm: Norm,
    /// Dropout probability after each hidden layer. Layers beyond the end of the list have none.
    #[serde(default)]
    pub dropout: Vec<f32>,
}

/// Convolutional networks, after Radford et al. 2016, "Unsupervised representation learning with
/// deep convolutional generative adversarial networks".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Dcgan {
    /// Length of the latent vector z.
    pub latent_dim: usize,
    /// Initialisation of the weights.
    pub init: WeightInit,
    /// The generator: a projection to the first number of channels, transposed convolutions to
    /// each further number, and one to the image, with tanh.
    pub generator: ConvStack,
    /// The discriminator: convolutions to each number of channels, then a dense layer.
    pub discriminator: ConvStack,
}

/// The layers of one network of a [`Dcgan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConvStack {
    /// Channels, one number for each stride.
    pub channels: Vec<usize>,
    /// Strides of the convolutions.
    pub strides: Vec<usize>,
    /// Kernel height and width.
    pub kernel: usize,
    /// Normalisation after each layer but the last. Layers without it have a bias.
    pub norm: Norm,
    /// Activation after the normalisation.
    pub activation: Activation,
    /// Dropout probability after the activation.
    #[serde(default)]
    pub dropout: f32,
}

/// Networks as lists of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Custom {
    /// Length of the latent vector z.
    pub latent_dim: usize,
    /// Distribution of the latent vectors.
    #[serde(default, alias = "noise")]
    pub latent_distribution: LatentDistribution,
    /// Initialisation of the weights.
    pub init: WeightInit,
    /// Layers of the generator.
    pub generator: Vec<Layer>,
    /// Layers of the discriminator. The dense output layer is added.
    pub discriminator: Vec<Layer>,
}

impl Mlp {
    /// Dense networks of these hidden layers.
    pub fn new(
        latent_dim: usize,
        init: WeightInit,
        generator: DenseStack,
        discriminator: DenseStack,
    ) -> Self {
        Self { latent_dim, init, generator, discriminator }
    }
}

impl DenseStack {
    /// Hidden layers without normalisation and dropout. The fields are public for other choices.
    pub fn new(units: Vec<usize>, activation: Activation) -> Self {
        Self { units, activation, norm: Norm::None, dropout: Vec::new() }
    }
}

impl Dcgan {
    /// Convolutional networks of these layers.
    pub fn new(
        latent_dim: usize,
        init: WeightInit,
        generator: ConvStack,
        discriminator: ConvStack,
    ) -> Self {
        Self { latent_dim, init, generator, discriminator }
    }
}

impl ConvStack {
    /// Layers without normalisation and dropout. The fields are public for other choices.
    pub fn new(
        channels: Vec<usize>,
        strides: Vec<usize>,
        kernel: usize,
        activation: Activation,
    ) -> Self {
        Self { channels, strides, kernel, norm: Norm::None, activation, dropout: 0.0 }
    }
}

impl Custom {
    /// Networks of these layers, with standard normal latent vectors.
    pub fn new(
        latent_dim: usize,
        init: WeightInit,
        generator: Vec<Layer>,
        discriminator: Vec<Layer>,
    ) -> Self {
        let latent_distribution = LatentDistribution::Normal;
        Self { latent_dim, latent_distribution, init, generator, discriminator }
    }
}

impl Architecture {
    /// The configuration of a generator of images of this shape and these classes,
    /// class-conditional if `conditional`.
    ///
    /// # Errors
    /// [`Error::Config`] if the architecture does not fit images of this shape.
    pub fn generator(
        &self,
        image: FeatureShape,
        classes: Vec<String>,
        conditional: bool,
    ) -> Result<GeneratorConfig> {
        let mut latent_distribution = LatentDistribution::Normal;
        let (latent_dim, init, layers) = match self {
            Self::Mlp(mlp) => (mlp.latent_dim, mlp.init, mlp.generator.generator(image)?),
            Self::Dcgan(dcgan) => {
                let stack = dcgan.generator.scaled(image, Deep::First);
                (dcgan.latent_dim, dcgan.init, stack.generator(image)?)
            }
            Self::Custom(custom) => {
                latent_distribution = custom.latent_distribution;
                (custom.latent_dim, custom.init, custom.generator.clone())
            }
        };
        Ok(GeneratorConfig {
            latent_dim,
            latent_distribution,
            image,
            layers,
            init,
            classes,
            conditional,
        })
    }

    /// The configuration of a discriminator of images of this shape, conditioned on their classes
    /// if there is a `condition`.
    ///
    /// # Errors
    /// [`Error::Config`] if the numbers of channels and strides differ.
    pub fn discriminator(
        &self,
        image: FeatureShape,
        condition: Option<ClassCondition>,
    ) -> Result<DiscriminatorConfig> {
        let (init, mut layers) = match self {
            Self::Mlp(mlp) => (mlp.init, mlp.discriminator.hidden()?),
            Self::Dcgan(dcgan) => {
                let stack = dcgan.discriminator.scaled(image, Deep::Last);
                (dcgan.init, stack.discriminator()?)
            }
            Self::Custom(custom) => (custom.init, custom.discriminator.clone()),
        };
        let units = condition.map_or(1, ClassCondition::outputs);
        layers.push(Layer::Dense { units, bias: true });
        Ok(DiscriminatorConfig { image, layers, init, condition })
    }
}

impl DenseStack {
    fn hidden(&self) -> Result<Vec<Layer>> {
        if self.dropout.len() > self.units.len() {
            return Err(Error::Config(format!(
                "{} values of dropout for {} hidden layers",
                self.dropout.len(),
                self.units.len()
            )));
        }
        let mut layers = Vec::new();
        for (i, &units) in self.units.iter().enumerate() {
            layers.push(Layer::Dense { units, bias: true });
            layers.push(Layer::Activation(self.activation));
            layers.extend(self.norm.layer());
            match self.dropout.get(i) {
                Some(&probability) if probability != 0.0 => {
                    layers.push(Layer::Dropout(probability));
                }
                _ => {}
            }
        }
        Ok(layers)
    }

    fn generator(&self, image: FeatureShape) -> Result<Vec<Layer>> {
        let mut layers = self.hidden()?;
        layers.push(Layer::Project { to: image, bias: true });
        layers.push(Layer::Activation(Activation::Tanh));
        Ok(layers)
    }
}

/// Largest side, in pixels, of images for which a [`ConvStack`] is used as configured.
const MAX_UNSCALED_SIDE: usize = 32;

/// The end of a [`ConvStack`] that is farthest from the image.
#[derive(Clone, Copy)]
enum Deep {
    First,
    Last,
}

impl ConvStack {
    /// The stack for images of this size. For each doubling beyond 32 pixels, a stride of 1 becomes
    /// 2; if no stride is 1, a layer with stride 2 and twice the channels is added at the deep end.
    fn scaled(&self, image: FeatureShape, deep: Deep) -> Self {
        let mut stack = self.clone();
        let mut size = image.height.max(image.width);
        while size > MAX_UNSCALED_SIDE && !stack.channels.is_empty() {
            size = size.div_ceil(2);
            if let Some(stride) = stack.strides.iter_mut().find(|stride| **stride == 1) {
                *stride = 2;
                continue;
            }
            let at = match deep {
                Deep::First => 0,
                Deep::Last => stack.channels.len(),
            };
            let channels = stack.channels[at.saturating_sub(1)].saturating_mul(2);
            stack.channels.insert(at, channels);
            stack.strides.insert(at.min(stack.strides.len()), 2);
        }
        stack
    }

    fn check(&self) -> Result<()> {
        if self.channels.is_empty() || self.channels.len() != self.strides.len() {
            return Err(Error::Config(format!(
                "{} channels for {} strides: give one number of channels for each stride, at \
                 least one",
                self.channels.len(),
                self.strides.len()
            )));
        }
        Ok(())
    }

    /// Adds the layers that follow a linear map.
    fn add_epilogue(&self, layers: &mut Vec<Layer>) {
        layers.extend(self.norm.layer());
        layers.push(Layer::Activation(self.activation));
        if self.dropout != 0.0 {
            layers.push(Layer::Dropout(self.dropout));
        }
    }

    fn generator(&self, image: FeatureShape) -> Result<Vec<Layer>> {
        self.check()?;
        let factor = self.strides.iter().fold(1, |all: usize, &by| all.saturating_mul(by)).max(1);
        if !image.height.is_multiple_of(factor) || !image.width.is_multiple_of(factor) {
            let near = |side: usize| match side / factor * factor {
                0 => format!("{factor}"),
                below if below == side => format!("{side}"),
                below => format!("{below} or {}", below.saturating_add(factor)),
            };
            return Err(Error::Config(format!(
                "images of {}x{} pixels: the strides {:?} enlarge by {factor}, which must divide \
                 height and width; a width of {} and a height of {} would do",
                image.width,
                image.height,
                self.strides,
                near(image.width),
                near(image.height)
            )));
        }
        let bias = self.norm == Norm::None;
        let (height, width) = (image.height / factor, image.width / factor);
        let to = FeatureShape { channels: self.channels[0], height, width };
        let mut layers = vec![Layer::Project { to, bias }];
        self.add_epilogue(&mut layers);
        let (&last, inner) = self.strides.split_last().unwrap_or((&1, &[]));
        let kernel = self.kernel;
        let enlarge =
            |channels, stride| Layer::ConvTranspose { channels, kernel, stride, bias, groups: 1 };
        for (&channels, &stride) in self.channels[1..].iter().zip(inner) {
            layers.push(enlarge(channels, stride));
            self.add_epilogue(&mut layers);
        }
        layers.push(enlarge(image.channels, last));
        layers.push(Layer::Activation(Activation::Tanh));
        Ok(layers)
    }

    /// The layers before the output layer.
    fn discriminator(&self) -> Result<Vec<Layer>> {
        self.check()?;
        let mut layers = Vec::new();
        for (i, (&channels, &stride)) in self.channels.iter().zip(&self.strides).enumerate() {
            // As in the paper, the first layer is not normalised.
            let norm = if i == 0 { Norm::None } else { self.norm };
            let bias = norm == Norm::None;
            layers.push(Layer::Conv { channels, kernel: self.kernel, stride, bias, groups: 1 });
            Self { norm, ..self.clone() }.add_epilogue(&mut layers);
        }
        Ok(layers)
    }
}

#[cfg(test)]
mod tests;
