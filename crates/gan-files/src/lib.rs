//! Reading of regular files only, and files and directories that appear whole or not at all.
//!
//! The latter are written under a temporary name beside their place, then renamed. Bytes are not synced to
//! the disk, so a power failure can lose them. A program that is killed leaves temporary names behind;
//! [`remove_leftovers`] clears them.
//!
//! For tests, the environment variable `CANDLE_GAN_FAULT` makes the n-th operation fail or ends the
//! process at it: `kill:17`, `enospc:17`, `eio:17`, `erofs:17`, or `enospc:17+` from then on.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod directory;
mod fault;
mod read;

pub use directory::NewDirectory;
pub use read::{open, read, read_to_string};

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// The beginning and the end of a temporary name, with [`RANDOM`] letters or digits between.
const TEMPORARY: (&str, &str) = (".gan-", ".tmp");
const RANDOM: usize = 6;

/// Writes a file to a temporary name beside `path`, then renames it to `path`.
///
/// Until the rename, and after an error, `path` is what it was before: absent, or the old file. The
/// permissions are those of any new file (0666 less the umask).
///
/// # Errors
/// A file that cannot be written. The temporary file is removed.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = temporary();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(parent(path))?;
    append(file.as_file_mut(), bytes)?;
    fault::point()?;
    file.persist(path)?;
    Ok(())
}

/// Writes bytes at the end of an open file. An error or a death can leave a part of them there.
///
/// # Errors
/// A file that cannot be written.
pub fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    match fault::count()? {
        None => file.write_all(bytes),
        Some(fault) => {
            file.write_all(&bytes[..bytes.len() / 2])?;
            Err(fault.strike())
        }
    }
}

/// Makes a directory with a temporary name in `parent`, to be filled and then [published](publish).
/// Dropping it removes it.
///
/// # Errors
/// A parent that is missing or cannot be written.
pub fn staging(parent: &Path) -> io::Result<TempDir> {
    let mut builder = temporary();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    fault::point()?;
    builder.tempdir_in(parent)
}

/// Renames a directory of [`staging`] to `path`, which must be absent or an empty directory.
///
/// # Errors
/// A rename that fails. The directory is then removed.
pub fn publish(staged: TempDir, path: &Path) -> io::Result<()> {
    fault::point()?;
    fs::rename(staged.path(), path)?;
    // The temporary directory is gone, so its guard has nothing to remove.
    let _ = staged.keep();
    Ok(())
}

/// Puts a directory of [`staging`] in the place of the directory `path`, if there is one.
///
/// # Errors
/// A rename or removal that fails. Before the removal, `path` is what it was before.
pub fn replace(staged: TempDir, path: &Path) -> io::Result<()> {
    let old = set_aside(path)?;
    publish(staged, path).inspect_err(|_| {
        // The first error is the one to report.
        let _ = old.as_ref().map(|old| fs::rename(old, path));
    })?;
    old.map_or(Ok(()), |old| remove_tree(&old))
}

/// Removes a directory, if it is there. It is renamed first, so that a part of it never has its name.
///
/// # Errors
/// A directory that cannot be renamed or removed.
pub fn remove(directory: &Path) -> io::Result<()> {
    set_aside(directory)?.map_or(Ok(()), |old| remove_tree(&old))
}

/// Removes the files and directories with temporary names in a directory, and returns their number.
/// They must not be in use: no other program may be writing there.
///
/// # Errors
/// A directory that cannot be read, or an entry that cannot be removed.
pub fn remove_leftovers(directory: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_temporary) {
            match entry.file_type()?.is_dir() {
                true => remove_tree(&entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a name is one of this crate's temporary names.
fn is_temporary(name: &str) -> bool {
    let random = || name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1);
    random().is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn temporary() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1).rand_bytes(RANDOM);
    builder
}

/// Renames a directory to a temporary name, which is returned; `None` if it is not there.
fn set_aside(directory: &Path) -> io::Result<Option<PathBuf>> {
    if fs::symlink_metadata(directory).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    fault::point()?;
    let moved = temporary().make_in(parent(directory), |place| fs::rename(directory, place))?;
    Ok(Some(moved.into_temp_path().keep()?))
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    fault::point()?;
    fs::remove_dir_all(directory)
}

/// The directory that holds `path`: `.` for a plain name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_created_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        write(&path, b"longer text").unwrap();
        write(&path, b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(names(directory.path()), ["new"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_anything_new() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode();
        fs::write(path("plain"), b"").unwrap();
        fs::create_dir(path("plain directory")).unwrap();
        write(&path("whole"), b"").unwrap();
        publish(staging(directory.path()).unwrap(), &path("whole directory")).unwrap();
        assert_eq!(mode("whole"), mode("plain"));
        assert_eq!(mode("whole directory"), mode("plain directory"));
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        write(&taken, b"text").unwrap_err();
        publish(staging(directory.path()).unwrap(), &taken).unwrap_err();
        assert_eq!(names(directory.path()), ["taken"]);
        write(&directory.path().join("absent/file"), b"text").unwrap_err();
        staging(&directory.path().join("absent")).unwrap_err();
    }

    #[test]
    fn directories_are_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("whole");
        for text in ["first", "second"] {
            let staged = staging(directory.path()).unwrap();
            fs::write(staged.path().join(text), text).unwrap();
            replace(staged, &path).unwrap();
            assert_eq!(names(directory.path()), ["whole"]);
            assert_eq!(names(&path), [text]);
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn leftovers_are_told_from_a_users_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let kept =
            [".gan-.tmp", ".gan-Ab-12_.tmp", ".gan-Ab12Cd.tmp.gz", ".notes.tmp", "gan-Ab12Cd.tmp"];
        for name in kept.iter().chain(&[".gan-Ab12Cd.tmp"]) {
            fs::write(path(name), b"").unwrap();
        }
        fs::create_dir_all(path(".gan-000000.tmp").join("inside")).unwrap();
        assert_eq!(remove_leftovers(directory.path()).unwrap(), 2);
        assert_eq!(names(directory.path()), kept);
    }
}
