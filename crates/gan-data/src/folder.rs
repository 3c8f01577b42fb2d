//! Image folders: JPEG and PNG files of any size, with one sub-folder per class, or without
//! sub-folders.

mod colour;
mod decode;
mod size;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::files::{directory_name, open};
use crate::{Dataset, Error, ImageShape, Result, Split};

pub use colour::Colour;
pub(crate) use decode::dimensions;
pub use decode::{decode, read};
pub use size::{NotASize, Size};
pub use write::write;

pub use crate::limits::SIZES;

/// How the images of a folder are read.
///
/// ```
/// use gan_data::folder::{Colour, Options};
///
/// let options = Options::new().size(64).colour(Some(Colour::Rgb)).strict(false);
/// assert_eq!(options.size, "64".parse()?);
/// # Ok::<(), gan_data::folder::NotASize>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Rows and columns of each image, each in [`SIZES`].
    pub size: Size,
    /// The colour mode. `None` means RGB if any image of the folder has colour, else grey.
    pub colour: Option<Colour>,
    /// Whether an invalid image is an error. If not, it is skipped.
    pub strict: bool,
}

impl Options {
    /// The default size, that of MNIST. Every network of this project supports it.
    pub const SIZE: usize = 28;

    /// Returns the default options: 28 x 28, colour mode by content, strict.
    pub const fn new() -> Self {
        let size = Size { height: Self::SIZE, width: Self::SIZE };
        Self { size, colour: None, strict: true }
    }

    /// Sets the size.
    #[must_use]
    pub fn size(self, size: impl Into<Size>) -> Self {
        Self { size: size.into(), ..self }
    }

    /// Sets the colour mode. `None` means the mode by content.
    #[must_use]
    pub const fn colour(self, colour: Option<Colour>) -> Self {
        Self { colour, ..self }
    }

    /// Sets whether an invalid image is an error.
    #[must_use]
    pub const fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }
}

impl Default for Options {
    /// Returns [`Options::new`].
    fn default() -> Self {
        Self::new()
    }
}

/// A data set, and the images that were skipped.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The data set.
    pub dataset: Dataset,
    /// The error of each skipped image, in the order of the images.
    pub skipped: Vec<Error>,
}

/// Loads one split of an image folder.
///
/// Images are files that end in `.jpg`, `.jpeg` or `.png`. Other files are ignored, and so are all
/// names that start with a dot. Each sub-folder with images is a class. In a folder without such
/// sub-folders all images belong to one class, which has the name of the folder.
///
/// A folder with sub-folders `train` and `test` has two splits, each laid out as above. In any other
/// folder both splits contain all images. Both splits have the same classes. Classes and images are
/// sorted by name, byte by byte.
///
/// Transparent pixels are blended with white, except with [`Colour::Rgba`]. Each image is cropped to the
/// largest part in its middle that has the ratio of `size`, and resampled to `size` with a Lanczos filter of three lobes, unless it already has that size.
///
/// The threads of the current `rayon` pool decode the images. The result does not depend on their
/// number.
///
/// # Errors
///
/// [`Error::TargetSize`]; [`Error::Read`] for a folder; [`Error::NoImages`];
/// [`Error::NoValidImage`]. With [`Options::strict`] also the errors that would otherwise be in
/// [`Loaded::skipped`]: [`Error::Read`], [`Error::NotAnImage`], [`Error::Decode`],
/// [`Error::ImageSize`], [`Error::Cropped`], [`Error::Resample`] and [`Error::UnlabelledImages`].
pub fn load(folder: &Path, split: Split, options: &Options) -> Result<Loaded> {
    let Options { size, colour, strict } = *options;
    if !size.is_supported() {
        return Err(Error::TargetSize { size });
    }
    let Found { classes, files, unlabelled } = find(folder, split)?;
    let decoded: Vec<Result<Vec<u8>>> =
        files.par_iter().map(|(path, _)| decode::read(path, size, colour)).collect();

    let mut skipped = Vec::new();
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (image, (_, label)) in decoded.into_iter().zip(&files) {
        match image {
            Ok(image) => {
                images.push(image);
                labels.push(*label);
            }
            Err(error) => skipped.push(error),
        }
    }
    // Last, so that `skipped[0]` is the error of an image if there is one.
    skipped.extend(unlabelled);
    if strict && !skipped.is_empty() {
        return Err(skipped.swap_remove(0));
    }
    let area = size.area();
    let Some(largest) = images.iter().map(Vec::len).max() else {
        let source = Box::new(skipped.swap_remove(0));
        return Err(Error::NoValidImage { path: folder.into(), images: files.len(), source });
    };
    let channels = colour.map_or(largest / area, Colour::channels);
    let mut pixels = Vec::with_capacity(images.len() * channels * area);
    for image in images {
        // Repeats the channel of a grey image in an RGB data set.
        for _ in 0..channels * area / image.len() {
            pixels.extend_from_slice(&image);
        }
    }
    let shape = ImageShape { channels, height: size.height, width: size.width };
    Ok(Loaded {
        dataset: Dataset::new(directory_name(folder), shape, pixels, labels, classes)?,
        skipped,
    })
}

