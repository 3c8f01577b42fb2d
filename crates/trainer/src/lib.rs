//! Trains generative adversarial networks from the command line.
//!
//! [`run`] executes a parsed command line; `main` only turns the result into an exit code. The parts
//! that other programs can use are the library crates that this one is built on.
#![forbid(unsafe_code)]

pub mod cli;
mod commands;
mod config;
mod dataset;
mod device;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod inversion;
mod npy;
mod output;
mod quality;
mod ranks;
mod recipe;
mod run;
mod sampling;
#[cfg(feature = "serve")]
mod serve;
mod step_time;
mod train_loop;

use anyhow::Result;
use cli::{Cli, Command};
use output::{Output, Unread};
pub use ranks::is_first_rank;
use std::io::Write;
pub use train_loop::Outcome;
pub use train_loop::interrupt::INTERRUPTED;

/// Runs a command and writes its result to `print`, without control characters. Where `print` is a pipe
/// that is closed, training goes on without printing; other commands end, which is no error.
///
/// # Errors
/// Everything that can go wrong, with the path, flag or step that it is about.
pub fn run(cli: &Cli, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    let unread = match &cli.command {
        None | Some(Command::Train(_)) => Unread::GoesOn,
        Some(_) => Unread::Ends,
    };
    let print = &mut Output::new(print, unread);
    match run_command(cli, print) {
        Err(_) if unread == Unread::Ends && print.is_closed() => Ok(Outcome::Complete),
        result => result,
    }
}

fn run_command(cli: &Cli, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    match &cli.command {
        None => return commands::train::train(&cli.train, print),
        Some(Command::Train(args)) => return commands::train::train(args, print),
        Some(Command::Generate(args)) => commands::generate::generate(args, print),
        Some(Command::Interpolate(args)) => commands::interpolate::interpolate(args, print),
        Some(Command::Evaluate(args)) => commands::evaluate::evaluate(args, print),
        Some(Command::Score(args)) => commands::score::score(args, print),
        Some(Command::Invert(args)) => commands::invert::invert(args, print),
        Some(Command::Export(args)) => commands::export::export(args, print),
        Some(Command::ExportHtml(args)) => commands::export_html::export_html(args, print),
        Some(Command::ExportOnnx(args)) => commands::export_onnx::export_onnx(args, print),
        Some(Command::Completions(args)) => commands::completions::completions(args, print),
        #[cfg(feature = "serve")]
        Some(Command::Serve(args)) => commands::serve::serve(args, print),
        Some(Command::Recipes) => commands::recipes::recipes(print),
        Some(Command::Summary(args)) => commands::summary::summary(args, print),
        Some(Command::Classifier(args)) => commands::classifier::classifier(args, print),
        Some(Command::Bench(args)) => commands::bench::bench(args, print),
    }?;
    Ok(Outcome::Complete)
}
