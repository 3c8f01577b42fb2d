//! The command line, as typed: nothing is checked here against data or files.

use crate::recipe::{Recipe, Regularization};
use clap::{Args, Parser, Subcommand, ValueEnum};
use gan_data::folder::Colour;
use gan_models::{Conditioning, GanLoss};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Trains generative adversarial networks and draws pictures with them.
///
/// Without a command it trains: `trainer --digit 5`.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to train, where no command is given.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a generator (the default command).
    Train(TrainArgs),
    /// Draw pictures with a trained generator.
    Generate(GenerateArgs),
    /// Draw the way from noise to noise, or from class to class.
    Interpolate(InterpolateArgs),
    /// Measure how near generated pictures, or any others, are to real ones.
    Evaluate(EvaluateArgs),
    /// Print a trained discriminator's decision value of each picture: negative fake, positive real.
    Score(ScoreArgs),
    /// List the built-in recipes.
    Recipes,
    /// Print the layers of both networks: output shapes, parameters, multiply-adds.
    Summary(SummaryArgs),
    /// Train a classifier, such as the one that metrics look through.
    Classifier(ClassifierArgs),
    /// Write a set as a folder of pictures, one sub-folder for each class.
    Export(ExportArgs),
    /// Time a recipe's training step on the CPU.
    Bench(BenchArgs),
}

/// Options of `train`.
#[derive(Args, Clone, Debug, Default)]
pub struct TrainArgs {
    /// Train on these classes only, e.g. 5 or 3,5,8 [default: all].
    #[arg(long, visible_alias = "class", value_name = "D[,D...]", value_delimiter = ',')]
    pub digit: Vec<String>,
    /// Where the pictures come from [default: mnist].
    #[arg(long, value_name = "mnist|idx:DIR|folder:DIR|hub:mnist|hub:fashion-mnist")]
    pub dataset: Option<String>,
    /// How pictures of folders are read.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// A built-in recipe or a file of one's own [default: default for one class, conditional for
    /// several].
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// Train until every picture has been seen this often, steps of earlier sessions included.
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Train until this step, those of earlier sessions included.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Steps between two sample grids [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub sample_every: Option<u64>,
    /// Pictures in a batch.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate of both networks, or of the generator and the discriminator.
    #[arg(long, value_name = "X", num_args = 1..=2)]
    pub lr: Vec<f64>,
    /// What the recipe's networks play for, and within which bounds.
    #[command(flatten)]
    pub game: GameArgs,
    /// Seed of weights, noise, shuffles and dropout [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads of the CPU [default: all]. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where to train.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// How exactly the CPU multiplies.
    #[arg(long, value_enum, default_value_t)]
    pub precision: PrecisionName,
    /// The folder that run folders are made in [default: runs].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with this run from its last checkpoint; its configuration stays.
    #[arg(long, value_name = "RUN", conflicts_with_all =
        ["digit", "dataset", "size", "colour", "recipe", "batch_size", "sample_every", "lr", "seed", "precision", "out", "loss",
        "condition", "gradient_penalty", "spectral_norm", "translation", "cutout", "instance_noise"])]
    pub resume: Option<PathBuf>,
    /// Print the configuration and the networks' sizes, and stop.
    #[arg(long)]
    pub dry_run: bool,
}

/// How pictures of folders are read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Folders of pictures (--dataset folder:DIR)")]
pub struct FolderArgs {
    /// Rows and columns that pictures are brought to [default: 28].
    #[arg(long, value_name = "N")]
    pub size: Option<usize>,
    /// Channels of the pictures [default: rgb if any of them has colour].
    #[arg(long, visible_alias = "color", value_enum, value_name = "NAME")]
    pub colour: Option<ColourName>,
    /// Fail at a picture that cannot be read, instead of leaving it out with a warning.
    #[arg(long)]
    pub strict: bool,
}

/// Channels of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColourName {
    /// One.
    Grey,
    /// Three.
    Rgb,
}

impl From<ColourName> for Colour {
    fn from(name: ColourName) -> Self {
        match name {
            ColourName::Grey => Self::Grey,
            ColourName::Rgb => Self::Rgb,
        }
    }
}

