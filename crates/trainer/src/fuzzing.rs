//! Readers that no other program needs: the fuzz targets call them.

use crate::cli::train::SessionOptions;
use crate::commands::summary;
use crate::config::{TrainConfig, resolve};
use crate::run::{curves::curves, statistics};
use anyhow::Result;
use candle_core::Device;
use std::path::Path;

/// Reads the `config.json` of a run, builds its networks and prints them, as `--resume --dry-run`
/// does. The data set is looked up by name, but not read.
///
/// # Errors
/// Text that is no configuration; values out of range.
pub fn run_config(text: &[u8]) -> Result<()> {
    let config = TrainConfig::from_json(text)?;
    config.check()?;
    resolve::data_of(&config, &SessionOptions::default())?;
    config.gan(&Device::Cpu)?;
    summary::networks(&config, &mut std::io::sink())
}

/// Reads a `stats.jsonl` and draws its curves, as a run that is resumed does.
///
/// # Errors
/// A file that cannot be read.
pub fn statistics(path: &Path) -> Result<()> {
    curves(&statistics::read(path)?).svg();
    Ok(())
}
