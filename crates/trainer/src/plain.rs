//! Plain text for a terminal: names and paths from outside cannot control it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// A writer that escapes control characters, other than the end of a line, as JSON does.
pub struct Plain<W>(W);

impl<W: Write> Plain<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self(inner)
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => text.push(c),
                    // Writing to a string cannot fail.
                    c if c.is_control() => drop(write!(text, "\\u{:04x}", u32::from(c))),
                    c => text.push(c),
                }
            }
            for byte in chunk.invalid() {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A path as one word of a shell's command line.
pub(crate) fn shell_word(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    // A leading dash would be read as an option.
    let path = if path.starts_with('-') { format!("./{path}") } else { path.into_owned() };
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() -> io::Result<()> {
        let mut written = Vec::new();
        write!(Plain::new(&mut written), "a \u{1b}[31m\r\u{9b}\u{7f} é\n")?;
        Plain::new(&mut written).write_all(b"\xff\n")?;
        let want = "a \\u001b[31m\\u000d\\u009b\\u007f é\n\\xff\n";
        assert_eq!(String::from_utf8_lossy(&written), want);
        Ok(())
    }

    #[test]
    fn words_of_a_shell() {
        for (path, word) in [
            ("runs/00001-a+b", "runs/00001-a+b"),
            ("my runs/1", "'my runs/1'"),
            ("it's", "'it'\\''s'"),
            ("-rf", "./-rf"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
