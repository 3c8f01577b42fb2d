//! Reads the statistics of a run as they grow.

use crate::run::record::StatsLine;
use serde::Serialize;
use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 20;

/// A place in a file of statistics: how far it is read, and when the file was made, since a run that is
/// resumed writes it anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    created: u128,
    offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.created, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (created, offset) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().map_err(drop);
        Ok(Self { created: created.parse().map_err(drop)?, offset: number(offset)? })
    }
}

/// Lines of statistics that were not read before.
#[derive(Debug, Serialize)]
pub(super) struct News {
    /// Where to go on reading.
    pub(super) cursor: String,
    /// Whether the file begins anew, and earlier lines no longer count.
    pub(super) is_new: bool,
    /// Whether there is more to read already.
    pub(super) has_more: bool,
    pub(super) lines: Vec<StatsLine>,
}

/// Reads the whole lines after a cursor, 1 MiB of them at most; none where there is no file.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read(path: &Path, after: Cursor) -> io::Result<(Cursor, News)> {
    let mut file = match gan_files::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_new = after != Cursor::default();
            return Ok((Cursor::default(), news(Cursor::default(), is_new, false, &[])));
        }
        file => file?,
    };
    let metadata = file.metadata()?;
    // Some file systems do not know when a file was made.
    let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let created = created.map_or(0, |time| time.as_nanos());
    let goes_on = after.created == created && after.offset <= metadata.len();
    let offset = if goes_on { after.offset } else { 0 };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(CHUNK).read_to_end(&mut bytes)?;
    let whole = match bytes.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        // A line that is longer than all that is read at a time is no line of statistics.
        None if bytes.len() as u64 == CHUNK => bytes.len(),
        None => 0,
    };
    let cursor = Cursor { created, offset: offset + whole as u64 };
    let has_more = bytes.len() as u64 == CHUNK;
    let is_new = !goes_on && after != Cursor::default();
    Ok((cursor, news(cursor, is_new, has_more, &bytes[..whole])))
}

fn news(cursor: Cursor, is_new: bool, has_more: bool, text: &[u8]) -> News {
    let lines = text.split(|&byte| byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    News { cursor: cursor.to_string(), is_new, has_more, lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn text(steps: std::ops::Range<u64>) -> String {
        let line = |step| serde_json::to_string(&StatsLine::blank(step)).expect("numbers") + "\n";
        steps.map(line).collect()
    }

    fn steps(news: &News) -> Vec<u64> {
        news.lines.iter().map(|line| line.step).collect()
    }

    #[test]
    fn lines_are_read_once_as_they_become_whole() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("stats.jsonl");
        let (cursor, none) = read(&path, Cursor::default())?;
        assert_eq!((cursor, steps(&none), none.is_new), (Cursor::default(), vec![], false));
        fs::write(&path, text(0..2) + "{\"step\":")?;
        let (cursor, first) = read(&path, cursor)?;
        assert_eq!((steps(&first), first.is_new, first.has_more), (vec![0, 1], false, false));
        assert_eq!(first.cursor.parse(), Ok(cursor));
        // In place, as training appends.
        fs::write(&path, text(0..3))?;
        let (cursor, second) = read(&path, cursor)?;
        assert_eq!((steps(&second), second.is_new), (vec![2], false));
        assert!(steps(&read(&path, cursor)?.1).is_empty());
        Ok(())
    }

    #[test]
    fn a_file_that_begins_anew_is_read_from_its_beginning() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("stats.jsonl");
        fs::write(&path, text(0..5))?;
        let (cursor, _) = read(&path, Cursor::default())?;
        gan_files::write(&path, text(0..2).as_bytes())?;
        let (cursor, news) = read(&path, cursor)?;
        assert_eq!((steps(&news), news.is_new), (vec![0, 1], true));
        fs::remove_file(&path)?;
        let (_, gone) = read(&path, cursor)?;
        assert_eq!((steps(&gone), gone.is_new), (vec![], true));
        Ok(())
    }

    #[test]
    fn long_files_come_in_parts() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("stats.jsonl");
        let count = 3 * CHUNK / text(0..1).len() as u64;
        fs::write(&path, text(0..count))?;
        let (mut cursor, mut all, mut parts) = (Cursor::default(), Vec::new(), 0);
        loop {
            let (next, news) = read(&path, cursor)?;
            (cursor, parts) = (next, parts + 1);
            all.extend(steps(&news));
            if !news.has_more {
                break;
            }
        }
        assert_eq!(all, (0..count).collect::<Vec<_>>());
        assert!(parts > 2, "{parts}");
        Ok(())
    }

    #[test]
    fn cursors_of_strangers_are_refused_or_begin_anew() -> io::Result<()> {
        for text in ["", "1", "a-b", "-", "1--1", "1-99999999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("stats.jsonl");
        fs::write(&path, text(0..2))?;
        let beyond = Cursor { created: 0, offset: u64::MAX };
        assert_eq!(steps(&read(&path, beyond)?.1), [0, 1]);
        Ok(())
    }
}
