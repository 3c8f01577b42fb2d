//! `cargo xtask man`: man pages of the program and of its commands.
//!
//! An example of the trainer writes them, from the definition of its command line, so that neither
//! this program nor `candle-gan` contains their writer.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::check::run_cargo;

/// Options of `cargo xtask man`.
#[derive(Args)]
pub(crate) struct Man {
    /// Directory to write into
    #[arg(long, value_name = "DIR", default_value = "target/man")]
    out: PathBuf,
}

impl Man {
    /// Writes `candle-gan.1`, `candle-gan-train.1` and so on, and returns a line that reports it.
    ///
    /// # Errors
    /// A trainer that cannot be built; files that cannot be written.
    pub(crate) fn make(&self, root: &Path) -> Result<String> {
        let out = std::path::absolute(&self.out)?.display().to_string();
        let example = ["run", "--quiet", "--package", "trainer", "--example", "man", "--"];
        run_cargo(root, &[&example[..], &[&out]].concat(), &[])?;
        Ok(format!("man pages in {out}; `man {out}/candle-gan.1` shows the first"))
    }
}
