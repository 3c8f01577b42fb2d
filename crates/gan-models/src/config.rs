//! Networks as data: a list of layers that can be written down, compared and rebuilt.

use serde::{Deserialize, Serialize};

/// Channels, height and width of a picture or of the features between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(usize, usize, usize)", into = "(usize, usize, usize)")]
pub struct Shape {
    /// Channels: 1 for grey, 3 for colour.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl From<(usize, usize, usize)> for Shape {
    fn from((channels, height, width): (usize, usize, usize)) -> Self {
        Self { channels, height, width }
    }
}

impl From<Shape> for (usize, usize, usize) {
    fn from(shape: Shape) -> Self {
        (shape.channels, shape.height, shape.width)
    }
}

impl Shape {
    /// A vector of `features`, which has one pixel.
    pub fn vector(features: usize) -> Self {
        Self { channels: features, height: 1, width: 1 }
    }

    /// Values in all.
    pub fn len(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// `z` where positive, this slope (at least 0) times `z` elsewhere.
    LeakyRelu(f32),
    /// Hyperbolic tangent, in (-1, 1): what pictures end with.
    Tanh,
    /// Logistic function, in (0, 1).
    Sigmoid,
}

/// One layer. Spatial layers use "same" padding: a convolution's output measures
/// `ceil(input / stride)`, a transposed one's `input * stride`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// Every input value to every one of `units` outputs.
    Dense {
        /// Outputs.
        units: usize,
        /// Whether each output has a bias.
        bias: bool,
    },
    /// A dense layer whose outputs are arranged as a picture.
    Project {
        /// The picture.
        to: Shape,
        /// Whether each output has a bias.
        bias: bool,
    },
    /// Convolution with a square kernel.
    Conv {
        /// Output channels.
        channels: usize,
        /// Kernel height and width.
        kernel: usize,
        /// Step, in input pixels.
        stride: usize,
        /// Whether each channel has a bias.
        bias: bool,
    },
    /// Transposed convolution with a square kernel.
    ConvTranspose {
        /// Output channels.
        channels: usize,
        /// Kernel height and width.
        kernel: usize,
        /// Step, in output pixels.
        stride: usize,
        /// Whether each channel has a bias.
        bias: bool,
    },
    /// Batch normalisation (Ioffe and Szegedy 2015) per channel.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
        /// How fast the running statistics follow.
        momentum: Momentum,
        /// Per channel also where it directly follows a [`Layer::Project`] without bias, and is
        /// else per output.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        per_channel: bool,
    },
    /// An elementwise activation.
    Activation(Activation),
    /// Zeroes each value with this probability while training, and scales up the others.
    Dropout(f32),
    /// Bilinear interpolation to this height and width, pixels taken for squares: what PyTorch
    /// calls `align_corners=False`, and does without antialiasing.
    Resize(usize, usize),
    /// Means of squares of so many pixels a side, side by side; squares that reach beyond the
    /// border are means of what is within.
    AvgPool(usize),
    /// `scale * x + shift`: from one range of values to another.
    Rescale {
        /// Factor.
        scale: f32,
        /// What is added after that.
        shift: f32,
    },
}

/// Share of a batch in each update of running statistics, above 0 and at most 1.
///
/// Written as a number it is that share, PyTorch's convention; `{ keras = 0.8 }` is Keras'
/// convention, the share that stays: 0.2 of the batch comes in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "MomentumForm", into = "f32")]
pub struct Momentum(pub f32);

#[derive(Deserialize)]
#[serde(untagged, expecting = "momentum is a number, or { keras = NUMBER }")]
enum MomentumForm {
    Share(f32),
    Keras { keras: f64 },
}

impl From<MomentumForm> for Momentum {
    fn from(form: MomentumForm) -> Self {
        match form {
            MomentumForm::Share(share) => Self(share),
            // In f64, so that 1 - 0.8 is the f32 nearest to 0.2.
            MomentumForm::Keras { keras } => Self((1.0 - keras) as f32),
        }
    }
}

impl From<Momentum> for f32 {
    fn from(Momentum(share): Momentum) -> Self {
        share
    }
}

impl Layer {
    /// The layer's name in errors and summaries.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Project { .. } => "project",
            Self::Conv { .. } => "conv",
            Self::ConvTranspose { .. } => "conv_transpose",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Activation(_) => "activation",
            Self::Dropout(_) => "dropout",
            Self::Resize(..) => "resize",
            Self::AvgPool(_) => "avg_pool",
            Self::Rescale { .. } => "rescale",
        }
    }
}

/// How fresh weights are drawn; biases begin at 0 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Normal around 0 with this standard deviation.
    Normal(f64),
    /// The same, drawn again where it is more than two deviations from 0: TensorFlow's
    /// `truncated_normal`.
    TruncatedNormal(f64),
    /// Uniform in +-sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010): Keras' default.
    Glorot,
    /// Uniform in +-1 / sqrt(fan in), biases too: PyTorch's default.
    FanIn,
}

/// How a generator's noise is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Standard normal.
    #[default]
    Normal,
    /// Standard normal, drawn again where it is beyond 2 or -2.
    TruncatedNormal,
}

impl Noise {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// What a generator is: `config.json` beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Length of the noise vector.
    pub latent_dim: usize,
    /// How it is drawn.
    #[serde(default, skip_serializing_if = "Noise::is_normal")]
    pub noise: Noise,
    /// The pictures made.
    pub image: Shape,
    /// From noise to picture.
    pub layers: Vec<Layer>,
    /// How fresh weights are drawn.
    pub init: Init,
    /// The classes of the pictures it was trained on, where known; one if it makes one class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Whether the class of a picture can be chosen: the noise is followed by a value for each
    /// class, 1 for the wanted one and 0 for the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
}

impl GeneratorConfig {
    /// Values that a picture is made from: the noise, and where the class can be chosen, one for
    /// each class.
    pub fn input_len(&self) -> usize {
        self.latent_dim + if self.conditional { self.classes.len() } else { 0 }
    }
}

/// How a discriminator takes in the class that a picture is said to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditioning {
    /// The last layer has a value for each class and one more: that of the picture's class, whose
    /// weights are the class's embedding, and the last, which is for all classes, add up to the
    /// logit (Miyato and Koyama 2018, "cGANs with projection discriminator").
    Projection,
    /// The picture has a further channel for each class, all 1 for its own and all 0 for the others
    /// (Mirza and Osindero 2014, "Conditional generative adversarial nets").
    Concatenation,
}

impl ClassCondition {
    /// Values that the discriminator's layers end in.
    pub fn outputs(self) -> usize {
        match self.by {
            Conditioning::Projection => self.classes + 1,
            Conditioning::Concatenation => 1,
        }
    }
}

/// The classes that a discriminator tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCondition {
    /// How many there are.
    pub classes: usize,
    /// How they are taken in.
    pub by: Conditioning,
}

/// What a discriminator is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// The pictures judged.
    pub image: Shape,
    /// From picture to one logit, or to the values that [`Conditioning::Projection`] adds up.
    pub layers: Vec<Layer>,
    /// How fresh weights are drawn.
    pub init: Init,
    /// The classes it tells apart, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ClassCondition>,
}
