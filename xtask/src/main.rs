//! The program `cargo xtask`.
//!
//! Exit codes: 0 done, 1 a check failed, 2 the task could not be carried out.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a command line program reports by printing")]

use std::process::ExitCode;

use clap::Parser;
use xtask::{Cli, FailedCheck, plain};

fn main() -> ExitCode {
    match xtask::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", plain(&format!("{error:#}")));
            ExitCode::from(if error.is::<FailedCheck>() { 1 } else { 2 })
        }
    }
}
