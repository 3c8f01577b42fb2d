//! The values that options take.

use clap::ValueEnum;
use gan_data::ImageShape;
use gan_data::folder::Colour;
use gan_models::Conditioning;
use gan_training::GanLoss;
use serde::{Deserialize, Serialize};

/// Default number of epochs that a classifier is trained for.
pub const CLASSIFIER_EPOCHS: u64 = 12;

/// The port of the web page unless another is asked for.
#[cfg(feature = "serve")]
pub const PORT: u16 = 7860;

/// Reads the shape of an image: channels, height and width.
///
/// # Errors
/// Anything but three numbers.
pub(super) fn image_shape(text: &str) -> Result<ImageShape, &'static str> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[channels, height, width]) => Ok(ImageShape { channels, height, width }),
        _ => Err("three numbers are needed, CxHxW, such as 3x64x64"),
    }
}

/// Channels of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColourName {
    /// One channel.
    Grey,
    /// Three channels.
    Rgb,
    /// Three channels and opacity.
    Rgba,
}

impl From<ColourName> for Colour {
    fn from(name: ColourName) -> Self {
        match name {
            ColourName::Grey => Self::Grey,
            ColourName::Rgb => Self::Rgb,
            ColourName::Rgba => Self::Rgba,
        }
    }
}

/// The loss of both networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossName {
    /// Cross-entropy, non-saturating.
    NonSaturating,
    /// Hinge loss.
    Hinge,
    /// Least squares.
    LeastSquares,
    /// Wasserstein distance; needs --r1-gamma or --spectral-norm.
    Wasserstein,
    /// Each fake against a real image; needs --r1-gamma, and is published with r2_gamma too.
    Relativistic,
}

impl From<LossName> for GanLoss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::NonSaturating => Self::NonSaturating,
            LossName::Hinge => Self::Hinge,
            LossName::LeastSquares => Self::LeastSquares,
            LossName::Wasserstein => Self::Wasserstein,
            LossName::Relativistic => Self::Relativistic,
        }
    }
}

/// How networks are conditioned on the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConditionName {
    /// An embedding of the class times the discriminator's features.
    Projection,
    /// A channel for each class beside those of the image.
    Concatenation,
    /// Unconditional.
    None,
}

impl From<ConditionName> for Option<Conditioning> {
    fn from(name: ConditionName) -> Self {
        match name {
            ConditionName::Projection => Some(Conditioning::Projection),
            ConditionName::Concatenation => Some(Conditioning::Concatenation),
            ConditionName::None => None,
        }
    }
}

/// How training shows its progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressName {
    /// A bar on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A line on standard error every 5 seconds.
    Plain,
    /// A JSON object on each line of standard output, and nothing else there.
    Json,
}

/// How `generate` writes images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One PNG of all images.
    Grid,
    /// A directory of PNG files.
    Png,
    /// A directory of IDX files.
    Idx,
}

/// How `export` writes a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DatasetFormat {
    /// A directory of PNG files for each class.
    #[default]
    Png,
    /// One IDX file of images and one of labels.
    Idx,
}

/// The file layout of an IDX directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// One file of images, and one of labels if the classes are known.
    #[default]
    Flat,
    /// The four files of `torchvision.datasets.MNIST(root)`, in `MNIST/raw`; the training
    /// and the test split both hold all images.
    Torchvision,
}

/// How `interpolate` writes images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InterpolationFormat {
    /// One PNG, a row from each point to the next.
    Grid,
    /// An animated PNG.
    #[value(alias = "film")]
    Animation,
}

/// A split of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The training images.
    #[default]
    Train,
    /// The test images.
    Test,
}

/// The operators that run the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operators {
    /// The operators of `gan-kernels`.
    #[default]
    Kernels,
    /// candle's own operators.
    Candle,
}

/// The precision of matrix products on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionName {
    /// With 16 bits of each factor's mantissa on a CPU with AMX, else in f32.
    #[default]
    High,
    /// In f32 throughout.
    Highest,
}

impl PrecisionName {
    /// Returns the precision of runs from before this option existed.
    pub(crate) fn of_old_runs() -> Self {
        Self::Highest
    }
}

/// The device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// CUDA or Metal if available, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The first Apple GPU.
    Metal,
}
