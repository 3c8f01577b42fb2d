//! Networks in directories of two files: `config.json` and `model.safetensors`.

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::{tensor_file, weights};
use candle_core::Device;
use candle_nn::VarBuilder;
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// Name of a network's configuration in its directory.
pub const CONFIG_FILE: &str = "config.json";
/// Name of a network's weights in its directory.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Writes a network's two files into a directory. It is created if it is missing, but not the
/// directories that it is in: a run that was moved meanwhile must not come back in part.
pub(crate) fn save(
    directory: &Path,
    config: &impl Serialize,
    parameters: &Parameters,
) -> Result<()> {
    gan_files::make(directory).map_err(|source| Error::Io { path: directory.into(), source })?;
    weights::save(&directory.join(WEIGHTS_FILE), parameters)?;
    let path = directory.join(CONFIG_FILE);
    let mut text = serde_json::to_vec_pretty(config)
        .map_err(|source| Error::Json { path: path.clone(), source })?;
    text.push(b'\n');
    tensor_file::write_atomic(&path, &text)
}

/// Builds the network of a directory on weights that are fixed.
pub(crate) fn load<C: DeserializeOwned, T>(
    directory: &Path,
    device: &Device,
    build: impl FnOnce(C, VarBuilder) -> Result<T>,
) -> Result<T> {
    let config = read_config(directory)?;
    weights::load_network(&directory.join(WEIGHTS_FILE), device, |vars| build(config, vars))
}

/// Builds the network of a directory on weights that are trainable.
pub(crate) fn load_trainable<C: DeserializeOwned, T>(
    directory: &Path,
    device: &Device,
    build: impl FnOnce(C, VarBuilder) -> Result<T>,
) -> Result<(T, Parameters)> {
    let config = read_config(directory)?;
    Parameters::load(&directory.join(WEIGHTS_FILE), device, |vars| build(config, vars))
}

fn read_config<C: DeserializeOwned>(directory: &Path) -> Result<C> {
    let path = directory.join(CONFIG_FILE);
    let text = gan_files::read_to_string(&path, gan_files::SETTINGS_LIMIT)
        .map_err(|source| Error::Io { path: path.clone(), source })?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path, source })
}
