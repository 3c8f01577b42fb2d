//! Whether a generator copies: the real images nearest to generated ones.

use super::images::Images;
use anyhow::{Result, ensure};
use gan_data::png;
use gan_metrics::{nearest, nearest_rows, radii};
use serde::Serialize;
use std::path::Path;

/// Number of images in a row of the grid.
const COLUMNS: usize = 10;
/// Number of pairs in the grid.
const PAIRS: usize = 30;

/// The ratio of each image's distance to the nearest training image to that to the nearest image that
/// is held out, in the metrics' features. Images of a generator that copies have smaller ratios than
/// real ones.
#[derive(Serialize)]
pub(super) struct Nearest {
    /// The median of generated images.
    generated: f64,
    /// The median of the images held out, each against the others.
    real: f64,
    /// The grid of the generated images with the smallest ratios.
    file: String,
}

impl Nearest {
    /// Compares generated images with training images and with images that are held out. Writes a grid
    /// of generated images above their nearest training images, from the smallest ratio.
    ///
    /// # Errors
    /// Fewer than 2 images held out; a file that cannot be written.
    pub(super) fn measure(
        path: &Path,
        generated: &Images,
        training: &Images,
        held_out: &Images,
    ) -> Result<Self> {
        let features = &generated.extracted.features;
        let (real, held_out) = (&training.extracted.features, &held_out.extracted.features);
        let to_training = |features| nearest(features, real);
        let of_generated = ratios(&to_training(features)?, &nearest(features, held_out)?);
        let of_real = ratios(&to_training(held_out)?, &radii(held_out, 1)?);
        let mut order: Vec<usize> = (0..of_generated.len()).collect();
        order.sort_by(|&a, &b| of_generated[a].total_cmp(&of_generated[b]));
        order.truncate(PAIRS);
        let mut pixels = Vec::new();
        for row in order.chunks(COLUMNS) {
            let neighbours = nearest_rows(&features.take(row), real)?;
            for (set, chosen) in [(&generated.set, row), (&training.set, &neighbours)] {
                let len = set.shape.len();
                let end = pixels.len() + COLUMNS.min(order.len()) * len;
                chosen.iter().for_each(|i| pixels.extend(&set.pixels[i * len..(i + 1) * len]));
                // The last row may be shorter.
                pixels.resize(end, 0);
            }
        }
        png::write_grid(path, generated.set.shape, &pixels, COLUMNS)?;
        let (generated, real) = (median(of_generated), median(of_real));
        Ok(Self { generated, real, file: path.display().to_string() })
    }

    /// The result in words.
    pub(super) fn text(&self) -> String {
        let Self { generated, real, file } = self;
        format!(
            "distance to the nearest training image over that to the nearest held-out image, median: \
             {generated:.3}, of real images {real:.3}; {file} shows the generated images with the smallest \
             ratios above their nearest training images"
        )
    }
}

/// Checks that a grid can be written, before it is computed.
///
/// # Errors
/// A path in no directory.
pub(super) fn check(path: &Path) -> Result<()> {
    let parent = gan_files::parent(path);
    ensure!(parent.is_dir(), "--nearest {}: no directory {}", path.display(), parent.display());
    Ok(())
}

/// Ratios of distances. Of two distances of 0, the ratio is 1.
fn ratios(numerators: &[f32], denominators: &[f32]) -> Vec<f64> {
    let ratio = |(&a, &b): (&f32, &f32)| if a == b { 1.0 } else { f64::from(a) / f64::from(b) };
    numerators.iter().zip(denominators).map(ratio).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