/// What to change of a recipe's loss and regularisation.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Loss and regularisation [default: the recipe's]")]
pub struct GameArgs {
    /// What the networks play for.
    #[arg(long, value_enum, value_name = "NAME")]
    pub loss: Option<LossName>,
    /// How networks take in the classes, where there are several.
    #[arg(long, value_enum, value_name = "HOW")]
    pub condition: Option<ConditionName>,
    /// Weight of the penalty on the discriminator's slope at real pictures (R1, first-order).
    #[arg(long, value_name = "X")]
    pub gradient_penalty: Option<f64>,
    /// Largest spectral norm of each of the discriminator's weights; 0 for no bound.
    #[arg(long, value_name = "X")]
    pub spectral_norm: Option<f64>,
    /// Shift the pictures that the discriminator sees by up to so many pixels.
    #[arg(long, value_name = "PIXELS")]
    pub translation: Option<usize>,
    /// Black out a square of this side in the pictures that the discriminator sees.
    #[arg(long, value_name = "PIXELS")]
    pub cutout: Option<usize>,
    /// Add noise of this deviation to the pictures that the discriminator sees, fading to none.
    #[arg(long, value_name = "X")]
    pub instance_noise: Option<f32>,
}

impl GameArgs {
    /// Changes a recipe as asked.
    pub(crate) fn apply(&self, recipe: &mut Recipe) {
        let Regularization { gradient_penalty, spectral_norm, augmentation } =
            &mut recipe.regularization;
        *gradient_penalty = self.gradient_penalty.unwrap_or(*gradient_penalty);
        *spectral_norm = self.spectral_norm.unwrap_or(*spectral_norm);
        augmentation.translation = self.translation.unwrap_or(augmentation.translation);
        augmentation.cutout = self.cutout.unwrap_or(augmentation.cutout);
        augmentation.noise = self.instance_noise.unwrap_or(augmentation.noise);
        if let Some(condition) = self.condition {
            recipe.condition = condition.into();
        }
        if let Some(loss) = self.loss {
            recipe.loss = loss.into();
            if !recipe.loss.has_labels() {
                recipe.real_label = 1.0;
            }
        }
    }
}

/// What the networks play for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossName {
    /// Cross-entropy, non-saturating.
    NonSaturating,
    /// Hinges.
    Hinge,
    /// Least squares.
    LeastSquares,
    /// Wasserstein distance; needs --gradient-penalty or --spectral-norm.
    Wasserstein,
}

/// How networks take in the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConditionName {
    /// An embedding of the class times the discriminator's features.
    Projection,
    /// A channel for each class beside the picture's.
    Concatenation,
    /// Not at all.
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

impl From<LossName> for GanLoss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::NonSaturating => Self::NonSaturating,
            LossName::Hinge => Self::Hinge,
            LossName::LeastSquares => Self::LeastSquares,
            LossName::Wasserstein => Self::Wasserstein,
        }
    }
}

/// A trained generator: a run's, or a folder's.
#[derive(Args, Debug)]
pub struct GeneratorArgs {
    /// The run whose generator is used [default: the newest under runs].
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A generator's folder.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// The run's generator at the step that measured best, not the last one's.
    #[arg(long, conflicts_with = "weights")]
    pub best: bool,
}

/// Options of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Which generator.
    #[command(flatten)]
    pub generator: GeneratorArgs,
    /// How many pictures.
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// The class of the pictures.
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// Seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// grid: one picture of all; png: a folder of pictures; idx: a folder in MNIST's format.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The picture, or the folder, to write.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
    /// How exactly the CPU multiplies [default: as the run did, or high].
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionName>,
}

/// Options of `interpolate`.
#[derive(Args, Debug)]
pub struct InterpolateArgs {
    /// Which generator.
    #[command(flatten)]
    pub generator: GeneratorArgs,
    /// How many noises to visit; 1 keeps to one and walks through the classes [default: one for
    /// each of the classes visited, at least 2].
    #[arg(long, value_name = "N")]
    pub points: Option<usize>,
    /// The classes to visit, in turn [default: all, where they can be chosen].
    #[arg(long, value_name = "C[,C...]", value_delimiter = ',')]
    pub class: Vec<String>,
    /// Steps from each point to the next.
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub frames: usize,
    /// Seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// grid: a row from each point to the next; film: an animated PNG that comes round.
    #[arg(long, value_enum, default_value = "grid")]
    pub format: WalkFormat,
    /// Pictures a second of a film.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub fps: u16,
    /// Pixels of the file for each pixel of a picture, along each side: 1 to 16.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub scale: u8,
    /// The file to write.
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// How `interpolate` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WalkFormat {
    /// One PNG, a way a row.
    Grid,
    /// An animated PNG.
    Film,
}

/// Options of `score`.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The run whose discriminator judges [default: the newest under runs].
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// The class that the pictures are said to be of, where the run tells classes apart.
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Pictures: JPEG or PNG files, IDX pictures, folders of PNG or IDX files.
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
}

