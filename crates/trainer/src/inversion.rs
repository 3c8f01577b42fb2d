//! Inverts images, trying several classes.

use anyhow::Result;
use candle_core::Tensor;
use gan_data::range;
use gan_models::{Generator, InversionOptions};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Number of images that are inverted at a time. The latents do not depend on it.
const CHUNK: usize = 64;

/// The nearest image that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) label: u32,
    pub(crate) latent: Vec<f32>,
    /// The image's pixels, C x H x W.
    pub(crate) pixels: Vec<u8>,
    /// Its mean squared error, of values in [-1, 1].
    pub(crate) error: f32,
    /// The least error of the random latents that were tried.
    pub(crate) random_error: f32,
}

/// Searches the nearest image to each target, of any of these labels.
///
/// # Shapes
/// `targets`: (N, C, H, W) in [-1, 1].
/// # Errors
/// Those of [`Generator::invert`].
pub(crate) fn invert(
    generator: &Generator,
    targets: &Tensor,
    labels: &[u32],
    options: InversionOptions,
    seed: u64,
) -> Result<Vec<Found>> {
    let count = targets.dim(0)?;
    let mut all = Vec::new();
    for first in (0..count).step_by(CHUNK) {
        let targets = targets.narrow(0, first, CHUNK.min(count - first))?;
        let mut best: Vec<Option<Found>> = vec![None; targets.dim(0)?];
        for &label in labels {
            // The same latents for each class and each chunk.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let found = generator.invert(&targets, &vec![label; best.len()], options, &mut rng)?;
            let latents = found.latents.to_vec2::<f32>()?;
            let pixels = range::to_bytes(&found.images)?;
            let images = pixels.chunks(pixels.len() / best.len());
            for (i, (latent, pixels)) in latents.into_iter().zip(images).enumerate() {
                let (error, random) = (found.errors[i], found.random_errors[i]);
                let before = best[i].as_ref();
                let random_error = before.map_or(random, |best| best.random_error.min(random));
                match &mut best[i] {
                    Some(best) if best.error <= error => best.random_error = random_error,
                    other => {
                        let pixels = pixels.to_vec();
                        *other = Some(Found { label, latent, pixels, error, random_error });
                    }
                }
            }
        }
        all.extend(best.into_iter().flatten());
    }
    Ok(all)
}
