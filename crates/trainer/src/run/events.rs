//! Writes TensorBoard event files: scalars and images as TensorFlow's `Event` messages.
//!
//! Fields are numbered as in `event.proto` and `summary.proto`.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The beginning of the name of an event file, before its number.
const PREFIX: &str = "events.out.tfevents.";
/// Digits of the number, and the greatest that is taken from the clock, in the year 2255.
const DIGITS: usize = 10;
const LATEST: u64 = 9_000_000_000;

/// An event file that scalars and images are appended to.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Creates a session's event file in a directory; TensorBoard reads all event files of a
    /// directory as one.
    ///
    /// The session writes steps from `first_step` on: TensorBoard drops what an earlier session
    /// wrote of these.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn create(directory: &Path, first_step: u64) -> Result<Self> {
        let path = directory.join(next_name(directory, now())?);
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        let mut events = Self { path, file };
        let mut version = event(0);
        bytes(&mut version, 3, b"brain.Event:2");
        events.write(&version)?;
        let mut start = event(first_step);
        // SessionLog: its status is START, 1.
        bytes(&mut start, 7, &[1 << 3 | VARINT, 1]);
        events.write(&start)?;
        Ok(events)
    }

    /// Appends the scalars of a step.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let mut entry = Vec::new();
            bytes(&mut entry, 1, tag.as_bytes());
            key(&mut entry, 2, FIXED32);
            entry.extend((*value as f32).to_le_bytes());
            bytes(&mut summary, 1, &entry);
        }
        self.summary(step, &summary)
    }

    /// Appends an image of a step: the bytes of a PNG file, grey or colour.
    ///
    /// # Errors
    /// Other bytes; a file that cannot be written.
    pub(crate) fn image(&mut self, step: u64, tag: &str, png: &[u8]) -> Result<()> {
        ensure!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 25, "{tag}: not a PNG");
        // The header's colour type is 0 for grey, 2 for colour; TensorBoard counts channels.
        let (width, height, channels) = (number(&png[16..20]), number(&png[20..24]), png[25] + 1);
        let mut image = Vec::new();
        for (field, value) in [(1, height), (2, width), (3, channels.into())] {
            key(&mut image, field, VARINT);
            varint(&mut image, value);
        }
        bytes(&mut image, 4, png);
        let mut entry = Vec::new();
        bytes(&mut entry, 1, tag.as_bytes());
        bytes(&mut entry, 4, &image);
        let mut summary = Vec::new();
        bytes(&mut summary, 1, &entry);
        self.summary(step, &summary)
    }

    fn summary(&mut self, step: u64, summary: &[u8]) -> Result<()> {
        let mut event = event(step);
        bytes(&mut event, 5, summary);
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        gan_files::append(&mut self.file, &record(event))
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

/// Reads a big-endian number of a PNG header.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The name of a new event file, where the clock shows `now`: a number of seconds as TensorFlow has it.
///
/// TensorBoard reads the files of a directory in the order of their names, and every session has a file of
/// its own, since the last may have ended within a record. So the number is greater than all others there,
/// and has ten digits, whatever the clock shows.
fn next_name(directory: &Path, now: f64) -> Result<String> {
    let number = |name: OsString| -> Option<u64> {
        let (digits, _) = name.to_str()?.strip_prefix(PREFIX)?.split_once('.')?;
        digits.parse().ok().filter(|_| digits.len() == DIGITS)
    };
    let context = || format!("reading {}", directory.display());
    let mut next = (now as u64).min(LATEST);
    for entry in fs::read_dir(directory).with_context(context)? {
        if let Some(number) = number(entry.with_context(context)?.file_name()) {
            next = next.max(number + 1);
        }
    }
    Ok(format!("{PREFIX}{next:0DIGITS$}.candle-gan"))
}

/// Returns the seconds since 1970, for what is shown.
fn now() -> f64 {
    gan_files::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

// Protocol buffers' wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// Encodes an event's time (field 1) and step (field 2).
fn event(step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED64);
    event.extend(now().to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

fn key(message: &mut Vec<u8>, field: u8, wire_type: u8) {
    message.push(field << 3 | wire_type);
}

fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    key(message, field, LENGTH);
    varint(message, value.len() as u64);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// Frames a TFRecord: length, its checksum, data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Computes the CRC-32C (Castagnoli) with a table, since records with images are long.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| crc >> 8 ^ CRC_OF_BYTE[(crc as u8 ^ byte) as usize])
}

const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_standards() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let counted: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&counted), 0x46dd_794e);
    }

    #[test]
    fn a_record_is_framed() {
        let record = record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!(record[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[12..15], *b"abc");
        assert_eq!(record[15..], masked(crc32c(b"abc")).to_le_bytes());
    }

    #[test]
    fn messages_are_protocol_buffers() {
        let mut message = Vec::new();
        varint(&mut message, 300);
        assert_eq!(message, [0xac, 0x02]);
        bytes(&mut message, 5, b"ab");
        assert_eq!(message[2..], [0x2a, 2, b'a', b'b']);
        let event = event(7);
        assert_eq!((event[0], event[9], event[10]), (0x09, 0x10, 7));
    }

    /// Clocks that jump to 1970, to the year 9999 and to before 1970, and one of the same second.
    #[test]
    fn names_follow_each_other_whatever_the_clock_shows() -> Result<()> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("events.out.tfevents.18446744073709551615.x"), "")?;
        fs::write(directory.path().join("events.out.tfevents.notes"), "")?;
        let mut names = Vec::new();
        for now in [0.0, 1.8e9, 1.8e9, 0.0, 253_370_764_800.0, -1.0, f64::NAN, 1.8e9] {
            let name = next_name(directory.path(), now)?;
            File::create_new(directory.path().join(&name))?;
            names.push(name);
        }
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names[0], "events.out.tfevents.0000000000.candle-gan");
        assert_eq!(names[1], "events.out.tfevents.1800000000.candle-gan");
        assert_eq!(names[7], "events.out.tfevents.9000000003.candle-gan");
        Ok(())
    }

    /// The data of the records of a file, their checksums checked.
    fn records(mut file: &[u8]) -> Vec<&[u8]> {
        let mut all = Vec::new();
        while !file.is_empty() {
            let length = file[..8].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
            let crc = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
            assert_eq!(file[8..12], crc(&file[..8]));
            let (data, rest) = file[12..].split_at(length);
            assert_eq!(rest[..4], crc(data));
            all.push(data);
            file = &rest[4..];
        }
        all
    }

    /// A file against bytes that TensorFlow's definitions give.
    #[test]
    fn a_session_is_a_version_a_start_and_summaries() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut events = EventFile::create(directory.path(), 301)?;
        events.scalars(350, &[("a", 1.5), ("b", -2.0)])?;
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x2a\0\0\0\x05\x08\x02";
        events.image(400, "grid", png)?;
        assert!(events.image(400, "grid", b"GIF89a, not a PNG at all").is_err());

        let file = std::fs::read(&events.path)?;
        let records = records(&file);
        let [version, start, scalars, image] = records[..] else { panic!("{}", records.len()) };
        // After the time, 9 bytes.
        assert_eq!(version[9..], *b"\x10\x00\x1a\x0dbrain.Event:2");
        assert_eq!(start[9..], *b"\x10\xad\x02\x3a\x02\x08\x01");
        assert_eq!(
            scalars[9..],
            *b"\x10\xde\x02\x2a\x14\
               \x0a\x08\x0a\x01a\x15\x00\x00\xc0\x3f\
               \x0a\x08\x0a\x01b\x15\x00\x00\x00\xc0"
        );
        // 5 high, 298 wide, 3 channels.
        let head = b"\x10\x90\x03\x2a\x2d\x0a\x2b\x0a\x04grid\x22\x23\
                     \x08\x05\x10\xaa\x02\x18\x03\x22\x1a";
        assert_eq!(image[9..], [&head[..], png].concat());
        Ok(())
    }
}
