//! The images of a data set, in memory or in files that are read in parts.

use std::sync::Arc;

use crate::order::order;
use crate::shards::ShardedImages;
use crate::{Dataset, Error, ImageShape, Result};

/// The images of a data set.
#[derive(Debug)]
pub enum Images {
    /// All are in memory.
    Memory(Dataset),
    /// Each is decoded when it is needed.
    Sharded(Box<ShardedImages>),
}

impl From<Dataset> for Images {
    fn from(dataset: Dataset) -> Self {
        Self::Memory(dataset)
    }
}

impl From<ShardedImages> for Images {
    fn from(images: ShardedImages) -> Self {
        Self::Sharded(Box::new(images))
    }
}

impl From<Dataset> for Arc<Images> {
    fn from(dataset: Dataset) -> Self {
        Self::new(dataset.into())
    }
}

impl Images {
    /// Names, labels and classes: the data set itself, or one that has numbers in place of pixels.
    pub(crate) fn outline(&self) -> &Dataset {
        match self {
            Self::Memory(dataset) => dataset,
            Self::Sharded(images) => images.outline(),
        }
    }

    /// Returns the name of the data set.
    pub fn name(&self) -> &str {
        self.outline().name()
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.outline().len()
    }

    /// Returns whether there are no images. It is always false, as of [`Dataset::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.outline().is_empty()
    }

    /// Returns the shape of each image.
    pub fn shape(&self) -> ImageShape {
        match self {
            Self::Memory(dataset) => dataset.shape(),
            Self::Sharded(images) => images.shape(),
        }
    }

    /// Returns the names of the classes.
    pub fn classes(&self) -> &[String] {
        self.outline().classes()
    }

    /// Returns the names of the classes that have images, in order.
    pub fn non_empty_classes(&self) -> Vec<String> {
        self.outline().non_empty_classes()
    }

    /// Keeps the images of these classes, as [`Dataset::filter_classes`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::filter_classes`].
    pub fn filter_classes(self, classes: &[String]) -> Result<Self> {
        Ok(match self {
            Self::Memory(dataset) => Self::Memory(dataset.filter_classes(classes)?),
            Self::Sharded(images) => {
                let outline = images.outline().clone().filter_classes(classes)?;
                images.with_outline(outline).into()
            }
        })
    }

    /// Sets the number of images of the shuffle buffer, which images in memory do without.
    #[must_use]
    pub fn with_buffer(self, images: usize) -> Self {
        match self {
            Self::Memory(dataset) => Self::Memory(dataset),
            Self::Sharded(sharded) => sharded.with_buffer(images).into(),
        }
    }

    /// Splits the images into those to train on and those that are held out, as
    /// [`Dataset::hold_out`] does. Copies of an image in files may be in both parts.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::hold_out`].
    pub fn hold_out(self, fraction: f64) -> Result<(Self, Option<Self>)> {
        Ok(match self {
            Self::Memory(dataset) => {
                let (training, held_out) = dataset.hold_out(fraction)?;
                (Self::Memory(training), held_out.map(Self::Memory))
            }
            Self::Sharded(images) => {
                let (training, held_out) = images.outline().clone().hold_out(fraction)?;
                let part = |outline| images.with_outline(outline).into();
                (part(training), held_out.map(part))
            }
        })
    }

    /// Returns images in memory: all, or of images in files always the same
    /// [few](crate::shards::SAMPLE), which are decoded the first time.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]; [`Error::ManyUnreadable`].
    pub fn in_memory(&self) -> Result<&Dataset> {
        match self {
            Self::Memory(dataset) => Ok(dataset),
            Self::Sharded(images) => images.sample(),
        }
    }

    /// Returns images in memory, as [`in_memory`](Self::in_memory) does.
    ///
    /// # Errors
    ///
    /// Those of [`in_memory`](Self::in_memory).
    pub fn into_memory(self) -> Result<Dataset> {
        match self {
            Self::Memory(dataset) => Ok(dataset),
            Self::Sharded(images) => images.sample().cloned(),
        }
    }

    /// Returns the order of the images in an epoch.
    pub(crate) fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        match self {
            Self::Memory(dataset) => order(dataset.len(), seed, epoch),
            Self::Sharded(images) => images.order(seed, epoch),
        }
    }

    /// Calls `put` with the pixels of an image, and returns its label.
    ///
    /// # Errors
    ///
    /// Files that cannot be read.
    pub(crate) fn read(&self, index: usize, put: impl FnOnce(&[u8])) -> Result<u32> {
        match self {
            Self::Memory(dataset) => {
                put(dataset.image(index).unwrap_or_default());
                Ok(dataset.labels()[index])
            }
            Self::Sharded(images) => {
                let (pixels, label) = images.image(index)?;
                put(&pixels);
                Ok(label)
            }
        }
    }

    /// Returns the error of each image that could not be decoded, and was left out, since the last
    /// call; no more than 100 in all.
    pub fn take_skipped(&self) -> Vec<Error> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Sharded(images) => images.take_skipped(),
        }
    }
}
