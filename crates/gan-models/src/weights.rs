//! Weights to and from safetensors files.

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use candle_core::{Device, Tensor};
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
    write_whole(path, &bytes)
}

/// Reads a safetensors file into a device's memory.
///
/// # Errors
/// A file that cannot be read, or that is damaged or cut short.
pub fn load_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    tensors_of(path, &bytes, device)
}

/// Reads the content of a safetensors file, which errors call `path`, into a device's memory.
///
/// # Errors
/// Bytes that are damaged or cut short.
pub fn tensors_of(path: &Path, bytes: &[u8], device: &Device) -> Result<HashMap<String, Tensor>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| Error::Damaged { path: path.into(), reason: error.to_string() })?;
    Ok(candle_core::safetensors::load_buffer(bytes, device)?)
}

/// Reads the weights of a network that has the parameters `expected`.
///
/// # Errors
/// As [`load_tensors`]; [`Error::Architecture`] at the first tensor that is missing, misshapen
/// or too many.
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
/// [`Error::Architecture`], naming `path`, if the tensors are not exactly those of the
/// parameters; then nothing is changed.
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
/// [`Error::Architecture`] at the first tensor that is missing, misshapen or too many, naming
/// `path`.
pub fn check(path: &Path, tensors: &HashMap<String, Tensor>, expected: &Parameters) -> Result<()> {
    let wrong = |difference: String| Err(Error::Architecture { path: path.into(), difference });
    for (name, var) in expected.iter() {
        match tensors.get(name) {
            None => return wrong(format!("no {name}, which must have shape {:?}", var.dims())),
            Some(tensor) if tensor.dims() != var.dims() => {
                return wrong(format!(
                    "{name} has shape {:?}, must have {:?}",
                    tensor.dims(),
                    var.dims()
                ));
            }
            Some(tensor) if tensor.dtype() != var.dtype() => {
                return wrong(format!(
                    "{name} has type {:?}, must have {:?}",
                    tensor.dtype(),
                    var.dtype()
                ));
            }
            Some(_) => {}
        }
    }
    match tensors.keys().filter(|name| expected.get(name).is_none()).min() {
        Some(name) => wrong(format!("{name}, which the network does not have")),
        None => Ok(()),
    }
}

/// Writes a file beside its place and renames it there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".weights-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { path: path.into(), source })
}
