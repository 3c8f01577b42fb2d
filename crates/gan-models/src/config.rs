//! Networks as data: lists of layers that can be saved, compared and rebuilt.

use serde::{Deserialize, Serialize};

/// Channels, height and width of an image, or of the features between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(usize, usize, usize)", into = "(usize, usize, usize)")]
pub struct FeatureShape {
    /// Channels: 1 for grey, 3 for colour.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl From<(usize, usize, usize)> for FeatureShape {
    fn from((channels, height, width): (usize, usize, usize)) -> Self {
        Self { channels, height, width }
    }
}

impl From<FeatureShape> for (usize, usize, usize) {
    fn from(shape: FeatureShape) -> Self {
        (shape.channels, shape.height, shape.width)
    }
}

impl FeatureShape {
    /// The shape of a vector: one pixel with this many channels.
    pub fn vector(features: usize) -> Self {
        Self { channels: features, height: 1, width: 1 }
    }

    /// Number of values, or `usize::MAX` on overflow.
    pub fn len(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// `z` where `z` is positive, else `z` times this slope, which is at least 0.
    LeakyRelu(f32),
    /// Hyperbolic tangent, in (-1, 1). Generators end with it.
    Tanh,
    /// Logistic function, in (0, 1).
    Sigmoid,
}

impl From<Activation> for gan_kernels::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Relu => Self::LeakyRelu(0.0),
            Activation::LeakyRelu(slope) => Self::LeakyRelu(slope),
            Activation::Tanh => Self::Tanh,
            Activation::Sigmoid => Self::Sigmoid,
        }
    }
}

/// One layer of a network. Spatial layers use "same" padding: the output of a convolution has
/// `ceil(input / stride)` pixels a side, that of a transposed convolution `input * stride`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Layer {
    /// Fully connected layer with this many outputs.
    Dense {
        /// Number of outputs.
        units: usize,
        /// Whether each output has a bias.
        bias: bool,
    },
    /// Dense layer whose outputs form an image.
    Project {
        /// The shape of the image.
        to: FeatureShape,
        /// Whether each output has a bias.
        bias: bool,
    },
    /// A learned image of this height and width for each channel of a vector, times the channel's
    /// value. After a [`Layer::Dense`] it is a learned constant scaled by a linear map of the latent
    /// vector (Huang et al. 2024, "The GAN is dead; long live the GAN!"). The images are standard
    /// normal at first.
    Basis(usize, usize),
    /// Convolution with a square kernel.
    Conv {
        /// Output channels.
        channels: usize,
        /// Kernel height and width.
        kernel: usize,
        /// Stride, in input pixels.
        stride: usize,
        /// Whether each channel has a bias.
        bias: bool,
        /// The number of groups of adjacent channels: an output sees only the inputs of its own group.
        /// It must divide the channels of input and output (Xie et al. 2017, "Aggregated residual
        /// transformations for deep neural networks").
        #[serde(default = "one", skip_serializing_if = "is_one")]
        groups: usize,
    },
    /// Transposed convolution with a square kernel.
    ConvTranspose {
        /// Output channels.
        channels: usize,
        /// Kernel height and width.
        kernel: usize,
        /// Stride, in output pixels.
        stride: usize,
        /// Whether each channel has a bias.
        bias: bool,
        /// As those of [`Layer::Conv`].
        #[serde(default = "one", skip_serializing_if = "is_one")]
        groups: usize,
    },
    /// Batch normalisation (Ioffe and Szegedy 2015) per channel.
    BatchNorm {
        /// Added to the variance before the square root.
        epsilon: f32,
        /// Weight of a batch in each update of the running statistics.
        momentum: Momentum,
        /// Normalises per channel even directly after a [`Layer::Project`] without bias. By
        /// default, batch normalisation normalises every output on its own there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        per_channel: bool,
    },
    /// Normalisation of each image over groups of adjacent channels and all pixels (Wu and He 2018,
    /// "Group normalization"), without scale and bias. One group is layer normalisation, a group for
    /// each channel instance normalisation.
    GroupNorm {
        /// Number of groups, which must divide the channels.
        groups: usize,
        /// Added to the variance before the square root.
        epsilon: f32,
    },
    /// An elementwise activation.
    Activation(Activation),
    /// In training, sets each value to 0 with this probability and scales up the others.
    Dropout(f32),
    /// Bilinear interpolation to this height and width, as PyTorch's `interpolate` with
    /// `align_corners=False` and no antialiasing.
    Resize(usize, usize),
    /// Average pooling over adjacent squares of this many pixels a side. Means leave padding out.
    AvgPool(usize),
    /// `scale * x + shift`: maps one range of values to another.
    Rescale {
        /// Factor.
        scale: f32,
        /// Offset, added after the multiplication.
        shift: f32,
    },
    /// `body(x) + shortcut(x)` (He et al. 2016, "Deep residual learning for image recognition"). Both
    /// must have outputs of one shape.
    Residual {
        /// Layers of the body.
        body: Vec<Layer>,
        /// Layers of the shortcut; none for `x` itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shortcut: Vec<Layer>,
        /// Whether the body's last weights start at 0, so that the whole starts as its shortcut
        /// (Zhang et al. 2019, "Fixup initialization").
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        zero_init: bool,
    },
    /// Enlarges height and width by a whole factor.
    Upsample {
        /// The factor.
        factor: usize,
        /// How new pixels follow from old ones.
        filter: UpsampleFilter,
    },
    /// Reduces height and width by a whole factor, which must divide both: the transpose of bilinear
    /// upsampling, with weights that add up to 1. For factor 2 it is the filter [1, 3, 3, 1] / 8,
    /// which prevents aliasing (Zhang 2019, "Making convolutional networks shift-invariant again").
    Downsample(usize),
    /// Moves groups of `factor` squared channels to squares of `factor` pixels a side, in PyTorch's
    /// order (Shi et al. 2016, "Real-time single image and video super-resolution").
    PixelShuffle(usize),
    /// The inverse of [`Layer::PixelShuffle`].
    PixelUnshuffle(usize),
    /// Adds a channel that holds one number: the standard deviation of each value over the batch,
    /// averaged over all values (Karras et al. 2018, "Progressive growing of GANs", section 3). In
    /// evaluation too, an image's output then depends on its batch.
    MinibatchStd,
}

