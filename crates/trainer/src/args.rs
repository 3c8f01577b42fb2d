//! The command line, as typed: nothing is checked here against data or files.

use clap::{Args, Parser, Subcommand, ValueEnum};
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
    #[arg(long, value_name = "mnist|idx:DIR|hub:mnist|hub:fashion-mnist")]
    pub dataset: Option<String>,
    /// A built-in recipe or a file of one's own [default: default].
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// Train until every picture has been seen this often, steps of earlier sessions included.
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Train until this step, those of earlier sessions included.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Pictures in a batch.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate of both networks, or of the generator and the discriminator.
    #[arg(long, value_name = "X", num_args = 1..=2)]
    pub lr: Vec<f64>,
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
        ["digit", "dataset", "recipe", "batch_size", "lr", "seed", "precision", "out"])]
    pub resume: Option<PathBuf>,
    /// Print the configuration and the networks' sizes, and stop.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// The run whose generator draws [default: the newest under runs].
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A generator's folder.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
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
