//! Trains generative adversarial networks from the command line.
//!
//! [`run`] takes the parsed command line to its end; `main` only turns the result into an exit
//! code. The networks and everything that another program could use are in `gan-models`.
#![forbid(unsafe_code)]

pub mod args;
mod bench;
mod checkpoint;
mod classifier;
mod config;
mod curves;
mod data;
mod describe;
mod device;
mod drawing;
mod evaluate;
mod events;
mod gan;
mod generate;
mod interpolate;
mod judgement;
mod progress;
mod quality;
mod recipe;
mod run_folder;
mod score;
mod span_times;
mod statistics;
mod train;

use anyhow::Result;
use args::{Cli, Command};
use std::io::Write;
pub use train::{INTERRUPTED, Outcome};

/// Runs a command and writes its result to `print`.
///
/// # Errors
/// Everything that can go wrong, with the path, flag or step it happened at.
pub fn run(cli: &Cli, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    match &cli.command {
        None => train::train(&cli.train, print),
        Some(command) => {
            match command {
                Command::Train(args) => return train::train(args, print),
                Command::Generate(args) => generate::generate(args, print),
                Command::Interpolate(args) => interpolate::interpolate(args, print),
                Command::Evaluate(args) => evaluate::evaluate(args, print),
                Command::Score(args) => score::score(args, print),
                Command::Export(args) => data::export(args, print),
                Command::Recipes => describe::recipes(print),
                Command::Summary(args) => describe::summary(args, print),
                Command::Classifier(args) => classifier::classifier(args, print),
                Command::Bench(args) => bench::bench(args, print),
            }?;
            Ok(Outcome::Complete)
        }
    }
}
