//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};

/// Has a file written beside `path`, then renamed to it: `path` holds a whole file or what it held
/// before.
///
/// # Errors
/// The file cannot be written; whatever `fill` fails with.
pub(crate) fn write_whole<T>(
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
            // The first error is the one to report; there may be no file yet.
            let _ = fs::remove_file(&part);
        })
        .with_context(|| format!("making {}", path.display()))
}
