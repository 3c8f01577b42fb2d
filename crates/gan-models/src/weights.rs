//! Weights in safetensors files.

use crate::error::{Error, Result};
use crate::parameters::{self, Parameters};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// Writes parameters as a safetensors file, whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn save(path: &Path, parameters: &Parameters) -> Result<()> {
    save_tensors(path, parameters.iter().map(|(name, var)| (name, var.as_tensor())))
}

/// Writes named tensors as a safetensors file, whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn save_tensors<N: AsRef<str> + Ord + std::fmt::Display, T: AsRef<Tensor>>(
    path: &Path,
    tensors: impl IntoIterator<Item = (N, T)>,
) -> Result<()> {
    let tensors: Vec<(N, Tensor)> =
        tensors.into_iter().map(|(name, tensor)| (name, tensor.as_ref().clone())).collect();
    let bytes = safetensors::serialize(tensors, None).map_err(|error| Error::Io {
        path: path.into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    write_atomic(path, &bytes)
}

/// Reads a safetensors file onto a device.
///
/// # Errors
/// A file that cannot be read, or that is damaged or cut short.
pub fn load_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    tensors_from_bytes(path, &bytes, device)
}

/// Reads the bytes of a safetensors file onto a device. Errors name `path`.
///
/// # Errors
/// Bytes that are damaged or cut short.
pub fn tensors_from_bytes(
    path: &Path,
    bytes: &[u8],
    device: &Device,
) -> Result<HashMap<String, Tensor>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| Error::Damaged { path: path.into(), reason: error.to_string() })?;
    Ok(candle_core::safetensors::load_buffer(bytes, device)?)
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
    Ok(parameters::load(path, device, false, build)?.0)
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
/// over.
pub fn check(path: &Path, tensors: &HashMap<String, Tensor>, expected: &Parameters) -> Result<()> {
    let wrong = |difference: String| Error::Architecture { path: path.into(), difference };
    for (name, var) in expected.iter() {
        difference(name, tensors.get(name), var.dims(), var.dtype()).map_err(wrong)?;
    }
    match tensors.keys().filter(|name| expected.get(name).is_none()).min() {
        Some(name) => Err(wrong(format!("{name}, which the network does not have"))),
        None => Ok(()),
    }
}

/// The tensor that was found for a parameter, or the difference to the one that is needed.
pub(crate) fn difference<'a>(
    name: &str,
    found: Option<&'a Tensor>,
    dims: &[usize],
    dtype: DType,
) -> Result<&'a Tensor, String> {
    match found {
        None => Err(format!("no {name}, which must have shape {dims:?}")),
        Some(tensor) if tensor.dims() != dims => {
            Err(format!("{name} has shape {:?}, must have {dims:?}", tensor.dims()))
        }
        Some(tensor) if tensor.dtype() != dtype => {
            Err(format!("{name} has type {:?}, must have {dtype:?}", tensor.dtype()))
        }
        Some(tensor) => Ok(tensor),
    }
}

/// Writes a temporary file in the same directory and renames it to `path`.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".weights-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { path: path.into(), source })
}
