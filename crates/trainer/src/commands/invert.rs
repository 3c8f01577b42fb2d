//! `invert`: the latents whose images are nearest to given images.

use crate::cli::commands::InvertArgs;
use crate::device;
use crate::images;
use crate::inversion::{self, Found};
use crate::npy;
use crate::run::generator::GeneratorLocation;
use crate::sampling;
use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use gan_data::{png, range};
use gan_files::Line;
use gan_models::{Generator, InversionOptions};
use std::io::Write;
use std::path::Path;

/// Prints, for each image, the mean squared error of the nearest image that the generator draws, and that
/// of the best random latent.
///
/// # Errors
/// A generator or images that cannot be read, a class that it does not generate, files that cannot be
/// written.
pub(crate) fn invert(args: &InvertArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let location = GeneratorLocation::find(&args.generator)?;
    device::set_precision(location.precision(None));
    let generator = Generator::load(&location.directory, &Device::Cpu)?;
    let config = generator.config();
    let labels = sampling::labels(config, args.class.as_deref())?;
    let shape = sampling::image_shape(config.image);
    let (mut pixels, mut all) = (Vec::new(), Vec::new());
    device::pool(args.threads)?.install(|| -> Result<()> {
        for path in &args.images {
            let set = images::read(path, shape, "generator")?;
            let targets = range::to_tensor(&set.pixels, shape)?;
            let found = inversion::invert(
                &generator,
                &targets,
                &labels,
                options(args),
                args.seed.or_zero(),
            )?;
            for (i, found) in found.iter().enumerate() {
                let which = if set.len() > 1 { format!(" image {i}") } else { String::new() };
                let class = match config.conditional {
                    true => format!("class {}  ", config.classes[found.label as usize]),
                    false => String::new(),
                };
                let (error, random) = (found.error, found.random_error);
                let path = Line(path.display());
                writeln!(print, "{error:.4}  best random {random:.4}  {class}{path}{which}")?;
            }
            pixels.extend(set.pixels);
            all.extend(found);
        }
        Ok(())
    })?;
    if all.len() > 1 {
        let mean = |error: fn(&Found) -> f32| {
            all.iter().map(|found| f64::from(error(found))).sum::<f64>() / all.len() as f64
        };
        let (error, random) = (mean(|found| found.error), mean(|found| found.random_error));
        writeln!(print, "{error:.4}  best random {random:.4}  mean of {} images", all.len())?;
    }
    if let Some(path) = &args.save_latents {
        let latents: Vec<f32> = all.iter().flat_map(|found| found.latent.clone()).collect();
        let latents = Tensor::from_vec(latents, (all.len(), config.latent_dim), &Device::Cpu)?;
        npy::write(path, &latents).context("--save-latents")?;
    }
    match &args.out {
        Some(path) => write_pairs(path, shape, &pixels, &all),
        None => Ok(()),
    }
}

fn options(args: &InvertArgs) -> InversionOptions {
    let mut options = InversionOptions::default();
    options.candidates = args.candidates as usize;
    options.starts = args.starts as usize;
    options.steps = args.steps as usize;
    options
}

/// Number of images in a row of the grid.
const COLUMNS: usize = 10;

/// Writes a row of images, then a row of their reconstructions, and so on.
fn write_pairs(
    path: &Path,
    shape: gan_data::ImageShape,
    pixels: &[u8],
    found: &[Found],
) -> Result<()> {
    let columns = COLUMNS.min(found.len());
    let mut grid = Vec::new();
    for (row, found) in pixels.chunks(columns * shape.len()).zip(found.chunks(columns)) {
        let width = columns * shape.len();
        let padded = |mut row: Vec<u8>| {
            row.resize(width, 0);
            row
        };
        grid.extend(padded(row.to_vec()));
        grid.extend(padded(found.iter().flat_map(|found| found.pixels.clone()).collect()));
    }
    Ok(png::write_grid(path, shape, &grid, columns)?)
}
