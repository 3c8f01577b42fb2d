//! Reads and writes f32 matrices as NumPy's `.npy` files.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Candle's own
//! reader allocates whatever a header announces, so a damaged file would end the program.

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a matrix of `columns` columns; f64 values are rounded to f32.
///
/// # Shapes
/// Result: (N, `columns`) f32, N at least 1, on the CPU.
/// # Errors
/// A file that cannot be read, is damaged, or holds another type or shape; NaN or infinite values.
pub(crate) fn read(path: &Path, columns: usize) -> Result<Tensor> {
    let bytes = gan_files::read(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&bytes, columns).with_context(|| path.display().to_string())
}

fn parse(bytes: &[u8], columns: usize) -> Result<Tensor> {
    let (header, data) = split(bytes).context("not a whole .npy file")?;
    let value = |key: &str| -> Result<&str> {
        let (_, rest) =
            header.split_once(key).with_context(|| format!("no {key} in its header"))?;
        Ok(rest.trim_start_matches([':', ' ']))
    };
    let descr = value("'descr'")?;
    let shape = value("'shape'")?;
    ensure!(
        value("'fortran_order'")?.starts_with("False"),
        "values in Fortran order; save numpy.ascontiguousarray(latents)"
    );
    let shape = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(dims, _)| dims);
    let shape = shape.context("no shape in its header")?;
    let dims: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse().ok())
        .collect();
    let rows = match dims.as_deref() {
        Some(&[rows, found]) if rows > 0 && found == columns => rows,
        _ => bail!("values of shape ({shape}); this generator takes (N, {columns}), N at least 1"),
    };
    let size = match descr.trim_start_matches('\'') {
        descr if descr.starts_with("<f4'") => 4,
        descr if descr.starts_with("<f8'") => 8,
        descr => bail!(
            "values of type {}; latents are little-endian f32 or f64",
            descr.split('\'').next().unwrap_or_default()
        ),
    };
    let wanted = rows.checked_mul(columns).and_then(|count| count.checked_mul(size));
    ensure!(
        wanted == Some(data.len()),
        "{} bytes of values, which is not what shape ({shape}) takes",
        data.len()
    );
    let values: Vec<f32> = match size {
        4 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        _ => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
    };
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        bail!("value {} of row {} is {}", at % columns, at / columns, values[at]);
    }
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// Splits a file into its header and its data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_at_checked(2)?;
    let (length, rest) = match version[0] {
        1 => {
            rest.split_first_chunk::<2>().map(|(n, rest)| (u16::from_le_bytes(*n).into(), rest))?
        }
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n), rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length as usize)?;
    Some((str::from_utf8(header).ok()?, data))
}

/// Writes a matrix atomically.
///
/// # Shapes
/// `matrix`: (N, columns) f32.
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(path: &Path, matrix: &Tensor) -> Result<()> {
    let (rows, columns) = matrix.dims2()?;
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Magic, version, length, header and a line feed end at a multiple of 64 bytes.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<width$}\n", width = length - 1);
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), header.as_bytes()].concat();
    for value in matrix.flatten_all()?.to_vec1::<f32>()? {
        bytes.extend(value.to_le_bytes());
    }
    Ok(gan_data::files::write_atomically(path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What candle writes is read, and what is written candle reads.
    #[test]
    fn files_are_those_of_numpy() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.npy");
        let matrix = Tensor::new(&[[1.0_f32, -2.5, 3e-8], [0.0, 4.0, -5.0]], &Device::Cpu)?;
        matrix.write_npy(&path)?;
        assert_eq!(read(&path, 3)?.to_vec2::<f32>()?, matrix.to_vec2::<f32>()?);
        write(&path, &matrix)?;
        assert_eq!(Tensor::read_npy(&path)?.to_vec2::<f32>()?, matrix.to_vec2::<f32>()?);
        assert_eq!(fs::read(&path)?.len(), 128 + 4 * 6);
        let double = matrix.to_dtype(candle_core::DType::F64)?;
        double.write_npy(&path)?;
        assert_eq!(read(&path, 3)?.to_vec2::<f32>()?, matrix.to_vec2::<f32>()?);
        Ok(())
    }

    #[test]
    fn other_files_are_refused() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a.npy");
        write(&path, &Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)?)?;
        let whole = fs::read(&path)?;
        let error = |bytes: &[u8]| format!("{:#}", parse(bytes, 3).expect_err("damaged"));
        let changed = |from: &str, to: &str| {
            let at = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes());
            let at = at.expect("in the header");
            error(&[&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat())
        };
        for length in 0..whole.len() {
            error(&whole[..length]);
        }
        assert!(error(&[&whole[..], b"more"].concat()).starts_with("28 bytes of values"));
        assert!(changed("(2, 3)", "(3, 2)").contains("shape (3, 2); this generator takes (N, 3)"));
        assert!(changed("(2, 3)", "(2,)  ").contains("shape (2,)"));
        let huge = changed("(2, 3), }          ", "(99999999999, 3), }");
        assert!(huge.starts_with("24 bytes of values"), "{huge}");
        assert!(changed("(2, 3)", "(0, 3)").contains("N at least 1"));
        assert!(changed("<f4", "<i4").contains("type <i4"));
        assert!(changed("False", "True ").contains("Fortran"));
        let nan = [&whole[..whole.len() - 4], &f32::NAN.to_le_bytes()].concat();
        assert_eq!(error(&nan), "value 2 of row 1 is NaN");
        Ok(())
    }
}
