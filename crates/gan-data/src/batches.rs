//! An endless, seeded stream of batches.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

use crate::range::{from_units, to_unit};
use crate::{Error, Images, Result};

/// The images and labels of one training step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// (B, C, H, W) f32 in [-1, 1], on the CPU.
    pub images: Tensor,
    /// Class index of each image, B values.
    pub labels: Vec<u32>,
}

/// An endless stream of batches. Every epoch contains each image once, in a new order.
///
/// Image i of the stream is image i mod n of epoch i / n, where n is the size of the data set. The
/// order of an epoch is a Fisher-Yates shuffle drawn from ChaCha8, with the seed as key and the
/// epoch as stream; of [sharded](Images::Sharded) images it is a shuffle of the files, and then of
/// each run of as many images as the shuffle buffer has. A batch thus depends only on the data set,
/// the batch size, the seed and its index: training resumes at the next index. If n is not a multiple
/// of the batch size, some batches span two epochs. No image is dropped.
#[derive(Clone, Debug)]
pub struct Batches {
    images: Arc<Images>,
    batch_size: usize,
    seed: u64,
    /// The images of each batch that are read.
    part: Range<usize>,
    /// The epoch that `order` belongs to.
    epoch: u64,
    order: Vec<usize>,
}

impl Batches {
    /// Creates a stream of batches of `batch_size` images of an owned data set or of shared images.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroBatchSize`]; [`Error::BatchTooLarge`] if the data set has fewer images.
    pub fn new(images: impl Into<Arc<Images>>, batch_size: usize, seed: u64) -> Result<Self> {
        let images = images.into();
        if batch_size == 0 {
            return Err(Error::ZeroBatchSize);
        }
        if batch_size > images.len() {
            return Err(Error::BatchTooLarge {
                batch_size,
                images: images.len(),
                dataset: images.name().into(),
            });
        }
        let order = images.order(seed, 0);
        Ok(Self { images, batch_size, seed, part: 0..batch_size, epoch: 0, order })
    }

