//! The command line's commands and options. Parsing reads no data and no files.

pub mod commands;
mod examples;
pub mod options;
pub mod train;
pub mod values;

use clap::{Parser, Subcommand};
#[cfg(feature = "serve")]
use commands::ServeArgs;
use commands::{
    BenchArgs, ClassifierArgs, CompletionsArgs, EvaluateArgs, ExportArgs, ExportHtmlArgs,
    ExportOnnxArgs, GenerateArgs, InterpolateArgs, InvertArgs, ScoreArgs, SummaryArgs,
};
use train::TrainArgs;

/// Trains generative adversarial networks and generates images with them.
///
/// Without a command it trains: `candle-gan --digit 5`.
#[derive(Debug, Parser)]
#[command(name = "candle-gan", version, args_conflicts_with_subcommands = true)]
#[command(after_help = examples::PROGRAM)]
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
    #[command(after_help = examples::TRAIN)]
    Train(Box<TrainArgs>),
    /// Generate images with a trained generator.
    #[command(after_help = examples::GENERATE)]
    Generate(GenerateArgs),
    /// Interpolate between latents, or between classes.
    #[command(after_help = examples::INTERPOLATE)]
    Interpolate(InterpolateArgs),
    /// Measure how close generated images, or other images, are to real ones.
    #[command(after_help = examples::EVALUATE)]
    Evaluate(EvaluateArgs),
    /// Print a discriminator's decision value of each image: negative for fake, positive for real.
    #[command(after_help = examples::SCORE)]
    Score(ScoreArgs),
    /// Search the latent whose image is nearest to an image.
    #[command(after_help = examples::INVERT)]
    Invert(InvertArgs),
    /// Show runs and their networks on a local web page.
    #[cfg(feature = "serve")]
    #[command(after_help = examples::SERVE)]
    Serve(ServeArgs),
    /// List the built-in recipes.
    #[command(after_help = examples::RECIPES)]
    Recipes,
    /// Print the layers of both networks: output shapes, parameters, multiply-adds.
    #[command(after_help = examples::SUMMARY)]
    Summary(SummaryArgs),
    /// Train a digit classifier, like the one whose features the metrics use.
    #[command(after_help = examples::CLASSIFIER)]
    Classifier(ClassifierArgs),
    /// Write a data set as a directory of images, one sub-directory for each class, or as IDX files.
    #[command(after_help = examples::EXPORT)]
    Export(ExportArgs),
    /// Write a trained generator as an HTML page that draws without a server.
    #[command(after_help = examples::EXPORT_HTML)]
    ExportHtml(ExportHtmlArgs),
    /// Write a trained generator as an ONNX model.
    #[command(after_help = examples::EXPORT_ONNX)]
    ExportOnnx(ExportOnnxArgs),
    /// Time a recipe's training step on the CPU.
    #[command(after_help = examples::BENCH)]
    Bench(BenchArgs),
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    /// Every command ends its help with examples, each a line that it accepts.
    #[test]
    fn help_ends_with_examples_that_parse() {
        let program = Cli::command();
        for command in program.get_subcommands().chain([&program]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (heading, examples) = help.split_once('\n').unwrap_or_default();
            assert_eq!(heading, "Examples:", "{}", command.get_name());
            for line in examples.lines() {
                // What follows is the shell's.
                let words = line.split_whitespace().take_while(|word| !["|", ">"].contains(word));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{}: {error}", command.get_name());
                }
            }
        }
    }
}