/// The groups of a convolution whose configuration has none.
fn one() -> usize {
    1
}

fn is_one(groups: &usize) -> bool {
    *groups == 1
}

/// How new pixels follow from old ones in [`Layer::Upsample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpsampleFilter {
    /// Each new pixel is the old one that covers it.
    Nearest,
    /// Bilinear interpolation, as [`Layer::Resize`]; for factor 2 the filter [1, 3, 3, 1] / 4.
    Bilinear,
}

/// The weight of a batch in each update of running statistics, above 0 and at most 1.
///
/// A plain number is that weight, as in PyTorch. `{ keras = 0.8 }` is the weight of the old
/// statistics, as in Keras: the batch then weighs 0.2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "MomentumForm", into = "f32")]
pub struct Momentum(pub f32);

#[derive(Deserialize)]
#[serde(untagged, expecting = "momentum is a number, or { keras = NUMBER }")]
enum MomentumForm {
    Weight(f32),
    Keras { keras: f64 },
}

impl From<MomentumForm> for Momentum {
    fn from(form: MomentumForm) -> Self {
        match form {
            MomentumForm::Weight(weight) => Self(weight),
            // In f64, so that 1 - 0.8 is the f32 nearest to 0.2.
            MomentumForm::Keras { keras } => Self((1.0 - keras) as f32),
        }
    }
}

impl From<Momentum> for f32 {
    fn from(Momentum(weight): Momentum) -> Self {
        weight
    }
}

impl Layer {
    /// The layer's name in errors and summaries.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Project { .. } => "project",
            Self::Basis(..) => "basis",
            Self::Conv { .. } => "conv",
            Self::ConvTranspose { .. } => "conv_transpose",
            Self::BatchNorm { .. } => "batch_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Activation(_) => "activation",
            Self::Dropout(_) => "dropout",
            Self::Resize(..) => "resize",
            Self::AvgPool(_) => "avg_pool",
            Self::Rescale { .. } => "rescale",
            Self::Residual { .. } => "residual",
            Self::Upsample { .. } => "upsample",
            Self::Downsample(_) => "downsample",
            Self::PixelShuffle(_) => "pixel_shuffle",
            Self::PixelUnshuffle(_) => "pixel_unshuffle",
            Self::MinibatchStd => "minibatch_std",
        }
    }

    /// Whether this holds for the layer, or for any layer of its body or shortcut.
    pub fn any(&self, holds: impl Fn(&Layer) -> bool + Copy) -> bool {
        let inside = match self {
            Self::Residual { body, shortcut, .. } => {
                body.iter().chain(shortcut).any(|layer| layer.any(holds))
            }
            _ => false,
        };
        inside || holds(self)
    }
}

