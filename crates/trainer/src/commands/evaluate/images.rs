//! Sets of images that are measured.

use crate::quality::Extracted;
use anyhow::Result;
use gan_data::ImageSet;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// Images, and their features by the extractor.
pub(super) struct Images {
    pub(super) set: ImageSet,
    pub(super) extracted: Extracted,
}

/// A random sample of images, in their order; all if there are no more than `count`.
pub(super) fn sample(images: ImageSet, count: usize, seed: u64) -> Result<ImageSet> {
    if images.len() <= count {
        return Ok(images);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut rng, images.len(), count).into_vec();
    chosen.sort_unstable();
    let len = images.shape.len();
    let pixels = chosen.iter().flat_map(|i| &images.pixels[i * len..(i + 1) * len]).copied();
    let labels = images.labels.as_ref().map(|labels| chosen.iter().map(|&i| labels[i]).collect());
    Ok(ImageSet::new(images.shape, pixels.collect(), labels)?)
}
