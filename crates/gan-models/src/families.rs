//! The families of networks that recipes choose from: a few numbers that stand for two lists of
//! layers.

use crate::config::{
    Activation, ClassCondition, DiscriminatorConfig, GeneratorConfig, Init, Layer, Momentum, Noise,
    Shape,
};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A pair of networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Dense networks.
    Mlp(Mlp),
    /// Convolutional networks.
    Dcgan(Dcgan),
    /// Any networks, layer by layer, for pictures of one size.
    Layers(LayerLists),
}

/// Normalisation of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// None.
    #[default]
    None,
    /// Batch normalisation.
    Batch {
        /// Added to the variance.
        epsilon: f32,
        /// How fast the running statistics follow.
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
pub struct Mlp {
    /// Length of the noise vector.
    pub latent_dim: usize,
    /// How fresh weights are drawn.
    pub init: Init,
    /// Noise to picture; the output layer (tanh) is implied.
    pub generator: DenseStack,
    /// Picture to logit; the output layer is implied.
    pub discriminator: DenseStack,
}

/// Hidden layers of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseStack {
    /// Units of each hidden layer.
    pub units: Vec<usize>,
    /// Activation of each hidden layer.
    pub activation: Activation,
    /// Normalisation after each activation.
    #[serde(default, skip_serializing_if = "Norm::is_none")]
    pub norm: Norm,
    /// Dropout after each hidden layer; layers beyond the list have none.
    #[serde(default)]
    pub dropout: Vec<f32>,
}

/// Convolutional networks, after Radford et al. 2016, "Unsupervised representation learning with
/// deep convolutional generative adversarial networks".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dcgan {
    /// Length of the noise vector.
    pub latent_dim: usize,
    /// How fresh weights are drawn.
    pub init: Init,
    /// Noise to picture: a projection to the first number of channels, then transposed
    /// convolutions to each further one and at last to the picture (tanh).
    pub generator: ConvStack,
    /// Picture to logit: convolutions to each number of channels, then a dense layer.
    pub discriminator: ConvStack,
}

/// Layers of one of a [`Dcgan`]'s networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvStack {
    /// Channels, one number for each stride.
    pub channels: Vec<usize>,
    /// Strides of the convolutions.
    pub strides: Vec<usize>,
    /// Kernel height and width.
    pub kernel: usize,
    /// Normalisation after each product, the last excepted; products that are not normalised have
    /// a bias instead.
    pub norm: Norm,
    /// Activation after that.
    pub activation: Activation,
    /// Dropout after that.
    #[serde(default)]
    pub dropout: f32,
}

/// Networks as the lists of their layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerLists {
    /// Length of the noise vector.
    pub latent_dim: usize,
    /// How it is drawn.
    #[serde(default)]
    pub noise: Noise,
    /// How fresh weights are drawn.
    pub init: Init,
    /// Noise to picture.
    pub generator: Vec<Layer>,
    /// Picture to logit; the output layer is implied.
    pub discriminator: Vec<Layer>,
}

impl Family {
    /// The configuration of the generator of pictures of this shape and these classes, of which
    /// one can be chosen if it is to be `conditional`.
    ///
    /// # Errors
    /// [`Error::Config`] if the family makes no pictures of this shape.
    pub fn generator(
        &self,
        image: Shape,
        classes: Vec<String>,
        conditional: bool,
    ) -> Result<GeneratorConfig> {
        let mut noise = Noise::Normal;
        let (latent_dim, init, layers) = match self {
            Self::Mlp(mlp) => (mlp.latent_dim, mlp.init, mlp.generator.generator(image)?),
            Self::Dcgan(dcgan) => {
                let stack = dcgan.generator.grown(image, Deep::First);
                (dcgan.latent_dim, dcgan.init, stack.generator(image)?)
            }
            Self::Layers(lists) => {
                noise = lists.noise;
                (lists.latent_dim, lists.init, lists.generator.clone())
            }
        };
        Ok(GeneratorConfig { latent_dim, noise, image, layers, init, classes, conditional })
    }

