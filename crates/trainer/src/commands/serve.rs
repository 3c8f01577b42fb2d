//! `serve`: a local web page of runs and their networks.

use crate::cli::commands::ServeArgs;
use crate::device;
use crate::serve::{Content, Server};
use anyhow::{Result, ensure};
use std::io::Write;

/// Prints the address of the page and serves it until the program is stopped.
///
/// # Errors
/// Directories that do not exist; an address that this machine does not have; a port that is in use.
pub(crate) fn serve(args: &ServeArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    for (flag, directory) in [("runs", Some(&args.runs)), ("weights", args.weights.as_ref())] {
        let Some(directory) = directory else { continue };
        let is_usable = directory.is_dir() || (flag == "runs" && !directory.exists());
        ensure!(is_usable, "--{flag} {}: no such directory", directory.display());
    }
    device::set_precision(args.precision.precision.unwrap_or_default());
    let server = Server::bind(args.address, args.port)?;
    writeln!(print, "{}", server.url())?;
    print.flush()?;
    let pool = device::pool(args.threads)?;
    server.run(Content { runs: args.runs.clone(), weights: args.weights.clone(), pool })
}
