//! Random streams: every use of a seed has a stream of its own.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A use of a run's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RandomStream {
    /// Latents, augmentation and dropout of training.
    Training,
    /// The fixed latents of sample grids.
    Samples,
    /// Initial weights of the generator.
    GeneratorWeights,
    /// Initial weights of the discriminator.
    DiscriminatorWeights,
    /// The fixed latents of quality measurements.
    Monitor,
}

impl RandomStream {
    /// The stream's generator for this seed.
    pub fn rng(self, seed: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Counted down from the top: data loaders count their epochs up from 0.
        rng.set_stream(u64::MAX - self as u64);
        rng
    }
}

/// The generator of micro-batch `index`, from 0, of a step for which `drawn` was drawn.
pub(crate) fn micro_batch_rng(drawn: u64, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(drawn);
    rng.set_stream(index as u64);
    rng
}
