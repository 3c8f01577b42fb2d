//! The program `cargo xtask`.
//!
//! Exit codes: 0 done, 1 a check failed, 2 the task could not be carried out.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use gan_files::Line;
use xtask::{Cli, FailedCheck};

fn main() -> ExitCode {
    match xtask::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", Line(format_args!("{error:#}")));
            ExitCode::from(if error.is::<FailedCheck>() { 1 } else { 2 })
        }
    }
}
