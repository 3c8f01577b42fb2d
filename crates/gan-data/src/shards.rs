//! Sets of many images in few files, which are read while they are trained on.
//!
//! [`Shards::open`] lists the images of the files: where each is, and its label. That takes about 40
//! bytes of memory for each image. [`Shards::images`] says how they are decoded, and gives
//! [`ShardedImages`], of which any image can be read by its number.

mod find;
mod listing;
#[cfg(feature = "tar")]
mod tar;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Cursor;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use listing::{Label, Listing, entry_path};

use crate::files::directory_name;
use crate::folder::{self, Colour, Options};
use crate::order::{epoch_random, order, shuffle};
use crate::{Dataset, Error, ImageShape, Result};

/// The default number of images of a shuffle buffer.
pub const BUFFER: usize = 10_000;
/// The largest number of images that are held in memory to be shown and measured.
pub const SAMPLE: usize = 5_000;
/// The largest number of bytes of their pixels.
const SAMPLE_BYTES: usize = 1 << 27;
/// The seed of the choice of these images.
const SAMPLE_SEED: u64 = 0;
/// The number of images that are looked at to find out whether a set has colour.
const ASKED: usize = 100;
/// The number of images, one after another, of which one must be readable.
const TRIES: usize = 100;
/// The number of images that are left out whose errors are kept.
const NAMED: usize = 100;
/// The largest number of classes.
const MAX_CLASSES: usize = 30_000;

/// What an image's number is in a [`Dataset`] that has numbers in place of pixels.
const NUMBER: ImageShape = ImageShape { channels: 1, height: 1, width: size_of::<u32>() };

/// A file of many images.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    images: Places,
    hash: u64,
}

/// Where the images of a shard are.
#[derive(Debug)]
enum Places {
    #[cfg(feature = "tar")]
    Tar(Vec<tar::Place>),
}

/// The files of a set, and where their images are.
#[derive(Debug)]
pub struct Shards {
    place: PathBuf,
    shards: Vec<Shard>,
    /// The number of the first image of each shard, and the number of images.
    starts: Vec<usize>,
    /// The images' numbers in place of their pixels, their labels and classes.
    outline: Dataset,
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
        let files = find::find(place)?;
        let listings: Vec<Result<(Shard, Vec<Label>)>> = files.into_par_iter().map(list).collect();
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
            let path = shards[shard].name(image);
            return Err(Error::Unlabelled { path, labelled: labels.len() });
        }
        let count = starts[shards.len()];
        let (classes, labels) = classes(&name, &labels, count)?;
        let outline = Dataset::new(name, NUMBER, numbers, labels, classes)?;
        Ok(Self { place: place.into(), shards, starts, outline })
    }

    /// Says how the images are decoded, as [`folder::load`] says. Without a colour mode, some images
    /// are decoded: the mode is RGB if one of them has colour.
    ///
    /// # Errors
    ///
    /// [`Error::TargetSize`]; [`Error::Read`].
    pub fn images(self: &Arc<Self>, options: &Options) -> Result<ShardedImages> {
        if !options.size.is_supported() {
            return Err(Error::TargetSize { size: options.size });
        }
        let colour = match options.colour {
            Some(colour) => colour,
            None => self.colour(options)?,
        };
        Ok(ShardedImages {
            shards: self.clone(),
            outline: self.outline.clone(),
            options: Options { colour: Some(colour), ..*options },
            buffer: BUFFER,
            sample: OnceLock::new(),
            skipped: Mutex::default(),
        })
    }

    fn colour(&self, options: &Options) -> Result<Colour> {
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

    /// The numbers of at most `count` images, evenly spread.
    fn some(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.len()).step_by(self.len().div_ceil(count))
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
        let of = |shard: &Shard| (file_name(&shard.path), format!("{:016x}", shard.hash));
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
    fn encoded(&self, image: usize) -> Result<Vec<u8>> {
        let (shard, image) = locate(&self.starts, image);
        let Shard { path, images, .. } = &self.shards[shard];
        match images {
            #[cfg(feature = "tar")]
            Places::Tar(places) => tar::read(path, places[image]),
        }
    }

    /// The name of an image, for error messages.
    fn name(&self, image: usize) -> PathBuf {
        let (shard, image) = locate(&self.starts, image);
        self.shards[shard].name(image)
    }
}

impl Shard {
    fn name(&self, image: usize) -> PathBuf {
        let name = match &self.images {
            #[cfg(feature = "tar")]
            Places::Tar(places) => tar::name(&self.path, places[image]),
        };
        entry_path(&self.path, &name.unwrap_or_else(|| image.to_string()))
    }
}

