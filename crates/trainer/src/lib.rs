//! Trains generative adversarial networks from the command line.
//!
//! [`run`] takes the parsed command line to its end; `main` only turns the result into an exit
//! code. The networks and everything that another program could use are in `gan-models`.
#![forbid(unsafe_code)]

pub mod cli;
mod commands;
mod config;
mod dataset;
mod device;
mod gan;
mod judgement;
mod progress;
mod quality;
mod recipe;
mod run;
mod train_loop;

use anyhow::Result;
use cli::{Cli, Command};
use std::io::Write;
pub use train_loop::{INTERRUPTED, Outcome};

/// Runs a command and writes its result to `print`.
///
/// # Errors
/// Everything that can go wrong, with the path, flag or step it happened at.
pub fn run(cli: &Cli, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    match &cli.command {
        None => train_loop::train(&cli.train, print),
        Some(command) => {
            match command {
                Command::Train(args) => return train_loop::train(args, print),
                Command::Generate(args) => commands::generate::generate(args, print),
                Command::Interpolate(args) => commands::interpolate::interpolate(args, print),
                Command::Evaluate(args) => commands::evaluate::evaluate(args, print),
                Command::Score(args) => commands::score::score(args, print),
                Command::Export(args) => dataset::export(args, print),
                Command::Recipes => commands::summary::recipes(print),
                Command::Summary(args) => commands::summary::summary(args, print),
                Command::Classifier(args) => commands::classifier::classifier(args, print),
                Command::Bench(args) => commands::bench::bench(args, print),
            }?;
            Ok(Outcome::Complete)
        }
    }
}
