//! `generate`: images from a trained generator.

mod output;

use crate::cli::commands::GenerateArgs;
use crate::cli::values::{Format, Layout};
use crate::device;
use crate::npy;
use crate::run::generator::GeneratorLocation;
use crate::sampling::{self, Latents, file_labels};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use gan_files::Line;
use gan_models::{Generator, GeneratorConfig};
use output::Output;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::Write;

/// Generates and writes images, and prints where they are.
///
/// # Errors
/// A generator or latents that cannot be read, a class that it does not generate, a path that cannot
/// be written.
pub(crate) fn generate(args: &GenerateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.count != Some(0), "--count 0: at least 1 image is needed");
    ensure!(
        args.layout == Layout::Flat || args.format == Format::Idx,
        "--layout torchvision goes with --format idx"
    );
    let location = GeneratorLocation::find(&args.generator)?;
    device::set_precision(location.precision(args.precision.precision));
    let device = device::device(args.device.device)?;
    let mut generator = Generator::load(&location.directory, &device)?;
    let trusted = device::trusted(device.clone(), args.device.device, generator.config(), None)?;
    if !trusted.same_device(&device) {
        generator = Generator::load(&location.directory, &trusted)?;
    }
    let config = generator.config();
    let (mut latents, count) = latents(args, config, &trusted)?;
    let shape = sampling::image_shape(config.image);
    let kept = args.save_latents.as_ref().map(|_| config.latent_dim);
    output::check_count(args.format, shape, kept, count)?;
    let labels = labels(config, args, count)?;
    let mut output = Output::open(args, shape, count, file_labels(config, &labels))?;
    let mut used: Vec<Tensor> = Vec::new();
    device::pool(args.threads)?.install(|| {
        sampling::generate(&generator, &labels, &mut latents, |first, latents, pixels| {
            if args.save_latents.is_some() {
                used.push(latents.to_device(&Device::Cpu)?);
            }
            output.take(first, pixels)
        })
    })?;
    output.close()?;
    if let Some(path) = &args.save_latents {
        npy::write(path, &Tensor::cat(&used, 0)?).context("--save-latents")?;
    }
    let (from, to) = (Line(location.directory.display()), Line(args.out.display()));
    writeln!(print, "{count} images by {from} in {to}")?;
    Ok(())
}

/// Returns the source of the latents and the number of images to generate.
fn latents(
    args: &GenerateArgs,
    config: &GeneratorConfig,
    device: &Device,
) -> Result<(Latents, usize)> {
    let Some(path) = &args.latents else {
        let count = args.count.context("--count: how many images?")?;
        return Ok((
            Latents::Random(Box::new(ChaCha8Rng::seed_from_u64(args.seed.or_zero()))),
            count,
        ));
    };
    let latents = npy::read(path, config.latent_dim).context("--latents")?;
    let count = latents.dim(0)?;
    ensure!(
        args.count.is_none_or(|asked| asked == count),
        "--count {}: {} holds {count} latents; leave --count out",
        args.count.unwrap_or_default(),
        path.display()
    );
    Ok((Latents::Given(latents.to_device(device)?), count))
}

/// Returns the class index of each image, in the generator's order of classes.
///
/// # Errors
/// A class that the generator does not generate, or cannot generate alone.
fn labels(config: &GeneratorConfig, args: &GenerateArgs, count: usize) -> Result<Vec<u32>> {
    let used = sampling::labels(config, args.class.as_deref())?;
    // In a grid, the images of a row share their class.
    let run = if args.format == Format::Grid { output::columns(count) } else { 1 };
    let mut labels = Vec::new();
    labels.try_reserve_exact(count).with_context(|| format!("memory for --count {count}"))?;
    labels.extend((0..count).map(|i| used[i / run % used.len()]));
    Ok(labels)
}