/// Options of `summary`.
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// A run, whose networks are shown.
    #[arg(long, value_name = "RUN", conflicts_with_all =
        ["recipe", "digit", "dataset", "condition", "size", "colour", "strict"])]
    pub run: Option<PathBuf>,
    /// A built-in recipe or a file of one's own [default: as in training].
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// The classes that would be trained on [default: all].
    #[arg(long, visible_alias = "class", value_name = "D[,D...]", value_delimiter = ',')]
    pub digit: Vec<String>,
    /// Where their pictures would come from [default: mnist].
    #[arg(long, value_name = "mnist|idx:DIR|folder:DIR|hub:mnist|hub:fashion-mnist")]
    pub dataset: Option<String>,
    /// How networks take in the classes, where there are several.
    #[arg(long, value_enum, value_name = "HOW")]
    pub condition: Option<ConditionName>,
    /// What pictures of a folder are made of.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Options of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Which generator.
    #[command(flatten)]
    pub generator: GeneratorArgs,
    /// Pictures to measure: a PNG file, a folder of them, IDX pictures, a folder of IDX files.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["run", "weights", "best"])]
    pub images: Option<PathBuf>,
    /// The real classes to measure against [default: the generator's, or all].
    #[arg(long, visible_alias = "class", value_name = "D[,D...]", value_delimiter = ',')]
    pub digit: Vec<String>,
    /// Where the real pictures come from [default: as in the run, or mnist].
    #[arg(long, value_name = "mnist|idx:DIR|folder:DIR|hub:mnist|hub:fashion-mnist")]
    pub dataset: Option<String>,
    /// How many pictures to draw.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub count: usize,
    /// Train a classifier on 60,000 of the pictures and test it on real ones.
    #[arg(long)]
    pub train_on_fake: bool,
    /// Seed of the noise and of the kernel distance's subsets.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `classifier`.
#[derive(Args, Debug)]
pub struct ClassifierArgs {
    /// Where the pictures come from.
    #[arg(
        long,
        value_name = "mnist|idx:DIR|folder:DIR|hub:mnist|hub:fashion-mnist",
        default_value = "mnist"
    )]
    pub dataset: String,
    /// How often every picture is seen.
    #[arg(long, value_name = "N", default_value_t = crate::commands::classifier::EPOCHS)]
    pub epochs: u64,
    /// Seed of weights, shuffles, distortions and dropout.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How exactly the CPU multiplies.
    #[arg(long, value_enum, default_value_t)]
    pub precision: PrecisionName,
    /// The folder that the weights are written into.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Where the pictures come from.
    #[arg(
        long,
        value_name = "mnist|idx:DIR|folder:DIR|hub:mnist|hub:fashion-mnist",
        default_value = "mnist"
    )]
    pub dataset: String,
    /// Write these classes only, e.g. 5 or 3,5,8 [default: all].
    #[arg(long, visible_alias = "class", value_name = "D[,D...]", value_delimiter = ',')]
    pub digit: Vec<String>,
    /// The part of the set.
    #[arg(long, value_enum, default_value_t)]
    pub split: SplitName,
    /// How pictures of folders are read.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Threads of the CPU [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The folder to make; none is there, or an empty one.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// A part of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// What models are trained on.
    #[default]
    Train,
    /// What is held back to measure them.
    Test,
}

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// A built-in recipe or a file of one's own.
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "default")]
    pub recipe: String,
    /// Pictures in a batch [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Steps to time.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub steps: u64,
    /// Threads [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How exactly to multiply.
    #[arg(long, value_enum, default_value_t)]
    pub precision: PrecisionName,
    /// Whose operators to time.
    #[arg(long, value_enum, default_value_t)]
    pub operators: Operators,
    /// Print the time of each layer's passes and of the updates too.
    #[arg(long)]
    pub layers: bool,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "layers")]
    pub json: bool,
}

/// Whose operators run the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operators {
    /// This project's.
    #[default]
    Kernels,
    /// candle's own.
    Candle,
}

/// How exactly the CPU multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionName {
    /// On a matrix unit (AMX) where there is one, with 16 bits of each factor's mantissa.
    #[default]
    High,
    /// In f32 throughout.
    Highest,
}

impl PrecisionName {
    /// That of runs from before there was a choice.
    pub(crate) fn of_old_runs() -> Self {
        Self::Highest
    }
}

/// How `generate` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One PNG of all pictures.
    Grid,
    /// A folder of PNG files.
    Png,
    /// A folder of IDX files.
    Idx,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// CUDA or Metal where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The first Apple GPU.
    Metal,
}