/// Initialisation of weights. Biases start at 0 except with [`WeightInit::FanIn`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WeightInit {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// The same, redrawn while it is more than two standard deviations from 0, as TensorFlow's
    /// `truncated_normal`.
    TruncatedNormal(f64),
    /// Uniform in +-sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010), the default of Keras.
    Glorot,
    /// Uniform in +-1 / sqrt(fan in), for biases too, the default of PyTorch's `Linear` and
    /// `Conv2d`.
    FanIn,
    /// Normal with mean 0 and standard deviation gain / sqrt(fan in), with this gain: sqrt(2) before
    /// a ReLU (He et al. 2015, "Delving deep into rectifiers").
    FanInNormal(f64),
}

/// The distribution of a generator's latent vectors z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LatentDistribution {
    /// Standard normal.
    #[default]
    Normal,
    /// Standard normal, redrawn while it is outside [-2, 2].
    TruncatedNormal,
}

impl LatentDistribution {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// The configuration of a generator, saved as `config.json` beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GeneratorConfig {
    /// Length of the latent vector z.
    pub latent_dim: usize,
    /// Distribution of the latent vectors.
    #[serde(default, alias = "noise", skip_serializing_if = "LatentDistribution::is_normal")]
    pub latent_distribution: LatentDistribution,
    /// Shape of the generated images.
    pub image: FeatureShape,
    /// Layers from the input to the image.
    pub layers: Vec<Layer>,
    /// Initialisation of the weights.
    pub init: WeightInit,
    /// Names of the classes in the training data, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Whether the generator is class-conditional. Its input is then the latent vector followed by
    /// the one-hot vector of the class.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
}

impl GeneratorConfig {
    /// An unconditional generator with standard normal latent vectors and no named classes. The
    /// fields are public for other choices.
    pub fn new(
        latent_dim: usize,
        image: FeatureShape,
        layers: Vec<Layer>,
        init: WeightInit,
    ) -> Self {
        Self {
            latent_dim,
            latent_distribution: LatentDistribution::Normal,
            image,
            layers,
            init,
            classes: Vec::new(),
            conditional: false,
        }
    }

    /// Length of the network's input: the latent vector, and the one-hot class if the generator is
    /// class-conditional.
    pub fn input_len(&self) -> usize {
        self.latent_dim.saturating_add(if self.conditional { self.classes.len() } else { 0 })
    }
}

/// The way in which a discriminator is conditioned on the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Conditioning {
    /// The last layer has one output for each class and one more. The logit is the output of the
    /// image's class, whose weights are the class embedding, plus the last output, which all classes
    /// share (Miyato and Koyama 2018, "cGANs with projection discriminator").
    Projection,
    /// The image is followed by one channel for each class: all 1 for the image's class, all 0 for
    /// the others (Mirza and Osindero 2014, "Conditional generative adversarial nets").
    Concatenation,
}

/// The classes that a discriminator is conditioned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClassCondition {
    /// Number of classes.
    pub classes: usize,
    /// The way in which the network receives the class.
    pub by: Conditioning,
}

impl ClassCondition {
    /// This many classes, received in this way.
    pub fn new(classes: usize, by: Conditioning) -> Self {
        Self { classes, by }
    }

    /// Number of outputs of the discriminator's last layer.
    pub fn outputs(self) -> usize {
        match self.by {
            Conditioning::Projection => self.classes.saturating_add(1),
            Conditioning::Concatenation => 1,
        }
    }
}

/// The configuration of a discriminator, saved as `config.json` beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DiscriminatorConfig {
    /// Shape of the images.
    pub image: FeatureShape,
    /// Layers from the image to one logit, or to the outputs that [`Conditioning::Projection`] adds
    /// up.
    pub layers: Vec<Layer>,
    /// Initialisation of the weights.
    pub init: WeightInit,
    /// The classes that the discriminator is conditioned on, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ClassCondition>,
}

impl DiscriminatorConfig {
    /// An unconditional discriminator. Set [`DiscriminatorConfig::condition`] for another.
    pub fn new(image: FeatureShape, layers: Vec<Layer>, init: WeightInit) -> Self {
        Self { image, layers, init, condition: None }
    }
}