/// Lists the images of a shard.
fn list(path: PathBuf) -> Result<(Shard, Vec<Label>)> {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let Listing { images, labels, hash } = match extension.to_str() {
        #[cfg(feature = "tar")]
        Some("tar") => tar::list(&path)?.map(Places::Tar),
        _ => {
            let feature = if extension == "tar" { "tar" } else { "parquet" };
            return Err(Error::FeatureDisabled { dataset: path.display().to_string(), feature });
        }
    };
    Ok((Shard { path, images, hash }, labels))
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

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Images of [`Shards`], which are decoded when they are needed.
#[derive(Debug)]
pub struct ShardedImages {
    shards: Arc<Shards>,
    /// The images' numbers in place of their pixels, their labels and classes.
    outline: Dataset,
    /// With a colour mode.
    options: Options,
    buffer: usize,
    sample: OnceLock<Dataset>,
    skipped: Mutex<Skipped>,
}

/// Images that were left out.
#[derive(Debug, Default)]
struct Skipped {
    /// All of them.
    images: HashSet<usize>,
    /// Those that nobody has been told of.
    errors: Vec<Error>,
}

impl ShardedImages {
    /// Sets the number of images of the shuffle buffer, at least 1.
    #[must_use]
    pub fn with_buffer(self, images: usize) -> Self {
        Self { buffer: images.max(1), ..self }
    }

    /// Returns the number of images of the shuffle buffer.
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Returns the files.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Returns the shape of each decoded image.
    pub(crate) fn shape(&self) -> ImageShape {
        let Options { size, colour, .. } = self.options;
        let channels = colour.map_or(1, Colour::channels);
        ImageShape { channels, height: size.height, width: size.width }
    }

    /// Returns labels and classes, with numbers in place of pixels.
    pub(crate) fn outline(&self) -> &Dataset {
        &self.outline
    }

    /// Returns some of these images: those of another outline.
    pub(crate) fn with_outline(&self, outline: Dataset) -> Self {
        let (shards, skipped) = (self.shards.clone(), Mutex::default());
        Self { shards, outline, sample: OnceLock::new(), skipped, ..*self }
    }

    /// Returns the order of the images in an epoch: the files in a random order; of the images in that
    /// order each run of [`buffer`](Self::buffer) images is shuffled.
    pub(crate) fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut random = epoch_random(seed, epoch);
        let all: Vec<usize> = (0..self.outline.len()).collect();
        let at = |start: &usize| all.partition_point(|&image| self.number(image) < *start);
        let ends: Vec<usize> = self.shards.starts.iter().map(at).collect();
        let mut shards: Vec<&[usize]> =
            ends.windows(2).map(|ends| &all[ends[0]..ends[1]]).collect();
        shuffle(&mut shards, &mut random);
        let mut order = shards.concat();
        order.chunks_mut(self.buffer).for_each(|run| shuffle(run, &mut random));
        order
    }

    /// Reads an image; in place of one that cannot be decoded, the next that can. Returns its pixels
    /// and its label.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]; [`Error::ManyUnreadable`] if none of many images can be decoded. With
    /// [`Options::strict`], the error of the first.
    pub(crate) fn image(&self, index: usize) -> Result<(Vec<u8>, u32)> {
        let (mut first, count) = (None, self.outline.len());
        let tries = count.min(TRIES);
        for index in (index..index + tries).map(|index| index % count) {
            match self.decode(index)? {
                Some(pixels) => return Ok((pixels, self.outline.labels()[index])),
                None => first = first.or(Some(index)),
            }
        }
        let first = first.unwrap_or(index);
        let path = self.shards.place.clone();
        match self.decoded(first)? {
            Ok(pixels) => Ok((pixels, self.outline.labels()[first])),
            Err(source) => {
                Err(Error::ManyUnreadable { path, images: tries, source: Box::new(source) })
            }
        }
    }

    /// Decodes an image. One that cannot be decoded is noted.
    fn decode(&self, index: usize) -> Result<Option<Vec<u8>>> {
        match self.decoded(index)? {
            Ok(pixels) => Ok(Some(pixels)),
            Err(error) if self.options.strict => Err(error),
            Err(error) => {
                let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                if skipped.images.insert(index) && skipped.images.len() <= NAMED {
                    skipped.errors.push(error);
                }
                Ok(None)
            }
        }
    }

    /// Reads and decodes an image; the inner error is the image's.
    fn decoded(&self, index: usize) -> Result<Result<Vec<u8>>> {
        let Options { size, colour, .. } = self.options;
        let number = self.number(index);
        let bytes = self.shards.encoded(number)?;
        let decoded = folder::decode(&self.shards.place, &bytes, size, colour);
        // The name of an image is looked up where it is needed alone.
        let named = |_| folder::decode(&self.shards.name(number), &bytes, size, colour);
        Ok(decoded.or_else(named))
    }

    /// The number in the files of an image.
    fn number(&self, index: usize) -> usize {
        let bytes = self.outline.image(index).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Returns the errors of the images that were left out since the last call.
    pub(crate) fn take_skipped(&self) -> Vec<Error> {
        mem::take(&mut self.skipped.lock().unwrap_or_else(PoisonError::into_inner).errors)
    }

    /// Returns some of the images in memory, always the same: at most [`SAMPLE`], fewer where their
    /// pixels would be more than 128 MiB. They are decoded the first time.
    ///
    /// # Errors
    ///
    /// Those of [`image`](Self::image).
    pub(crate) fn sample(&self) -> Result<&Dataset> {
        if let Some(sample) = self.sample.get() {
            return Ok(sample);
        }
        let most = (SAMPLE_BYTES / self.shape().len()).clamp(1, SAMPLE);
        let mut chosen = order(self.outline.len(), SAMPLE_SEED, 0);
        chosen.truncate(most);
        chosen.sort_unstable();
        let decoded: Vec<Result<Option<Vec<u8>>>> =
            chosen.par_iter().map(|&index| self.decode(index)).collect();
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (image, &index) in decoded.into_iter().zip(&chosen) {
            if let Some(image) = image? {
                pixels.extend(image);
                labels.push(self.outline.labels()[index]);
            }
        }
        if labels.is_empty() {
            // Its error names the first.
            self.image(chosen[0])?;
        }
        let classes = self.outline.classes().to_vec();
        let sample = Dataset::new(self.outline.name(), self.shape(), pixels, labels, classes)?;
        Ok(self.sample.get_or_init(|| sample))
    }
}
