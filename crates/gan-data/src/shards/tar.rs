//! Tar files in the layout of WebDataset: the files of a sample follow each other, and their names are the
//! same up to the first dot.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::listing::{Label, Listing, entry_path};
use crate::contents::{FNV_BASIS, fnv};
use crate::files::open;
use crate::{Error, Result};

/// Tar files consist of blocks of this many bytes.
const BLOCK: u64 = 512;
/// The largest number of bytes of a name or a label.
const MAX_TEXT: u64 = 1 << 20;
/// The largest number of bytes of an image file.
const MAX_IMAGE: u64 = 1 << 28;

/// Where the bytes of a file are in a tar file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: u64,
    bytes: u64,
}

/// Lists the images of a tar file. Only names, sizes and labels are read.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Shard`], [`Error::TruncatedShard`], [`Error::NotALabel`].
pub(super) fn list(path: &Path) -> Result<Listing<Vec<Place>>> {
    let mut samples = Samples { hash: FNV_BASIS, ..Samples::default() };
    each_file(path, |name, place, contents| samples.add(path, (name, place), contents))?;
    samples.flush();
    let Samples { images, labels, hash, .. } = samples;
    Ok(Listing { images, labels, hash })
}

/// Reads the bytes at a place.
///
/// # Errors
///
/// [`Error::Read`].
pub(super) fn read(path: &Path, place: Place) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = vec![0; place.bytes as usize];
    let read = file.seek(SeekFrom::Start(place.offset)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|source| Error::Read { path: path.into(), source })?;
    Ok(bytes)
}

/// Returns the name of the file at a place. It reads the tar file up to there.
pub(super) fn name(path: &Path, place: Place) -> Option<String> {
    let mut found = None;
    let listed = each_file(path, |name, other, _| {
        if other.offset == place.offset {
            found = Some(name.to_owned());
        }
        Ok(())
    });
    listed.ok().and(found)
}

/// Calls `visit` with the name, the place and the bytes of each regular file.
fn each_file(
    path: &Path,
    mut visit: impl FnMut(&str, Place, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let broken = |source: io::Error| shard_error(path, source);
    let file = open(path)?;
    let length = file.metadata().map_err(|source| Error::Read { path: path.into(), source })?.len();
    let mut archive = tar::Archive::new(Bounded { file, left: MAX_TEXT });
    let (mut end, mut last) = (0, String::new());
    for entry in archive.entries_with_seek().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let place = Place { offset: entry.raw_file_position(), bytes: entry.size() };
        let kind = entry.header().entry_type();
        if kind.is_gnu_sparse() {
            return Err(shard_error(path, format!("{name:?} is stored without its zeros")));
        }
        end = place.offset.saturating_add(place.bytes);
        if end > length {
            return Err(Error::TruncatedShard { path: path.into(), entry: name, end, length });
        }
        if kind.is_file() || kind.is_contiguous() {
            visit(&name, place, &mut entry)?;
        }
        last = name;
    }
    if end.next_multiple_of(BLOCK) + BLOCK > length {
        let text =
            format!("it is truncated, as it lacks the zeros at its end; the last file is {last:?}");
        return Err(shard_error(path, if length == 0 { "it is empty".into() } else { text }));
    }
    Ok(())
}

fn shard_error(path: &Path, source: impl Into<crate::BoxError>) -> Error {
    Error::Shard { path: path.into(), format: "tar", source: source.into() }
}

/// The samples of a tar file.
#[derive(Default)]
struct Samples {
    images: Vec<Place>,
    labels: Vec<Label>,
    hash: u64,
    /// The name up to its first dot that the files of the current sample share.
    key: String,
    image: Option<Place>,
    label: Label,
}

impl Samples {
    /// Adds a file: an image, a label or something else. The first image of a sample counts.
    fn add(
        &mut self,
        path: &Path,
        (name, place): (&str, Place),
        contents: &mut dyn Read,
    ) -> Result<()> {
        let Some((key, extension)) = key_and_extension(name) else { return Ok(()) };
        if key != self.key {
            self.flush();
            self.key = key.to_owned();
        }
        let extension = extension.to_ascii_lowercase();
        match extension.rsplit('.').next() {
            Some("jpg" | "jpeg" | "png") => {
                if place.bytes > MAX_IMAGE {
                    let text = format!("{name:?} has {} bytes, an image at most 2^28", place.bytes);
                    return Err(shard_error(path, text));
                }
                self.image.get_or_insert(place);
            }
            Some("cls") => self.label = Some(number(path, name, &text(path, name, contents)?)?),
            Some("json") => {
                let label = json_label(path, name, &text(path, name, contents)?)?;
                self.label = self.label.or(label);
            }
            _ => return Ok(()),
        }
        let numbers = [place.offset, place.bytes, self.label.map_or(u64::MAX, u64::from)];
        self.hash = fnv(self.hash, name.as_bytes());
        self.hash = numbers.iter().fold(self.hash, |hash, n| fnv(hash, &n.to_le_bytes()));
        Ok(())
    }

    /// Ends the current sample.
    fn flush(&mut self) {
        let label = self.label.take();
        if let Some(image) = self.image.take() {
            self.images.push(image);
            self.labels.push(label);
        }
    }
}

/// Returns the parts of a name before and after the first dot of its last component; `None` for a name
/// that starts with a dot or has none.
fn key_and_extension(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Reads the text of a label.
fn text(path: &Path, name: &str, contents: &mut dyn Read) -> Result<String> {
    let mut bytes = Vec::new();
    contents.read_to_end(&mut bytes).map_err(|source| Error::Shard {
        path: entry_path(path, name),
        format: "label",
        source: source.into(),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The label in a `.cls` file.
fn number(path: &Path, name: &str, text: &str) -> Result<u32> {
    let text = text.trim();
    text.parse().map_err(|_| Error::NotALabel {
        path: entry_path(path, name),
        text: text.chars().take(40).collect(),
    })
}

/// The label in a `.json` file: the number `label` of its object, if it has one.
fn json_label(path: &Path, name: &str, text: &str) -> Result<Label> {
    let value: Value = serde_json::from_str(text).map_err(|source| Error::Shard {
        path: entry_path(path, name),
        format: "JSON",
        source: source.into(),
    })?;
    match value.get("label") {
        None | Some(Value::Null) => Ok(None),
        Some(label) => number(path, name, &label.to_string()).map(Some),
    }
}

/// A file of which little is read between two seeks: the reader of tar files seeks over contents, and
/// keeps names in memory, whose size a damaged file may give as anything.
struct Bounded {
    file: File,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a name or a label has more than 2^20 bytes"));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.left = MAX_TEXT;
        self.file.seek(to)
    }
}