/// Sizes that [`suggest_size`] chooses from. All networks of this project support them; larger ones
/// take long to train on a CPU.
const SUGGESTED: [usize; 5] = [16, 28, 32, 48, 64];

/// Largest number of images that [`suggest_size`] reads the headers of.
pub(crate) const ASKED: usize = 200;

/// Suggests a size for a folder whose images have none yet: the largest of 16, 28, 32, 48 and 64
/// pixels that at least half of the training images have on their shorter side.
///
/// # Errors
///
/// [`Error::Read`] for a folder; [`Error::NoImages`].
pub fn suggest_size(folder: &Path) -> Result<usize> {
    let Found { files, .. } = find(folder, Split::Train)?;
    let some = files.iter().step_by(files.len().div_ceil(ASKED).max(1));
    let of = |path: &Path| dimensions(path, BufReader::new(open(path)?));
    let sides = some.filter_map(|(path, _)| of(path).ok());
    Ok(suggested(sides.map(|(width, height)| width.min(height)).collect()))
}

/// Suggests a size for images whose shorter sides are these.
pub(crate) fn suggested(mut sides: Vec<usize>) -> usize {
    sides.sort_unstable();
    let fits = |size: &&usize| sides.get(sides.len() / 2).is_some_and(|middle| *size <= middle);
    SUGGESTED.iter().rev().find(fits).copied().unwrap_or(Options::SIZE)
}

/// The image files of a split.
pub(crate) struct Found {
    pub(crate) classes: Vec<String>,
    /// Each file with its label.
    pub(crate) files: Vec<(PathBuf, u32)>,
    unlabelled: Option<Error>,
}

/// The sub-folders of the splits, if the folder has them.
fn splits(folder: &Path) -> [PathBuf; 2] {
    ["train", "test"].map(|split| folder.join(split))
}

/// Returns whether a folder has splits.
pub(crate) fn has_splits(folder: &Path) -> bool {
    splits(folder).iter().all(|split| split.is_dir())
}

/// Finds the image files of a split.
pub(crate) fn find(folder: &Path, split: Split) -> Result<Found> {
    let splits = splits(folder);
    let chosen = match split {
        _ if !has_splits(folder) => folder,
        Split::Train => &splits[0],
        Split::Test => &splits[1],
    };
    let mut names = BTreeSet::new();
    if chosen != folder {
        for split in &splits {
            names.extend(list(split, directory_name(folder))?.classes.into_keys());
        }
    }
    let List { classes, unlabelled } = list(chosen, directory_name(folder))?;
    if classes.is_empty() {
        return Err(Error::NoImages {
            path: chosen.into(),
            looked_for: "*.jpg, *.jpeg and *.png, also in sub-folders",
        });
    }
    names.extend(classes.keys().cloned());
    let labelled = (0..).zip(&names).filter_map(|(label, name)| Some((label, classes.get(name)?)));
    let files = labelled.flat_map(|(label, files)| files.iter().map(move |f| (f.clone(), label)));
    let unlabelled = (unlabelled > 0)
        .then(|| Error::UnlabelledImages { path: chosen.into(), images: unlabelled });
    Ok(Found { files: files.collect(), classes: names.into_iter().collect(), unlabelled })
}

/// The images in a folder.
struct List {
    /// By class.
    classes: BTreeMap<String, Vec<PathBuf>>,
    /// Images beside class folders.
    unlabelled: usize,
}

/// Lists the images in a folder. Without class folders they all belong to the class `name`.
fn list(folder: &Path, name: String) -> Result<List> {
    let (images, folders) = entries(folder)?;
    let mut classes = BTreeMap::new();
    for class in folders {
        let (images, _) = entries(&class)?;
        if !images.is_empty() {
            classes.insert(directory_name(&class), images);
        }
    }
    if !classes.is_empty() {
        return Ok(List { classes, unlabelled: images.len() });
    }
    if !images.is_empty() {
        classes.insert(name, images);
    }
    Ok(List { classes, unlabelled: 0 })
}

/// Returns the images and the sub-folders of a folder, both sorted by name.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let unreadable = |source| Error::Read { path: folder.into(), source };
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_image(&path) {
            images.push(path);
        }
    }
    images.sort();
    folders.sort();
    Ok((images, folders))
}

fn is_image(path: &Path) -> bool {
    let of = |extension: &std::ffi::OsStr| {
        ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    path.extension().is_some_and(of)
}

#[cfg(test)]
mod tests;
