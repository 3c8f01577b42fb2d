//! Micro-batches: the parts of a step's batch, each with random numbers of its own.

use crate::error::{Error, Result};
use crate::random::micro_batch_rng;
use candle_core::Tensor;
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Real images and their labels, which the fakes share.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// (B, C, H, W) in [-1, 1]
    pub(crate) images: &'a Tensor,
    /// B class labels, or none.
    pub(crate) labels: &'a [u32],
}

impl Batch<'_> {
    pub(crate) fn len(self) -> Result<usize> {
        Ok(self.images.dim(0)?)
    }
}

/// A part of a batch that passes through the networks on its own.
pub(crate) struct MicroBatch {
    /// (B / K, C, H, W) in [-1, 1]
    images: Tensor,
    labels: Vec<u32>,
    /// Its latents, augmentation and dropout.
    rng: ChaCha8Rng,
}

impl MicroBatch {
    /// The images with their labels, and the random generator.
    pub(crate) fn parts(&mut self) -> (Batch<'_>, &mut ChaCha8Rng) {
        let Self { images, labels, rng } = self;
        (Batch { images, labels }, rng)
    }
}

/// Deals a batch to the micro-batches `own` of the `all` of a step. An only micro-batch goes on with
/// the training generator itself; several have streams of a seed that is drawn from it, the same on
/// every rank.
///
/// # Errors
/// A number of images that does not divide into micro-batches.
pub(crate) fn deal(
    batch: Batch,
    own: Range<usize>,
    all: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<MicroBatch>> {
    let Batch { images, labels } = batch;
    if all == 1 {
        let (images, labels) = (images.clone(), labels.to_vec());
        return Ok(vec![MicroBatch { images, labels, rng: rng.clone() }]);
    }
    let count = own.len();
    if batch.len()? == 0 || !batch.len()?.is_multiple_of(count) {
        let text = format!("{} images are not {count} equal micro-batches", batch.len()?);
        return Err(Error::Hyperparameter(text));
    }
    let size = batch.len()? / count;
    let seed = rng.next_u64();
    let part = |index: usize| {
        let start = (index - own.start) * size;
        Ok(MicroBatch {
            images: images.narrow(0, start, size)?,
            labels: labels.get(start..start + size).unwrap_or_default().to_vec(),
            rng: micro_batch_rng(seed, index),
        })
    };
    own.clone().map(part).collect()
}

/// Hands the training generator back after a step.
pub(crate) fn hand_back(parts: Vec<MicroBatch>, all: usize, rng: &mut ChaCha8Rng) {
    if let (1, [part]) = (all, &parts[..]) {
        *rng = part.rng.clone();
    }
}
