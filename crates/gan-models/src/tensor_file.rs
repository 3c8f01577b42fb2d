//! Named tensors in safetensors files.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;

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
    tensors_from_bytes(path, &read(path)?, device)
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

/// Checks that the values of a file's tensors are finite.
///
/// # Errors
/// [`Error::NotFinite`] names the first tensor that has others.
pub(crate) fn check_finite<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<()> {
    for (name, tensor) in tensors {
        // Zero times NaN or infinity is NaN.
        let zeros = tensor.to_dtype(DType::F32)?.affine(0.0, 0.0)?;
        if zeros.sum_all()?.to_scalar::<f32>()?.is_nan() {
            return Err(Error::NotFinite { path: path.into(), tensor: name.to_string() });
        }
    }
    Ok(())
}

/// Writes a file, whole or not at all.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    gan_files::write(path, bytes).map_err(|source| Error::Io { path: path.into(), source })
}

/// Reads a regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    gan_files::read(path).map_err(|source| Error::Io { path: path.into(), source })
}
