//! The files of a sharded set.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::find::find;
use super::listing::Label;
use super::shard::Shard;
use crate::files::directory_name;
use crate::folder::{self, Colour, Options};
use crate::{Dataset, Error, ImageShape, Result};

/// The number of images that are looked at to find out whether a set has colour.
const ASKED: usize = 100;
/// The largest number of classes.
const MAX_CLASSES: usize = 30_000;
/// The number of images in a row that are looked at where images are read together.
const TOGETHER: usize = 20;

/// What an image's number is in a [`Dataset`] that has numbers in place of pixels.
const NUMBER: ImageShape = ImageShape { channels: 1, height: 1, width: size_of::<u32>() };

/// The files of a set, and where their images are.
#[derive(Debug)]
pub struct Shards {
    pub(super) place: PathBuf,
    shards: Vec<Shard>,
    /// The number of the first image of each shard, and the number of images.
    pub(super) starts: Vec<usize>,
    /// The images' numbers in place of their pixels, their labels and classes.
    pub(super) outline: Dataset,
}

impl Shards {
    /// Lists the images of the tar files (`*.tar`) in a directory, or of the files of a directory whose
    /// names match the last component of `place`, in which `*` stands for any text.
    ///
    /// In a tar file, files that follow each other and have one name up to its first dot belong
    /// together: a JPEG or PNG image, and its label in a `.cls` file (a whole number) or a `.json` file
    /// (the number `label`). Others are ignored. Classes are called as the numbers that occur. A set
    /// without labels has one class, called as its directory.
    ///
    /// The threads of the current `rayon` pool list the files. Contents are skipped, not read.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]; [`Error::NoImages`]; [`Error::Shard`] and [`Error::TruncatedShard`] for a
    /// damaged file; [`Error::NotALabel`]; [`Error::Unlabelled`] if some images have no label;
    /// [`Error::FeatureDisabled`] without the feature of a file's format.
    pub fn open(place: &Path) -> Result<Self> {
        let files = find(place)?;
        let listings: Vec<Result<(Shard, Vec<Label>)>> =
            files.into_par_iter().map(Shard::list).collect();
        let (mut shards, mut labels, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for listing in listings {
            let (shard, of_shard) = listing?;
            labels.extend(of_shard);
            starts.push(labels.len());
            shards.push(shard);
        }
        if labels.is_empty() || u32::try_from(labels.len()).is_err() {
            let looked_for = "*.jpg, *.jpeg and *.png in its tar files, up to 2^32 of them";
            return Err(Error::NoImages { path: place.into(), looked_for });
        }
        let directory = if place.is_dir() { place } else { gan_files::parent(place) };
        let name = directory_name(directory);
        let numbers = (0..labels.len() as u32).flat_map(u32::to_le_bytes).collect();
        let unlabelled = labels.iter().position(Option::is_none);
        let labels: Vec<u32> = labels.into_iter().flatten().collect();
        if let (Some(first), false) = (unlabelled, labels.is_empty()) {
            let (shard, image) = locate(&starts, first);
            let path = shards[shard].name_of(image);
            return Err(Error::Unlabelled { path, labelled: labels.len() });
        }
        let count = starts[shards.len()];
        let (classes, labels) = classes(&name, &labels, count)?;
        let outline = Dataset::new(name, NUMBER, numbers, labels, classes)?;
        Ok(Self { place: place.into(), shards, starts, outline })
    }

    /// The colour mode by content: RGB if one of some images has colour.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub(super) fn colour(&self, options: &Options) -> Result<Colour> {
        for image in self.some(ASKED) {
            let bytes = self.encoded(image)?;
            let pixels = folder::decode(&self.place, &bytes, options.size, None);
            if pixels.is_ok_and(|pixels| pixels.len() > options.size.area()) {
                return Ok(Colour::Rgb);
            }
        }
        Ok(Colour::Grey)
    }

