//! Folders of pictures: JPEG and PNG of any size, one sub-folder for each class, or flat.

mod decode;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Dataset, Error, ImageShape, Result, Split};

pub use decode::read;
pub use write::write;

/// Least and largest size that pictures are brought to.
pub const SIZES: std::ops::RangeInclusive<usize> = 8..=256;

/// What pictures of a folder are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rows and columns of each picture, one of [`SIZES`].
    pub size: usize,
    /// How many channels; if none is named, colour where any picture of the set has some.
    pub colour: Option<Colour>,
    /// A picture that cannot be read is an error; otherwise it is left out.
    pub strict: bool,
}

impl Options {
    /// The size where none is named: that of MNIST, which every network here can draw.
    pub const SIZE: usize = 28;
}

impl Default for Options {
    /// 28 x 28, colour where there is some, strict.
    fn default() -> Self {
        Self { size: Self::SIZE, colour: None, strict: true }
    }
}

/// How many channels pictures have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// One: colours become their luma.
    Grey,
    /// Three: grey becomes three equal channels.
    Rgb,
}

impl Colour {
    /// That of pictures of so many channels.
    pub fn of(channels: usize) -> Self {
        if channels == 1 { Self::Grey } else { Self::Rgb }
    }

    fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// A set, and what was left out of it.
#[derive(Debug)]
pub struct Loaded {
    /// The pictures.
    pub set: Dataset,
    /// What is wrong with each picture that was left out, in their order.
    pub skipped: Vec<Error>,
}

/// Loads one part of a folder of pictures.
///
/// Pictures are files that end in `.jpg`, `.jpeg` or `.png`; other files, and all whose names begin
/// with a dot, are ignored. Each sub-folder with pictures is a class of its name; in a folder
/// without any, all pictures are of one class, named after the folder. If the folder has two
/// sub-folders `train` and `test`, each is such a folder and a part of the set; if not, both parts
/// are all pictures. Classes and the pictures of each are in the order of their names, byte by
/// byte, and both parts have the same classes.
///
/// What is not opaque is laid over white. The square in the middle of each picture is resampled to
/// `size` (Lanczos, three lobes), or kept as it is where it has that size already.
///
/// Pictures are decoded by the threads of the current `rayon` pool; the result does not depend on
/// them.
///
/// # Errors
///
/// [`Error::Size`]; [`Error::Read`] for a folder; [`Error::NoPictures`]; [`Error::AllBroken`]. Where
/// [`Options::strict`] also what would be in [`Loaded::skipped`]: [`Error::Read`],
/// [`Error::NoPicture`], [`Error::Unreadable`], [`Error::Unfit`] and [`Error::Unsorted`].
pub fn load(folder: &Path, split: Split, options: &Options) -> Result<Loaded> {
    let Options { size, colour, strict } = *options;
    if !SIZES.contains(&size) {
        return Err(Error::Size { size, least: *SIZES.start(), most: *SIZES.end() });
    }
    let Found { classes, files, unsorted } = find(folder, split)?;
    let decoded: Vec<Result<Vec<u8>>> =
        files.par_iter().map(|(path, _)| decode::read(path, size, colour)).collect();

    let mut skipped = Vec::new();
    let (mut pictures, mut labels) = (Vec::new(), Vec::new());
    for (picture, (_, label)) in decoded.into_iter().zip(&files) {
        match picture {
            Ok(picture) => {
                pictures.push(picture);
                labels.push(*label);
            }
            Err(error) => skipped.push(error),
        }
    }
    // Last: it is no picture.
    skipped.extend(unsorted);
    if strict && !skipped.is_empty() {
        return Err(skipped.swap_remove(0));
    }
    let area = size * size;
    let Some(most) = pictures.iter().map(Vec::len).max() else {
        let source = Box::new(skipped.swap_remove(0));
        return Err(Error::AllBroken { folder: folder.into(), pictures: files.len(), source });
    };
    let channels = colour.map_or(most / area, Colour::channels);
    let mut pixels = Vec::with_capacity(pictures.len() * channels * area);
    for picture in pictures {
        // A grey picture among coloured ones has three equal channels.
        for _ in 0..channels * area / picture.len() {
            pixels.extend_from_slice(&picture);
        }
    }
    let shape = ImageShape { channels, height: size, width: size };
    Ok(Loaded { set: Dataset::new(name(folder), shape, pixels, labels, classes)?, skipped })
}

/// What there is to read.
pub(crate) struct Found {
    pub(crate) classes: Vec<String>,
    /// Each with its label.
    pub(crate) files: Vec<(PathBuf, u32)>,
    unsorted: Option<Error>,
}

pub(crate) fn find(folder: &Path, split: Split) -> Result<Found> {
    let parts = ["train", "test"].map(|part| folder.join(part));
    let chosen = match split {
        _ if !parts.iter().all(|part| part.is_dir()) => folder,
        Split::Train => &parts[0],
        Split::Test => &parts[1],
    };
    let mut names = BTreeSet::new();
    if chosen != folder {
        for part in &parts {
            names.extend(list(part, name(folder))?.classes.into_keys());
        }
    }
    let List { classes, unsorted } = list(chosen, name(folder))?;
    if classes.is_empty() {
        return Err(Error::NoPictures {
            folder: chosen.into(),
            looked_for: "*.jpg, *.jpeg and *.png, also in sub-folders",
        });
    }
    names.extend(classes.keys().cloned());
    let labelled = (0..).zip(&names).filter_map(|(label, name)| Some((label, classes.get(name)?)));
    let files = labelled.flat_map(|(label, files)| files.iter().map(move |f| (f.clone(), label)));
    let unsorted =
        (unsorted > 0).then(|| Error::Unsorted { folder: chosen.into(), pictures: unsorted });
    Ok(Found { files: files.collect(), classes: names.into_iter().collect(), unsorted })
}

/// Pictures in a folder.
struct List {
    /// By class.
    classes: BTreeMap<String, Vec<PathBuf>>,
    /// Of no class.
    unsorted: usize,
}

/// Pictures in a folder; one without classes is one of this name.
fn list(folder: &Path, name: String) -> Result<List> {
    let (pictures, folders) = entries(folder)?;
    let mut classes = BTreeMap::new();
    for class in folders {
        let (pictures, _) = entries(&class)?;
        if !pictures.is_empty() {
            classes.insert(self::name(&class), pictures);
        }
    }
    if !classes.is_empty() {
        return Ok(List { classes, unsorted: pictures.len() });
    }
    if !pictures.is_empty() {
        classes.insert(name, pictures);
    }
    Ok(List { classes, unsorted: 0 })
}

/// Pictures and folders in a folder, each in the order of their names.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let unreadable = |source| Error::Read { path: folder.into(), source };
    let (mut pictures, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_picture(&path) && path.is_file() {
            pictures.push(path);
        }
    }
    pictures.sort();
    folders.sort();
    Ok((pictures, folders))
}

fn is_picture(path: &Path) -> bool {
    let of = |extension: &std::ffi::OsStr| {
        ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    path.extension().is_some_and(of)
}

/// The last part of a folder's path.
pub(crate) fn name(folder: &Path) -> String {
    let named = match folder.file_name() {
        Some(_) => folder.into(),
        None => folder.canonicalize().unwrap_or_default(), // ".", "..", "/"
    };
    named.file_name().map_or_else(|| "pictures".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
