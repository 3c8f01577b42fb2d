//! Atomic writing of files, and the names of directories.

use std::path::Path;

use crate::{Error, Result};

/// Writes a file to a temporary name beside `path`, then renames it to `path`, as
/// [`gan_files::write`].
///
/// # Errors
///
/// [`Error::Write`] with `path`, which is then what it was before.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    gan_files::write(path, bytes).map_err(|source| Error::Write { path: path.into(), source })
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
    use std::fs;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        let error = write_atomically(&taken, b"text").unwrap_err();
        assert!(matches!(&error, Error::Write { path, .. } if *path == taken));
        assert_eq!(names(directory.path()), ["taken"]);

        let absent = directory.path().join("absent").join("file");
        let error = write_atomically(&absent, b"text").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", absent.display()));
    }
}
