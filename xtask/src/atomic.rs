//! Writes files atomically.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file beside `path` with `fill`, then renames it to `path`. On failure `path` keeps what
/// it held before.
///
/// # Errors
/// The file cannot be written, or `fill` fails.
pub(crate) fn write_atomically<T>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let part = path.with_added_extension("part");
    let write = || -> Result<T> {
        let mut file = BufWriter::new(File::create(&part)?);
        let filled = fill(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&part, path)?;
        Ok(filled)
    };
    write()
        .inspect_err(|_| {
            // The first error is the one to report, and the file may not exist.
            let _ = fs::remove_file(&part);
        })
        .with_context(|| format!("making {}", path.display()))
}
