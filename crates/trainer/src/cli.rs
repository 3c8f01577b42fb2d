//! The command line's commands and options. Parsing reads no data and no files.

pub mod commands;
pub mod options;
pub mod train;
pub mod values;

use clap::{Parser, Subcommand};
#[cfg(feature = "serve")]
use commands::ServeArgs;
use commands::{
    BenchArgs, ClassifierArgs, EvaluateArgs, ExportArgs, GenerateArgs, InterpolateArgs, InvertArgs,
    ScoreArgs, SummaryArgs,
};
use train::TrainArgs;

/// Trains generative adversarial networks and generates images with them.
///
/// Without a command it trains: `candle-gan --digit 5`.
#[derive(Debug, Parser)]
#[command(name = "candle-gan", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command. Without one the program trains.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `train` if no command is given.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a generator (the default command).
    Train(Box<TrainArgs>),
    /// Generate images with a trained generator.
    Generate(GenerateArgs),
    /// Interpolate between latents, or between classes.
    Interpolate(InterpolateArgs),
    /// Measure how close generated images, or other images, are to real ones.
    Evaluate(EvaluateArgs),
    /// Print a discriminator's decision value of each image: negative for fake, positive for real.
    Score(ScoreArgs),
    /// Search the latent whose image is nearest to an image.
    Invert(InvertArgs),
    /// Show runs and their networks on a local web page.
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// List the built-in recipes.
    Recipes,
    /// Print the layers of both networks: output shapes, parameters, multiply-adds.
    Summary(SummaryArgs),
    /// Train a digit classifier, like the one whose features the metrics use.
    Classifier(ClassifierArgs),
    /// Write a data set as a directory of images, one sub-directory for each class.
    Export(ExportArgs),
    /// Time a recipe's training step on the CPU.
    Bench(BenchArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }
}
