//! Atomic writing of files, and the names of directories.

use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file to a temporary name beside `path`, then renames it to `path`.
///
/// Until the rename, and after an error, `path` is what it was before: absent, or the old file. The
/// permissions are those of any new file (0666 less the umask). The bytes are not synced to the disk,
/// so a power failure can lose them.
///
/// # Errors
///
/// [`Error::Write`] with `path`. The temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    try_write(path, bytes).map_err(|source| Error::Write { path: path.into(), source })
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = temporary.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
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
    fn a_file_is_created_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        write_atomically(&path, b"longer text").unwrap();
        write_atomically(&path, b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(names(directory.path()), ["new"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |name| {
            let path = directory.path().join(name);
            fs::metadata(path).unwrap().permissions().mode()
        };
        fs::write(directory.path().join("plain"), b"").unwrap();
        write_atomically(&directory.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
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
