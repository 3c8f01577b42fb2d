//! Grids of images: a generator's samples, and real images beside them.

use anyhow::{Context, Result};
use candle_core::Tensor;
use gan_data::{Dataset, ImageShape, png, range};
use gan_models::{Generator, Mode};
use gan_training::RandomStream;
use std::path::Path;

/// Number of images in a row.
const COLUMNS: usize = 10;
/// Number of rows where classes have no row of their own.
const ROWS: usize = 10;

/// The generator's input of all sample grids. The images of a row share their class where the
/// generator is conditional.
///
/// # Errors
/// Failures of the device.
pub(crate) fn samples_input(generator: &Generator, seed: u64) -> Result<Tensor> {
    let config = generator.config();
    let rows = if config.conditional { config.classes.len() } else { ROWS };
    let labels: Vec<u32> = (0..rows * COLUMNS).map(|i| (i / COLUMNS) as u32).collect();
    let latents = generator.sample_latents(labels.len(), &mut RandomStream::Samples.rng(seed))?;
    Ok(generator.input(&latents, &labels)?)
}

/// Writes the images that a generator makes of an input.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(path: &Path, (generator, input): (&Generator, &Tensor)) -> Result<()> {
    let directory = gan_files::parent(path);
    gan_files::make(directory).with_context(|| format!("making {}", directory.display()))?;
    let images = generator.forward(input, Mode::Eval)?;
    let (_, channels, height, width) = images.dims4()?;
    let shape = ImageShape { channels, height, width };
    Ok(png::write_grid(path, shape, &range::to_bytes(&images)?, COLUMNS)?)
}

/// Writes the first real images of each class, in the order of a sample grid, or the first ones of all
/// where the classes have no rows.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_real(path: &Path, real: &Dataset, by_class: bool) -> Result<()> {
    let first = |of: &dyn Fn(u32) -> bool, count: usize| -> Vec<usize> {
        (0..real.len()).filter(|&image| of(real.labels()[image])).take(count).collect()
    };
    let chosen: Vec<usize> = match by_class {
        true => (0..real.classes().len() as u32)
            .flat_map(|class| {
                let found = first(&|label| label == class, COLUMNS);
                // A class of fewer images repeats them, so that the next one has its own row.
                let count = if found.is_empty() { 0 } else { COLUMNS };
                found.into_iter().cycle().take(count).collect::<Vec<_>>()
            })
            .collect(),
        false => first(&|_| true, ROWS * COLUMNS),
    };
    let pixels: Vec<u8> =
        chosen.into_iter().filter_map(|image| real.image(image)).flatten().copied().collect();
    Ok(png::write_grid(path, real.shape(), &pixels, COLUMNS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of images of one pixel: 0 to 23 of the first class, 100 and 101 of the second.
    #[test]
    fn real_images_have_a_row_for_each_class() -> Result<()> {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let labels: Vec<u32> = (0..26).map(|i| u32::from(i >= 24)).collect();
        let pixels: Vec<u8> = (0..24).chain(100..102).collect();
        let classes = ["a", "b"].map(String::from).to_vec();
        let real = Dataset::new("real", shape, pixels, labels, classes)?;
        let place = tempfile::tempdir()?;
        let path = place.path().join("real.png");
        let grid = |by_class| -> Result<_> {
            write_real(&path, &real, by_class)?;
            let (shape, pixels) = png::read(&path)?;
            // Two pixels lie between two images.
            let rows = pixels.chunks(shape.width).step_by(3);
            Ok(rows.flat_map(|row| row.iter().step_by(3).copied()).collect::<Vec<u8>>())
        };
        let rows = [(0..10).collect::<Vec<u8>>(), [100, 101].repeat(5)];
        assert_eq!(grid(true)?, rows.concat());
        assert_eq!(grid(false)?[..26], *real.pixels());
        Ok(())
    }
}