    /// Suggests a size, as [`folder::suggest_size`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn suggest_size(&self) -> Result<usize> {
        let mut sides = Vec::new();
        for image in self.some(folder::ASKED) {
            let bytes = self.encoded(image)?;
            let dimensions = folder::dimensions(&self.place, Cursor::new(bytes));
            sides.extend(dimensions.map(|(width, height)| width.min(height)));
        }
        Ok(folder::suggested(sides))
    }

    /// The numbers of about `count` images, evenly spread.
    fn some(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (all, together) = (self.len(), self.together());
        let starts = (0..all).step_by(all.div_ceil(count.div_ceil(together)));
        starts.flat_map(move |start| start..all.min(start + together))
    }

    /// The number of images in a row that are looked at where a few are.
    pub(super) fn together(&self) -> usize {
        if self.longest_run().is_some() { TOGETHER } else { 1 }
    }

    /// The number of images that may be shuffled together, where there is a limit.
    pub(super) fn longest_run(&self) -> Option<usize> {
        let (mut most, mut bytes, mut images) = (None, 0, 0);
        for (shard, ends) in self.shards.iter().zip(self.starts.windows(2)) {
            if let Some((run, all)) = shard.run() {
                (most, bytes, images) = (Some(run), bytes + all, images + ends[1] - ends[0]);
            }
        }
        most.map(|run| {
            (u128::from(run) * images as u128 / u128::from(bytes.max(1))).max(1) as usize
        })
    }

    /// Returns the number of images.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.outline.len()
    }

    /// Returns the number of files.
    pub fn files(&self) -> usize {
        self.shards.len()
    }

    /// Returns the name of each file, and a text that is another one where its images have other names,
    /// sizes, places or labels.
    pub fn fingerprints(&self) -> BTreeMap<String, String> {
        let of = |shard: &Shard| (shard.file_name(), format!("{:016x}", shard.hash));
        self.shards.iter().map(of).collect()
    }

    /// Checks that the files have these [fingerprints](Self::fingerprints).
    ///
    /// # Errors
    ///
    /// [`Error::ChangedShard`] for the first that has not.
    pub fn check(&self, known: &BTreeMap<String, String>) -> Result<()> {
        let now = self.fingerprints();
        let names: BTreeSet<&String> = known.keys().chain(now.keys()).collect();
        for name in names {
            let change = match (known.get(name), now.get(name)) {
                (Some(_), None) => "was removed",
                (None, Some(_)) => "was added",
                (before, after) if before != after => "got other images or labels",
                _ => continue,
            };
            return Err(Error::ChangedShard {
                path: self.place.clone(),
                name: name.clone(),
                change,
            });
        }
        Ok(())
    }

    /// Reads the file of an image.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub(super) fn encoded(&self, image: usize) -> Result<Vec<u8>> {
        let (shard, image) = locate(&self.starts, image);
        self.shards[shard].read(image)
    }

    /// The name of an image, for error messages.
    pub(super) fn name(&self, image: usize) -> PathBuf {
        let (shard, image) = locate(&self.starts, image);
        self.shards[shard].name_of(image)
    }
}

/// The shard of an image, and its number there.
fn locate(starts: &[usize], image: usize) -> (usize, usize) {
    let shard = starts.partition_point(|&start| start <= image) - 1;
    (shard, image - starts[shard])
}

/// The classes of these labels, and the class of each image; one class called `name` for no labels.
fn classes(name: &str, labels: &[u32], images: usize) -> Result<(Vec<String>, Vec<u32>)> {
    if labels.is_empty() {
        return Ok((vec![name.to_owned()], vec![0; images]));
    }
    let known: Vec<u32> = labels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if known.len() > MAX_CLASSES {
        let (classes, most) = (known.len(), MAX_CLASSES);
        return Err(Error::TooManyClasses { dataset: name.into(), classes, most });
    }
    let position = |label: &u32| known.partition_point(|known| known < label) as u32;
    Ok((known.iter().map(u32::to_string).collect(), labels.iter().map(position).collect()))
}
