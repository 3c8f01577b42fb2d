//! Reading of regular files only, and writing of files and directories that appear whole or not at
//! all.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod directory;

pub use directory::NewDirectory;

use std::fs::{self, File, FileType};
use std::io::{self, Read, Write};
use std::path::Path;

/// Opens a regular file, or a symbolic link to one, for reading.
///
/// # Errors
/// Those of `File::open`; at once, without opening it, for a directory, FIFO, device or socket.
pub fn open(path: &Path) -> io::Result<File> {
    let file_type = fs::metadata(path)?.file_type();
    if !file_type.is_file() {
        let kind = kind(file_type);
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is a {kind}; a regular file is needed"),
        ));
    }
    File::open(path)
}

/// Reads a regular file.
///
/// # Errors
/// Those of [`open`] and of reading.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a regular file of UTF-8 text.
///
/// # Errors
/// Those of [`read`]; bytes that are not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file to a temporary name beside `path`, then renames it to `path`.
///
/// Until the rename, and after an error, `path` is what it was before: absent, or the old file. The
/// permissions are those of any new file (0666 less the umask). The bytes are not synced to the disk,
/// so a power failure can lose them.
///
/// # Errors
/// A file that cannot be written. The temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(0o666).tempfile_in(parent(path))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// The builder of hidden temporary files and directories of this mode, less the umask.
fn temporary(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn kind(file_type: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return "FIFO";
        }
        if file_type.is_socket() {
            return "socket";
        }
    }
    if file_type.is_dir() { "directory" } else { "device" }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(read(&path).unwrap(), b"text");
        assert_eq!(read_to_string(&path).unwrap(), "text");
        assert_eq!(names(directory.path()), ["new"]);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        write_atomically(&taken, b"text").unwrap_err();
        write_atomically(&directory.path().join("absent/file"), b"text").unwrap_err();
        assert_eq!(names(directory.path()), ["taken"]);
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

    /// A FIFO without a writer would make a plain open wait forever.
    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let [fifo, socket, plain, link, loose] =
            ["fifo", "socket", "plain", "link", "loose"].map(|name| directory.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (fifo.as_path(), "FIFO"),
            (&socket, "socket"),
            (directory.path(), "directory"),
            (Path::new("/dev/zero"), "device"),
        ] {
            let text = read(path).unwrap_err().to_string();
            assert_eq!(text, format!("it is a {kind}; a regular file is needed"));
            assert_eq!(read_to_string(path).unwrap_err().to_string(), text);
        }
        fs::write(&plain, b"text").unwrap();
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        std::os::unix::fs::symlink(&fifo, &loose).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
        assert!(read(&loose).unwrap_err().to_string().contains("FIFO"));
    }
}
