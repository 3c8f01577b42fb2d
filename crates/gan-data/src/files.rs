//! Atomic writing of files, and the names of directories.

use std::fs;
use std::path::Path;

use gan_files::NewDirectory;

use crate::{Error, Result};

/// Writes a file to a temporary name beside `path`, then renames it to `path`, as
/// [`gan_files::write`] does.
///
/// # Errors
///
/// [`Error::Write`] with `path`. The temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    gan_files::write(path, bytes).map_err(|source| Error::Write { path: path.into(), source })
}

/// Reads a regular file, as [`gan_files::read`] does.
///
/// # Errors
///
/// [`Error::Read`] with `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    gan_files::read(path).map_err(|source| Error::Read { path: path.into(), source })
}

/// Opens a regular file, as [`gan_files::open`] does.
///
/// # Errors
///
/// [`Error::Read`] with `path`.
pub(crate) fn open(path: &Path) -> Result<fs::File> {
    gan_files::open(path).map_err(|source| Error::Read { path: path.into(), source })
}

/// Begins a directory that must be new or empty, as [`NewDirectory::create`] does.
///
/// # Errors
///
/// [`Error::NotEmpty`]; [`Error::Write`].
pub(crate) fn create_directory(place: &Path) -> Result<NewDirectory> {
    let failed = |source| Error::Write { path: place.into(), source };
    if place.exists() && fs::read_dir(place).map_err(failed)?.next().is_some() {
        return Err(Error::NotEmpty { path: place.into() });
    }
    NewDirectory::create(place).map_err(failed)
}

/// Returns the last component of a directory's path, also for `.` and `..`.
pub(crate) fn directory_name(directory: &Path) -> String {
    let named = match directory.file_name() {
        Some(_) => directory.into(),
        None => directory.canonicalize().unwrap_or_default(), // ".", "..", "/"
    };
    named.file_name().map_or_else(|| "images".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent").join("file");
        let error = write_atomically(&absent, b"text").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", absent.display()));
    }
}
