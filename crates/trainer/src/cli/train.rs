//! The options of `train`: those that determine what a run computes, and those of each session.

use super::options::{
    DataOptions, DeviceOption, PrecisionOption, SeedOption, StrictOption, ThreadsOption, ids_of,
};
use super::values::{ConditionName, LossName, ProgressName};
use clap::Args;
use std::path::PathBuf;

/// Options of `train`.
#[derive(Args, Clone, Debug, Default)]
pub struct TrainArgs {
    /// Options of a new run.
    #[command(flatten)]
    pub run: NewRunOptions,
    /// Options of this session.
    #[command(flatten)]
    pub session: SessionOptions,
}

/// Options that determine what a new run computes. A resumed run keeps its own.
#[derive(Args, Clone, Debug, Default)]
pub struct NewRunOptions {
    /// The images to train on.
    #[command(flatten)]
    pub data: DataOptions,
    /// Fraction of the images that is held out to measure with, for data sets without test images;
    /// 0 for none [default: 0.1 if that is 20 images or more].
    #[arg(long, value_name = "FRACTION")]
    pub holdout: Option<f64>,
    /// Images that are shuffled together, for --dataset shards:DIR [default: 10000].
    #[arg(long, value_name = "N")]
    pub shuffle_buffer: Option<usize>,
    /// A built-in recipe or a recipe file [default: by size, channels and classes of the images].
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// Steps between two sample grids [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub sample_every: Option<u64>,
    /// Images in a batch [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Equal parts of a batch that pass through the networks one after the other, or on several
    /// ranks: memory follows the part, and results depend on K alone, not on the number of ranks
    /// [default: the recipe's, or else the number of ranks].
    #[arg(long, value_name = "K")]
    pub micro_batches: Option<usize>,
    /// Learning rate of both networks, or of the generator and the discriminator [default: the
    /// recipe's].
    #[arg(long, value_name = "X", num_args = 1..=2)]
    pub lr: Vec<f64>,
    /// Changes to the recipe's loss and regularisation.
    #[command(flatten)]
    pub loss: LossOptions,
    /// Give a key of the recipe another value, as in `--set ema_decay=0.998` or `--set
    /// generator_adam.beta1=0`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Start from the networks of another run, or from the generator of a directory, instead of
    /// random weights. `--set frozen_layers=N` leaves the weights of the discriminator's first N layers
    /// as they are.
    #[arg(long, value_name = "RUN|DIR")]
    pub init_from: Option<PathBuf>,
    /// Lay the run out for this time: the step is timed first, then its number and the schedules
    /// follow.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["steps", "epochs"])]
    pub budget: Option<f64>,
    /// Seed of weights, latents, shuffles and dropout.
    #[command(flatten)]
    pub seed: SeedOption,
    /// The precision of matrix products on the CPU.
    #[command(flatten)]
    pub precision: PrecisionOption,
    /// The directory that run directories are made in [default: runs].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of a session, of a new run or of a resumed one.
#[derive(Args, Clone, Debug, Default)]
pub struct SessionOptions {
    /// Train for this many epochs in total, including earlier sessions.
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Train for this many steps in total, including earlier sessions.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The device.
    #[command(flatten)]
    pub device: DeviceOption,
    /// Whether damaged images are skipped.
    #[command(flatten)]
    pub strict: StrictOption,
    /// Continue this run from its last checkpoint, with its own configuration.
    #[arg(long, value_name = "RUN", conflicts_with_all = ids_of::<NewRunOptions>())]
    pub resume: Option<PathBuf>,
    /// How progress is shown.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressName,
    /// Print the configuration and the networks' sizes, and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Show the run on a local web page while it trains.
    #[cfg(feature = "serve")]
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "7860")]
    pub serve: Option<u16>,
}

/// Heading of the loss options in help texts.
const LOSS: &str = "Loss and regularisation [default: the recipe's]";

/// Changes to a recipe's loss and regularisation.
#[derive(Args, Clone, Debug, Default)]
pub struct LossOptions {
    /// The loss of both networks.
    #[arg(long, help_heading = LOSS, value_enum, value_name = "NAME")]
    pub loss: Option<LossName>,
    /// How the networks are conditioned on the class, if there are several classes.
    #[arg(long, help_heading = LOSS, value_enum, value_name = "HOW")]
    pub condition: Option<ConditionName>,
    /// Gamma of the R1 penalty: gamma/2 times the squared norm of the discriminator's gradient at
    /// real images, by finite differences; 0 for none.
    #[arg(long, help_heading = LOSS, value_name = "GAMMA")]
    pub r1_gamma: Option<f64>,
    /// The old name of --r1-gamma.
    #[arg(long, help_heading = LOSS, value_name = "GAMMA", hide = true, conflicts_with = "r1_gamma")]
    pub gradient_penalty: Option<f64>,
    /// Largest spectral norm of each of the discriminator's weights; 0 for no limit.
    #[arg(long, help_heading = LOSS, value_name = "X")]
    pub spectral_norm: Option<f64>,
    /// Shift the images that the discriminator sees by up to this many pixels.
    #[arg(long, help_heading = LOSS, value_name = "PIXELS")]
    pub translation: Option<usize>,
    /// Black out a square of this side in the images that the discriminator sees.
    #[arg(long, help_heading = LOSS, value_name = "PIXELS")]
    pub cutout: Option<usize>,
    /// Add noise of this standard deviation to the images that the discriminator sees; it falls
    /// to 0 over the recipe's length.
    #[arg(long, help_heading = LOSS, value_name = "STD")]
    pub instance_noise: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    /// Every option of a new run, including nested structs, conflicts with `--resume`.
    #[test]
    fn a_run_that_is_resumed_takes_no_option_of_a_new_one() {
        let new_run = NewRunOptions::augment_args(clap::Command::new(""));
        let mut flags = 0;
        for argument in new_run.get_arguments() {
            let flag = format!("--{}", argument.get_long().expect("a long flag"));
            let possible = argument.get_possible_values();
            let value = possible.first().map_or("1", |value| value.get_name()).to_string();
            for command in [&["candle-gan"][..], &["candle-gan", "train"]] {
                let line = command.iter().copied().chain(["--resume", "run", &flag, &value]);
                let error = Cli::try_parse_from(line).expect_err(&flag).to_string();
                assert!(error.contains("--resume") && error.contains(&flag), "{flag}: {error}");
            }
            flags += 1;
        }
        assert!(flags >= 18, "{flags}");
        let line = "candle-gan --resume run --steps 9 --threads 1 --device cpu --strict --dry-run --progress json";
        assert!(Cli::try_parse_from(line.split(' ')).is_ok());
    }
}