    /// The configuration of the discriminator of pictures of this shape, and of their classes if
    /// it is to tell these apart.
    ///
    /// # Errors
    /// [`Error::Config`] if channels and strides do not pair up.
    pub fn discriminator(
        &self,
        image: Shape,
        condition: Option<ClassCondition>,
    ) -> Result<DiscriminatorConfig> {
        let (init, mut layers) = match self {
            Self::Mlp(mlp) => (mlp.init, mlp.discriminator.hidden()?),
            Self::Dcgan(dcgan) => {
                let stack = dcgan.discriminator.grown(image, Deep::Last);
                (dcgan.init, stack.discriminator()?)
            }
            Self::Layers(lists) => (lists.init, lists.discriminator.clone()),
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

    fn generator(&self, image: Shape) -> Result<Vec<Layer>> {
        let mut layers = self.hidden()?;
        layers.push(Layer::Project { to: image, bias: true });
        layers.push(Layer::Activation(Activation::Tanh));
        Ok(layers)
    }
}

/// Pixels a side up to which a [`ConvStack`] is as configured.
const SMALL: usize = 32;

/// Where a [`ConvStack`] is farthest from the picture.
#[derive(Clone, Copy)]
enum Deep {
    First,
    Last,
}

impl ConvStack {
    /// The layers for pictures of this size: for each doubling beyond 32 pixels, a stride of 1 that
    /// becomes 2, or where there is none, one more layer at the deep end with stride 2 and twice
    /// the channels.
    fn grown(&self, image: Shape, deep: Deep) -> Self {
        let mut stack = self.clone();
        let mut size = image.height.max(image.width);
        while size > SMALL && !stack.channels.is_empty() {
            size = size.div_ceil(2);
            if let Some(stride) = stack.strides.iter_mut().find(|stride| **stride == 1) {
                *stride = 2;
                continue;
            }
            let at = match deep {
                Deep::First => 0,
                Deep::Last => stack.channels.len(),
            };
            let channels = 2 * stack.channels[at.saturating_sub(1)];
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

    /// What follows a product, which has a bias if it is not normalised.
    fn after(&self, layers: &mut Vec<Layer>) {
        layers.extend(self.norm.layer());
        layers.push(Layer::Activation(self.activation));
        if self.dropout != 0.0 {
            layers.push(Layer::Dropout(self.dropout));
        }
    }

    fn generator(&self, image: Shape) -> Result<Vec<Layer>> {
        self.check()?;
        let factor = self.strides.iter().product::<usize>().max(1);
        if !image.height.is_multiple_of(factor) || !image.width.is_multiple_of(factor) {
            return Err(Error::Config(format!(
                "pictures of {}x{} pixels: the strides {:?} enlarge by {factor}, which must divide \
                 height and width",
                image.width, image.height, self.strides
            )));
        }
        let bias = self.norm == Norm::None;
        let (height, width) = (image.height / factor, image.width / factor);
        let to = Shape { channels: self.channels[0], height, width };
        let mut layers = vec![Layer::Project { to, bias }];
        self.after(&mut layers);
        let (last, inner) = self.strides.split_last().unwrap_or((&1, &[]));
        for (&channels, &stride) in self.channels[1..].iter().zip(inner) {
            layers.push(Layer::ConvTranspose { channels, kernel: self.kernel, stride, bias });
            self.after(&mut layers);
        }
        let (channels, stride) = (image.channels, *last);
        layers.push(Layer::ConvTranspose { channels, kernel: self.kernel, stride, bias });
        layers.push(Layer::Activation(Activation::Tanh));
        Ok(layers)
    }

    /// The layers before the last.
    fn discriminator(&self) -> Result<Vec<Layer>> {
        self.check()?;
        let mut layers = Vec::new();
        for (i, (&channels, &stride)) in self.channels.iter().zip(&self.strides).enumerate() {
            // As in the paper, the layer that sees the picture is not normalised.
            let norm = if i == 0 { Norm::None } else { self.norm };
            let bias = norm == Norm::None;
            layers.push(Layer::Conv { channels, kernel: self.kernel, stride, bias });
            Self { norm, ..self.clone() }.after(&mut layers);
        }
        Ok(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(channels: &[usize], strides: &[usize]) -> ConvStack {
        ConvStack {
            channels: channels.to_vec(),
            strides: strides.to_vec(),
            kernel: 4,
            norm: Norm::Batch { epsilon: 1e-5, momentum: Momentum(0.1) },
            activation: Activation::Relu,
            dropout: 0.0,
        }
    }

    #[test]
    fn a_generator_grows_to_the_picture() {
        let layers = stack(&[64, 32], &[2, 2]).generator((3, 28, 20).into()).expect("divisible");
        assert_eq!(layers[0], Layer::Project { to: (64, 7, 5).into(), bias: false });
        let convolutions: Vec<_> = layers
            .iter()
            .filter_map(|layer| match layer {
                Layer::ConvTranspose { channels, stride, .. } => Some((*channels, *stride)),
                _ => None,
            })
            .collect();
        assert_eq!(convolutions, [(32, 2), (3, 2)]);
        assert_eq!(layers.last(), Some(&Layer::Activation(Activation::Tanh)));
    }

    /// 64 pixels: `dcgan` doubles once more where it kept the size, others once more in front.
    #[test]
    fn larger_pictures_take_more_steps() {
        let image: Shape = (3, 64, 64).into();
        let kept = stack(&[256, 128, 64], &[1, 2, 2]).grown(image, Deep::First);
        assert_eq!((kept.channels, kept.strides), (vec![256, 128, 64], vec![2, 2, 2]));
        let front = stack(&[64, 32], &[2, 2]).grown(image, Deep::First);
        assert_eq!((&front.channels[..], &front.strides[..]), (&[128, 64, 32][..], &[2; 3][..]));
        let layers = front.generator(image).expect("divisible");
        assert_eq!(layers[0], Layer::Project { to: (128, 8, 8).into(), bias: false });
        let behind = stack(&[64, 128], &[2, 2]).grown((3, 128, 100).into(), Deep::Last);
        assert_eq!((behind.channels, behind.strides), (vec![64, 128, 256, 512], vec![2; 4]));
        let small = stack(&[64, 32], &[2, 2]);
        assert_eq!(small.grown((1, 28, 32).into(), Deep::First), small);
    }

    #[test]
    fn a_picture_that_does_not_divide_is_named() {
        let error = stack(&[64, 32], &[2, 2]).generator((1, 27, 28).into()).expect_err("27");
        assert!(error.to_string().contains("28x27 pixels: the strides [2, 2] enlarge by 4"));
        let error = stack(&[64], &[2, 2]).generator((1, 28, 28).into()).expect_err("uneven");
        assert!(error.to_string().contains("1 channels for 2 strides"));
        let error = stack(&[], &[]).discriminator().expect_err("empty");
        assert!(error.to_string().contains("0 channels for 0 strides"));
    }

    #[test]
    fn dropout_follows_the_layers_that_have_it() {
        let stack = DenseStack {
            units: vec![4, 3],
            activation: Activation::LeakyRelu(0.2),
            norm: Norm::None,
            dropout: vec![0.3],
        };
        let layers = stack.hidden().expect("two hidden layers");
        let kinds: Vec<_> = layers.iter().map(Layer::kind).collect();
        assert_eq!(kinds, ["dense", "activation", "dropout", "dense", "activation"]);
    }
}
