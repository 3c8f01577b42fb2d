//! Images of a sharded set, which are decoded when they are needed.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rayon::prelude::*;

use super::set::Shards;
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
/// The number of images, one after another, of which one must be readable.
const TRIES: usize = 100;
/// The number of images that are left out whose errors are kept.
const NAMED: usize = 100;

/// Images of [`Shards`], which are decoded when they are needed.
#[derive(Debug)]
pub struct ShardedImages {
    pub(super) shards: Arc<Shards>,
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
    /// Says how all images of a set are decoded, as [`folder::load`] says. Without a colour mode, some
    /// are decoded: the mode is RGB if one of them has colour.
    ///
    /// # Errors
    ///
    /// [`Error::TargetSize`]; [`Error::Read`].
    pub fn new(shards: Arc<Shards>, options: &Options) -> Result<Self> {
        if !options.size.is_supported() {
            return Err(Error::TargetSize { size: options.size });
        }
        let colour = match options.colour {
            Some(colour) => colour,
            None => shards.colour(options)?,
        };
        let images = Self {
            outline: shards.outline.clone(),
            shards,
            options: Options { colour: Some(colour), ..*options },
            buffer: 1,
            sample: OnceLock::new(),
            skipped: Mutex::default(),
        };
        Ok(images.with_buffer(BUFFER))
    }

    /// Sets the number of images of the shuffle buffer, at least 1. Of Parquet files, whose images are
    /// read in groups, it is no more than have 128 MiB together.
    #[must_use]
    pub fn with_buffer(self, images: usize) -> Self {
        let most = self.shards.longest_run().unwrap_or(usize::MAX);
        Self { buffer: images.clamp(1, most), ..self }
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
        let number = self.number(first);
        match self.decode_named(number, &self.shards.encoded(number)?) {
            Ok(pixels) => Ok((pixels, self.outline.labels()[first])),
            Err(source) => {
                Err(Error::ManyUnreadable { path, images: tries, source: Box::new(source) })
            }
        }
    }

    /// Decodes an image. One that cannot be decoded is noted, by its name the first time.
    fn decode(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let Options { size, colour, strict, .. } = self.options;
        let number = self.number(index);
        let bytes = self.shards.encoded(number)?;
        if let Ok(pixels) = folder::decode(&self.shards.place, &bytes, size, colour) {
            return Ok(Some(pixels));
        }
        if strict {
            return self.decode_named(number, &bytes).map(Some);
        }
        let is_named = {
            let mut skipped = self.skipped();
            skipped.images.insert(index) && skipped.images.len() <= NAMED
        };
        if is_named && let Err(error) = self.decode_named(number, &bytes) {
            self.skipped().errors.push(error);
        }
        Ok(None)
    }

    /// Decodes an image whose name an error has. The name is looked up in the file.
    fn decode_named(&self, number: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        let Options { size, colour, .. } = self.options;
        folder::decode(&self.shards.name(number), bytes, size, colour)
    }

    fn skipped(&self) -> MutexGuard<'_, Skipped> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number in the files of an image.
    fn number(&self, index: usize) -> usize {
        let bytes = self.outline.image(index).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Returns the errors of the images that were left out since the last call.
    pub(crate) fn take_skipped(&self) -> Vec<Error> {
        mem::take(&mut self.skipped().errors)
    }

    /// The images of the sample, in order.
    fn chosen(&self) -> Vec<usize> {
        let most = (SAMPLE_BYTES / self.shape().len()).clamp(1, SAMPLE);
        let (all, together) = (self.outline.len(), self.shards.together());
        let starts = order(all.div_ceil(together), SAMPLE_SEED, 0);
        let images = starts.into_iter().flat_map(|start| (start * together..all).take(together));
        let mut chosen: Vec<usize> = images.take(most).collect();
        chosen.sort_unstable();
        chosen
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
        let chosen = self.chosen();
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
