//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file under a temporary name beside `path`, then renames it to `path`.
///
/// Who looks at `path` meanwhile, or after a failure, sees what was there before: nothing,
/// or the old file. A new file gets the permissions that any new file gets (0666 less the
/// umask). A power cut is not guarded against: nothing forces the bytes to the disk.
///
/// # Errors
///
/// [`Error::Write`], naming `path`; the temporary file is gone by then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    try_write(path, bytes).map_err(|source| Error::Write { path: path.into(), source })
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = temporary.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_made_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        write_whole(&path, b"longer text").unwrap();
        write_whole(&path, b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(names(folder.path()), ["new"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name| {
            let path = folder.path().join(name);
            fs::metadata(path).unwrap().permissions().mode()
        };
        fs::write(folder.path().join("plain"), b"").unwrap();
        write_whole(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        let error = write_whole(&taken, b"text").unwrap_err();
        assert!(matches!(&error, Error::Write { path, .. } if *path == taken));
        assert_eq!(names(folder.path()), ["taken"]);

        let absent = folder.path().join("absent").join("file");
        let error = write_whole(&absent, b"text").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", absent.display()));
    }
}
