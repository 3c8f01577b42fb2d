//! Writes the man pages of `candle-gan` and of its commands: `cargo xtask man` runs it.
//!
//! `cargo run -p trainer --example man -- DIR`
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::CommandFactory;
use std::path::PathBuf;
use trainer::cli::Cli;

fn main() -> Result<()> {
    let out = std::env::args_os().nth(1).context("usage: man DIR")?;
    let out = PathBuf::from(out);
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    clap_mangen::generate_to(Cli::command(), &out)
        .with_context(|| format!("writing the man pages into {}", out.display()))
}
