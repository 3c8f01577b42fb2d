//! Reading of regular files only, files and directories that appear whole or not at all, and names that are
//! safe to print.
//!
//! Files and directories are written under a temporary name beside their place, then renamed. Bytes are not
//! synced to the disk, so a power failure can lose them. A program that is killed leaves temporary names
//! behind; [`remove_leftovers`] clears them, unless another program is writing there: the directory is
//! locked as long as a temporary name in it is used.
//!
//! For tests, the environment variable `CANDLE_GAN_FAULT` makes the n-th operation fail or ends the
//! process at it: `kill:17`, `enospc:17`, `eio:17`, `erofs:17`, or `enospc:17+` from then on. `past:17` and
//! `future:17` set [`now`] to 1970 and to the year 9999 from then on.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod directory;
mod fault;
mod hold;
mod plain;
mod read;

pub use directory::NewDirectory;
pub use fault::now;
pub use plain::{Line, Plain, shell_path, shell_word};
pub use read::{SETTINGS_LIMIT, open, read, read_to_string, require_regular};

use hold::hold;

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
    write_with(path, |file| append(file, bytes))
}

/// Writes a file as [`write()`] does, with the bytes that `fill` writes into it. Returns what `fill` returns.
///
/// # Errors
/// Those of [`write()`] and of `fill`.
pub fn write_with<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let _hold = hold(parent(path));
    let mut builder = temporary();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(parent(path))?;
    let filled = fill(file.as_file_mut())?;
    fault::point()?;
    file.persist(path).map_err(io::Error::from)?;
    Ok(filled)
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

/// Makes a directory where it is missing, but not those that it is in: what was moved or removed meanwhile
/// must not come back in part.
///
/// # Errors
/// A directory that cannot be made.
pub fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A directory with a temporary name, to be filled and then [published](publish). Dropping it removes it.
#[derive(Debug)]
pub struct Staging {
    directory: TempDir,
    _hold: Option<File>,
}

impl Staging {
    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Makes a directory with a temporary name in `parent`.
///
/// # Errors
/// A parent that is missing or cannot be written.
pub fn staging(parent: &Path) -> io::Result<Staging> {
    let hold = hold(parent);
    let mut builder = temporary();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    fault::point()?;
    Ok(Staging { directory: builder.tempdir_in(parent)?, _hold: hold })
}

/// Renames a directory of [`staging`] to `path`, which must be absent or an empty directory.
///
/// # Errors
/// A rename that fails. The directory is then removed.
pub fn publish(staged: Staging, path: &Path) -> io::Result<()> {
    fault::point()?;
    fs::rename(staged.path(), path)?;
    // The temporary directory is gone, so its guard has nothing to remove.
    let _ = staged.directory.keep();
    Ok(())
}

/// Puts a directory of [`staging`] in the place of the directory `path`, if there is one.
///
/// # Errors
/// A rename or removal that fails. Before the removal, `path` is what it was before.
pub fn replace(staged: Staging, path: &Path) -> io::Result<()> {
    let _hold = hold(parent(path));
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
    let _hold = hold(parent(directory));
    set_aside(directory)?.map_or(Ok(()), |old| remove_tree(&old))
}

/// Removes the files and directories with temporary names in a directory, and returns their number. It
/// removes none where one of them is in use, or where directories cannot be locked.
///
/// # Errors
/// A directory that cannot be read, or an entry that cannot be removed.
pub fn remove_leftovers(directory: &Path) -> io::Result<usize> {
    let Some(_alone) = hold::alone(directory) else { return Ok(0) };
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
    fn one_directory_is_made_at_most() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        make(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(names(directory.path()), ["new"]);
        assert_eq!(make(&path.join("a/b")).unwrap_err().kind(), ErrorKind::NotFound);
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

    #[cfg(unix)]
    #[test]
    fn what_is_in_use_is_no_leftover() {
        let directory = tempfile::tempdir().unwrap();
        let clear = || remove_leftovers(directory.path()).unwrap();
        let path = directory.path().join("file");
        assert_eq!(write_with(&path, |_| io::Result::Ok(clear())).unwrap(), 0);
        let [first, second] = [(); 2].map(|()| staging(directory.path()).unwrap());
        assert_eq!(clear(), 0);
        // As after a death, which releases the lock.
        let Staging { directory: dead, _hold } = first;
        let _ = dead.keep();
        drop(_hold);
        assert_eq!(clear(), 0);
        publish(second, &directory.path().join("published")).unwrap();
        assert_eq!(clear(), 1);
        assert_eq!(names(directory.path()), ["file", "published"]);
    }

    /// A program that is run under the lock of a directory, as by `flock`, must not wait for it.
    #[cfg(unix)]
    #[test]
    fn a_lock_of_another_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let _lock = hold::alone(directory.path()).unwrap();
        write(&directory.path().join("file"), b"text").unwrap();
        staging(directory.path()).unwrap();
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        write(&fifo.join("file"), b"text").unwrap_err();
        staging(&fifo).unwrap_err();
        assert_eq!(remove_leftovers(&fifo).unwrap(), 0);
    }

    #[test]
    fn a_file_that_is_not_filled_does_not_appear() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let filled = write_with(&path, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert_eq!(filled.unwrap_err().to_string(), "no more");
        assert_eq!(names(directory.path()), [""; 0]);
    }
}
