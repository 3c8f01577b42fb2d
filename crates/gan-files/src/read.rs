//! Reading of regular files only: a FIFO or a device can be endless or wait forever.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
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
            assert_eq!(read_to_string(path).unwrap_err().to_string(), text);
        }
        fs::write(&plain, b"text").unwrap();
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        std::os::unix::fs::symlink(&fifo, &loose).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
        assert!(read(&loose).unwrap_err().to_string().contains("FIFO"));
    }
}
