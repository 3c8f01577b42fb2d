//! Weights in safetensors files.

pub use crate::tensor_file::{load_tensors, save_tensors, tensors_from_bytes};

use crate::error::{Error, Result};
use crate::parameters::{self, Parameters};
use crate::tensor_file::{check_finite, difference};
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use std::collections::HashMap;
use std::path::Path;

/// Writes parameters as a safetensors file, whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn save(path: &Path, parameters: &Parameters) -> Result<()> {
    save_tensors(path, parameters.iter().map(|(name, var)| (name, var.as_tensor())))
}

/// Builds a network for inference on the weights of a safetensors file.
///
/// # Errors
/// As [`load_tensors`]; errors of `build`; [`Error::Architecture`] at the first tensor that is
/// missing, misshapen or left over, naming both shapes.
pub fn load_network<T>(
    path: &Path,
    device: &Device,
    build: impl FnOnce(VarBuilder) -> Result<T>,
) -> Result<T> {
    Ok(parameters::load((path, load_tensors(path, device)?), device, false, build)?.0)
}

/// Reads the weights of a network with the parameters `expected`.
///
/// # Errors
/// As [`load_tensors`]; [`Error::Architecture`] at the first tensor that is missing, misshapen or
/// left over.
pub fn load(
    path: &Path,
    expected: &Parameters,
    device: &Device,
) -> Result<HashMap<String, Tensor>> {
    let tensors = load_tensors(path, device)?;
    check(path, &tensors, expected)?;
    Ok(tensors)
}

/// Sets parameters to the tensors of the same names.
///
/// # Errors
/// [`Error::Architecture`], naming `path`, if the tensors are not exactly those of the parameters.
/// The parameters are then unchanged.
pub fn restore(
    path: &Path,
    tensors: &HashMap<String, Tensor>,
    parameters: &Parameters,
) -> Result<()> {
    check(path, tensors, parameters)?;
    for (name, var) in parameters.iter() {
        var.set(&tensors[name])?;
    }
    Ok(())
}

/// Checks that tensors are exactly those of the parameters.
///
/// # Errors
/// [`Error::Architecture`], naming `path`, at the first tensor that is missing, misshapen or left
/// over; [`Error::NotFinite`] at the first with values that are NaN or infinite.
pub fn check(path: &Path, tensors: &HashMap<String, Tensor>, expected: &Parameters) -> Result<()> {
    let wrong = |difference: String| Error::Architecture { path: path.into(), difference };
    for (name, var) in expected.iter() {
        difference(name, tensors.get(name), var.dims(), var.dtype()).map_err(wrong)?;
    }
    match tensors.keys().filter(|name| expected.get(name).is_none()).min() {
        Some(name) => Err(wrong(format!("{name}, which the network does not have"))),
        None => check_finite(path, expected.iter().map(|(name, _)| (name, &tensors[name]))),
    }
}
