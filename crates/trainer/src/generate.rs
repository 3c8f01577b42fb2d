//! `generate`: pictures from a trained generator.

use crate::args::{Format, GenerateArgs};
use crate::device;
use crate::run_folder::{DEFAULT_RUNS, RunFolder};
use crate::train::write_grid;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Tensor;
use gan_data::{ImageShape, idx, picture, range};
use gan_models::{Generator, GeneratorConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Pictures drawn at a time.
const CHUNK: usize = 256;

/// Draws and writes pictures, and prints where they are.
///
/// # Errors
/// A generator that cannot be read, a class that it does not draw, a path that cannot be written.
pub(crate) fn generate(args: &GenerateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.count > 0, "--count 0: at least 1 picture is needed");
    let folder = match (&args.weights, &args.run) {
        (Some(weights), _) => weights.clone(),
        (None, Some(run)) => {
            ensure!(run.is_dir(), "{}: no such run folder", run.display());
            run.join("generator")
        }
        (None, None) => RunFolder::newest(Path::new(DEFAULT_RUNS))?.join("generator"),
    };
    let device = device::device(args.device)?;
    let generator = Generator::load(&folder, &device)?;
    let label = label(generator.config(), args.class.as_deref())?;
    let images = device::pool(args.threads)?.install(|| -> Result<Tensor> {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        let mut parts = Vec::new();
        for first in (0..args.count).step_by(CHUNK) {
            let count = CHUNK.min(args.count - first);
            parts.push(generator.sample(count, &mut rng)?.to_device(&candle_core::Device::Cpu)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    })?;
    write(args, &images, label)?;
    writeln!(print, "{} pictures by {} in {}", args.count, folder.display(), args.out.display())?;
    Ok(())
}

/// The label of the pictures, where the generator draws a single class: the class's own number,
/// if it is named by one, so that a set of fives says 5 as MNIST does.
fn label(config: &GeneratorConfig, wanted: Option<&str>) -> Result<Option<u32>> {
    match (config.classes.as_slice(), wanted) {
        ([class], None) => Ok(Some(class.parse().unwrap_or(0))),
        ([class], Some(wanted)) if class == wanted => Ok(Some(class.parse().unwrap_or(0))),
        ([class], Some(wanted)) => {
            bail!("--class {wanted}: this generator draws class {class} only")
        }
        (classes, Some(wanted)) => bail!(
            "--class {wanted}: this generator was trained on classes {} without telling them \
             apart, so it cannot draw one of them alone",
            classes.join(", ")
        ),
        (_, None) => Ok(None),
    }
}

fn write(args: &GenerateArgs, images: &Tensor, label: Option<u32>) -> Result<()> {
    let (count, channels, height, width) = images.dims4()?;
    let shape = ImageShape { channels, height, width };
    let make_folder = || {
        fs::create_dir_all(&args.out)
            .with_context(|| format!("making the folder {}", args.out.display()))
    };
    match args.format {
        Format::Grid => write_grid(&args.out, images, (count as f64).sqrt().ceil() as usize)?,
        Format::Png => {
            make_folder()?;
            let digits = (count - 1).to_string().len().max(6);
            for (i, pixels) in range::to_bytes(images)?.chunks_exact(shape.len()).enumerate() {
                picture::write(&args.out.join(format!("{i:0digits$}.png")), shape, pixels)?;
            }
        }
        Format::Idx => {
            make_folder()?;
            let labels = label.map(|label| vec![label; count]);
            idx::write(&args.out, shape, &range::to_bytes(images)?, labels.as_deref())?;
        }
    }
    Ok(())
}