    /// Reads these images of each batch alone, as one of several ranks does.
    ///
    /// # Panics
    ///
    /// If the range is not within a batch.
    pub fn narrow(self, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= self.batch_size, "a part of a batch");
        Self { part, ..self }
    }

    /// Returns batch `k`, counted from 0. Sequential access is cheapest: it shuffles each epoch once.
    ///
    /// # Shapes
    ///
    /// Images: (B, C, H, W); labels: B; B is the batch size, or the length of
    /// [`Batches::narrow`]'s range.
    ///
    /// # Range
    ///
    /// Images: f32 in [-1, 1].
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if the tensor cannot be created; for sharded images also [`Error::Read`] and
    /// [`Error::ManyUnreadable`].
    pub fn batch(&mut self, k: u64) -> Result<Batch> {
        let (images, shape) = (self.images.clone(), self.images.shape());
        let count = images.len() as u128;
        let mut values = Vec::with_capacity(self.part.len() * shape.len());
        let mut labels = Vec::with_capacity(self.part.len());
        let start = u128::from(k) * self.batch_size as u128;
        for position in self.part.clone().map(|place| start + place as u128) {
            // Both fit: a batch is no larger than an epoch, so epoch <= k.
            let epoch = (position / count) as u64;
            let index = self.index(epoch, (position % count) as usize);
            let put = |image: &[u8]| values.extend(image.iter().map(|&byte| to_unit(byte)));
            labels.push(images.read(index, put)?);
        }
        let images = from_units(values, shape)?;
        Ok(Batch { images, labels })
    }

    /// Returns the index of the image at `position` in `epoch`.
    fn index(&mut self, epoch: u64, position: usize) -> usize {
        if self.epoch != epoch {
            self.order = self.images.order(self.seed, epoch);
            self.epoch = epoch;
        }
        self.order[position]
    }

    /// Returns the images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Returns the batch size, B.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Returns the number of batches in an epoch, usually not a whole number.
    pub fn steps_per_epoch(&self) -> f64 {
        self.images.len() as f64 / self.batch_size as f64
    }

    /// Returns the number of batches that cover `epochs` epochs, rounded up.
    pub fn steps(&self, epochs: u64) -> u64 {
        let images = u128::from(epochs) * self.images.len() as u128;
        let steps = images.div_ceil(self.batch_size as u128);
        steps.try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, ImageShape, range};

    /// `count` images of 1 x 1 x 2 with their number as both pixels and label.
    fn numbered(count: u8) -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let images = (0..count).flat_map(|number| [number, number]).collect();
        let labels = (0..count.into()).collect();
        let classes = (0..count).map(|number| number.to_string()).collect();
        Dataset::new("numbers", shape, images, labels, classes).unwrap()
    }

    fn labels(batches: &mut Batches, k: u64) -> Vec<u32> {
        batches.batch(k).unwrap().labels
    }

    #[test]
    fn every_epoch_has_every_image_once() {
        let mut batches = Batches::new(numbered(10), 4, 7).unwrap();
        let stream: Vec<u32> = (0..5).flat_map(|k| labels(&mut batches, k)).collect();
        for epoch in stream.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(stream[..10], stream[10..]);
    }

    #[test]
    fn a_batch_depends_only_on_its_index() {
        let dataset: Arc<Images> = numbered(10).into();
        let mut forward = Batches::new(dataset.clone(), 4, 7).unwrap();
        let expected: Vec<_> = (0..20).map(|k| labels(&mut forward, k)).collect();
        let mut backward = Batches::new(dataset.clone(), 4, 7).unwrap();
        for k in (0..20).rev() {
            assert_eq!(labels(&mut backward, k), expected[k as usize]);
        }
        let mut other = Batches::new(dataset, 4, 8).unwrap();
        let other: Vec<_> = (0..20).map(|k| labels(&mut other, k)).collect();
        assert_ne!(other, expected);
    }

    #[test]
    fn parts_of_a_batch_are_the_batch() {
        let images: Arc<Images> = numbered(10).into();
        let whole = || Batches::new(images.clone(), 4, 7).unwrap();
        for k in 0..5 {
            let parts = [0..1, 1..1, 1..4].map(|part| labels(&mut whole().narrow(part), k));
            assert_eq!(parts.concat(), labels(&mut whole(), k));
        }
    }

    #[test]
    fn images_come_with_their_labels_in_unit_range() {
        let mut batches = Batches::new(numbered(200), 3, 1).unwrap();
        let Batch { images, labels } = batches.batch(66).unwrap();
        assert_eq!(images.dims(), [3, 1, 1, 2]);
        let values: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(values[0], labels[0] as f32 / 127.5 - 1.0);
        let pixels = range::to_bytes(&images).unwrap();
        let expected: Vec<u8> = labels.iter().flat_map(|&l| [l as u8, l as u8]).collect();
        assert_eq!(pixels, expected);
    }

    #[test]
    fn the_last_batch_index_works() {
        for batch_size in [1, 9, 10] {
            let mut batches = Batches::new(numbered(10), batch_size, 7).unwrap();
            assert_eq!(labels(&mut batches, u64::MAX).len(), batch_size);
        }
    }

    #[test]
    fn impossible_batch_sizes_are_errors() {
        let zero = Batches::new(numbered(10), 0, 7).unwrap_err();
        assert!(matches!(zero, Error::ZeroBatchSize));
        assert_eq!(zero.to_string(), "batch size must be at least 1");
        let large = Batches::new(numbered(10), 11, 7).unwrap_err();
        assert!(matches!(large, Error::BatchTooLarge { .. }));
        let expected = "batch size 11 exceeds the 10 images of numbers";
        assert_eq!(large.to_string(), expected);
    }

    #[test]
    fn steps_cover_the_epochs() {
        let batches = Batches::new(numbered(10), 4, 7).unwrap();
        assert_eq!(batches.steps_per_epoch(), 2.5);
        assert_eq!(batches.steps(0), 0);
        assert_eq!(batches.steps(1), 3);
        assert_eq!(batches.steps(2), 5);
        assert_eq!(batches.steps(u64::MAX), u64::MAX);
    }
}
