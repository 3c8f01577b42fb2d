//! Tasks of the workspace, run as `cargo xtask TASK`.
//!
//! [`run`] carries out a parsed command line; `main` only turns the result into an exit code.

#![forbid(unsafe_code)]

mod animation;
mod bench;
mod browser_test;
mod check;
mod ci;
mod cluster_test;
mod downstream;
mod encoder;
mod fuzz;
mod image;
mod instructions;
mod man;
mod output;
mod package;
mod report;
mod run_directory;
mod sanitize;
mod say;
mod shard_test;
mod tidy;
mod torture;
mod trainer;

use anyhow::Result;
use clap::{Parser, Subcommand};

pub use crate::check::FailedCheck;
use crate::check::workspace_root;
pub use crate::report::Report;
use crate::say::say;

/// Tasks of the candle-gan workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make an animation of a run's sample images: a GIF or an animated PNG
    Gif(animation::Animation),
    /// Write a run's report: images, curves, metrics and configuration on one page
    Report(Report),
    /// Write the man pages of candle-gan and its commands
    Man(man::Man),
    /// Time every recipe's training step with each instruction set and write the tables of
    /// docs/benchmarks.md, or count its instructions
    Bench(bench::Bench),
    /// Test the program's web page in headless Chromium
    BrowserTest(browser_test::BrowserTest),
    /// Train on several ranks by MPI on two network namespaces, kill ranks, and resume the runs
    ClusterTest(cluster_test::ClusterTest),
    /// Run every check of the workspace, the cheapest first
    Ci,
    /// Check module docs, file lengths, white space and dependencies of modules
    Tidy,
    /// Package every crate that is published, and verify the packages
    Package(package::Package),
    /// Test the libraries from a program outside the workspace
    Downstream,
    /// Run the tests of gan-kernels under AddressSanitizer and ThreadSanitizer, on nightly Rust
    Sanitize(sanitize::Sanitize),
    /// Run the fuzz targets, which read damaged files, on nightly Rust with cargo-fuzz
    Fuzz(fuzz::Fuzz),
    /// Train on a set of tar files that is larger than the memory it may take, 1 GB
    ShardTest(shard_test::ShardTest),
    /// Kill and starve runs of the trainer, resume them, and compare them with undisturbed ones
    Torture(torture::Torture),
}

/// Carries out the task of a command line, and prints its result.
///
/// # Errors
/// [`FailedCheck`] if the task is a check that found a fault; everything else that can go wrong.
pub fn run(cli: Cli) -> Result<()> {
    match cli.task {
        Task::Gif(animation) => say(animation.make()?),
        Task::Report(report) => say(report.make()?),
        Task::Man(man) => say(man.make(&workspace_root())?),
        Task::Bench(bench) => say(bench.run(&workspace_root())?),
        Task::BrowserTest(test) => test.run(&workspace_root())?,
        Task::ClusterTest(test) => test.run(&workspace_root())?,
        Task::Ci => ci::run(&workspace_root())?,
        Task::Package(package) => say(package.run(&workspace_root())?),
        Task::Downstream => downstream::run(&workspace_root())?,
        Task::Tidy => say(tidy::run(&workspace_root())?),
        Task::Sanitize(sanitize) => sanitize.run(&workspace_root())?,
        Task::Fuzz(fuzz) => fuzz.run(&workspace_root())?,
        Task::ShardTest(test) => test.run(&workspace_root())?,
        Task::Torture(torture) => torture.run(&workspace_root())?,
    }
    Ok(())
}
