//! `completions`: a script that completes commands and options in a shell.

use crate::cli::Cli;
use crate::cli::commands::CompletionsArgs;
use anyhow::Result;
use clap::CommandFactory;
use std::io::Write;

/// Prints the script.
///
/// # Errors
/// A standard output that cannot be written.
pub(crate) fn completions(args: &CompletionsArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_string();
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Ok(print.write_all(&script)?)
}
