//! Plain text for a terminal: names and values from outside neither control it nor break a line.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{self, Write};
use std::path::Path;

/// A writer that escapes control characters and marks of the direction of text as JSON does, other than
/// the end of a line and tabs.
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
        // Writing to a string cannot fail.
        let _ = escape(&mut text, bytes, |c| !matches!(c, '\n' | '\t') && is_escaped(c));
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Shows a value on one line, with all characters escaped that [`Plain`] escapes, and ends of lines.
#[derive(Clone, Copy, Debug)]
pub struct Line<T>(pub T);

impl<T: Display> Display for Line<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(Escaped(f), "{}", self.0)
    }
}

/// Escapes what is written.
struct Escaped<'a, 'b>(&'a mut Formatter<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text.as_bytes(), is_escaped)
    }
}

/// A text as one word of a shell's command line.
pub fn shell_word(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_escaped) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            // Shells other than the oldest read escapes within `$'...'`.
            let quoted = bytes.iter().flat_map(|&byte| match byte {
                b'\'' | b'\\' => vec![b'\\', byte],
                _ => vec![byte],
            });
            let mut text = String::new();
            let _ = escape(&mut text, &quoted.collect::<Vec<_>>(), is_escaped);
            format!("$'{text}'")
        }
    }
}

/// A path as one word of a shell's command line, which is not read as an option.
pub fn shell_path(path: &Path) -> String {
    match path.as_os_str().as_encoded_bytes().first() {
        Some(b'-') => shell_word(Path::new(".").join(path)),
        _ => shell_word(path),
    }
}

/// Whether a character is escaped: those of control, ends of lines and marks of direction.
fn is_escaped(c: char) -> bool {
    // The last are Unicode's Bidi_Control.
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes `bytes`, the characters that `is_escaped` chooses as `\u001b`, and bytes that are not UTF-8 as
/// `\xff`.
fn escape(
    text: &mut impl fmt::Write,
    bytes: &[u8],
    is_escaped: impl Fn(char) -> bool,
) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_escaped(c) {
                true => write!(text, "\\u{:04x}", u32::from(c))?,
                false => text.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        let mut written = Vec::new();
        write!(Plain::new(&mut written), "a \u{1b}[31m\r\u{9b}\u{7f} é\u{202e}\n").unwrap();
        Plain::new(&mut written).write_all(b"\xff\n").unwrap();
        let want = "a \\u001b[31m\\u000d\\u009b\\u007f é\\u202e\n\\xff\n";
        assert_eq!(String::from_utf8_lossy(&written), want);
        assert_eq!(Line("a\u{1b}\nb\u{2028}é\t").to_string(), "a\\u001b\\u000ab\\u2028é\\u0009");
        assert_eq!(Line(Line("\n")).to_string(), "\\u000a");
    }

    /// As in the file PropList.txt of Unicode 16.
    #[test]
    fn marks_of_direction_are_unicode_s() {
        let marks: Vec<u32> = (0..0x11_0000)
            .filter(|&code| char::from_u32(code).is_some_and(|c| !c.is_control() && is_escaped(c)))
            .filter(|code| ![0x2028, 0x2029].contains(code))
            .collect();
        let ranges = [0x61c..=0x61c, 0x200e..=0x200f, 0x202a..=0x202e, 0x2066..=0x2069];
        assert_eq!(marks, ranges.into_iter().flatten().collect::<Vec<u32>>());
    }

    #[test]
    fn words_of_a_shell() {
        for (path, word) in [
            ("runs/00001-a+b", "runs/00001-a+b"),
            ("my runs/1", "'my runs/1'"),
            ("it's", r"'it'\''s'"),
            ("-rf", "./-rf"),
            ("- x", "'./- x'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
            ("it's\n\\n", r"$'it\'s\u000a\\n'"),
            ("a\u{202e}b", r"$'a\u202eb'"),
        ] {
            assert_eq!(shell_path(Path::new(path)), word);
        }
        assert_eq!(shell_word("-1"), "-1");
    }

    /// A shell gives each word back as it was.
    #[cfg(unix)]
    #[test]
    fn a_shell_reads_the_words() {
        use std::os::unix::ffi::OsStrExt;
        for word in ["my 'runs'", "a\n\u{1b}'\\u000a\\", "\u{202e}é$(x)`x`\"!"] {
            let script = format!("printf %s {}", shell_word(word));
            let Ok(output) = std::process::Command::new("bash")
                .args(["-c", &script])
                .env("LC_ALL", "C.UTF-8")
                .output()
            else {
                return;
            };
            assert_eq!(OsStr::from_bytes(&output.stdout), word, "{script}");
        }
        assert_eq!(shell_word(OsStr::from_bytes(b"a\xff")), r"$'a\xff'");
    }
}
