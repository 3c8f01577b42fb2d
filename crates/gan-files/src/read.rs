//! Reading of regular files only: a FIFO or a device can be endless or wait forever. Text is read up to a
//! limit.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// The usual limit of configurations, recipes and other text of which all is kept: 16 MiB.
pub const SETTINGS_LIMIT: u64 = 16 << 20;

/// Opens a regular file, or a symbolic link to one, for reading.
///
/// # Errors
/// Those of `File::open`; at once, without opening it, for a directory, FIFO, device or socket.
pub fn open(path: &Path) -> io::Result<File> {
    require_regular(path)?;
    File::open(path)
}

/// Refuses what is no regular file, without opening it.
///
/// # Errors
/// Nothing of this name; a directory, FIFO, device or socket.
pub fn require_regular(path: &Path) -> io::Result<()> {
    let file_type = fs::metadata(path)?.file_type();
    if file_type.is_file() {
        return Ok(());
    }
    let kind = kind(file_type);
    let text = format!("it is a {kind}; a regular file is needed");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
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

/// Reads a regular file of UTF-8 text of at most `limit` bytes.
///
/// # Errors
/// Those of [`read`]; more bytes, before they are read; bytes that are not UTF-8.
pub fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    let file = open(path)?;
    let check = |bytes: u64| match bytes <= limit {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has {bytes} bytes; at most {limit} bytes of such text are read"),
        )),
    };
    check(file.metadata()?.len())?;
    let mut text = String::new();
    // The file may grow meanwhile.
    file.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    check(text.len() as u64)?;
    Ok(text)
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
            assert_eq!(read_to_string(path, SETTINGS_LIMIT).unwrap_err().to_string(), text);
        }
        fs::write(&plain, b"text").unwrap();
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        std::os::unix::fs::symlink(&fifo, &loose).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
        assert!(read(&loose).unwrap_err().to_string().contains("FIFO"));
    }

    #[test]
    fn text_has_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        fs::write(&path, "naïve").unwrap();
        assert_eq!(read_to_string(&path, 6).unwrap(), "naïve");
        let error = read_to_string(&path, 5).unwrap_err().to_string();
        assert_eq!(error, "it has 6 bytes; at most 5 bytes of such text are read");
        // A file of holes, which takes no space on the disk.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read_to_string(&path, SETTINGS_LIMIT).unwrap_err().to_string();
        assert_eq!(
            error,
            "it has 1099511627776 bytes; at most 16777216 bytes of such text are read"
        );
    }
}
