//! `generate`: pictures from a trained generator.

use crate::args::{Format, GenerateArgs, PrecisionName};
use crate::device;
use crate::run_folder::{DEFAULT_RUNS, RunFolder};
use anyhow::{Context, Result, bail, ensure};
use gan_data::{ImageShape, idx, picture, range};
use gan_models::{Generator, GeneratorConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of pictures held in memory for one file of all.
const MAX_HELD: usize = u32::MAX as usize;
/// Pictures drawn at a time.
const CHUNK: usize = 256;

/// Draws and writes pictures, and prints where they are.
///
/// # Errors
/// A generator that cannot be read, a class that it does not draw, a path that cannot be written.
pub(crate) fn generate(args: &GenerateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.count > 0, "--count 0: at least 1 picture is needed");
    let (run, folder) = match (&args.weights, &args.run) {
        (Some(weights), _) => (None, weights.clone()),
        (None, Some(run)) => {
            ensure!(run.is_dir(), "{}: no such run folder", run.display());
            (Some(run.clone()), generator_of(run)?)
        }
        (None, None) => {
            let run = RunFolder::newest(Path::new(DEFAULT_RUNS))?;
            let folder = generator_of(&run)?;
            (Some(run), folder)
        }
    };
    device::set_precision(precision(args.precision, run.as_deref()));
    let device = device::device(args.device)?;
    let mut generator = Generator::load(&folder, &device)?;
    let trusted = device::trusted(device.clone(), args.device, generator.config(), None)?;
    if !trusted.same_device(&device) {
        generator = Generator::load(&folder, &trusted)?;
    }
    let label = label(generator.config(), args.class.as_deref())?;
    let image = generator.config().image;
    let shape = ImageShape { channels: image.channels, height: image.height, width: image.width };
    let mut output = Output::open(args, shape)?;
    device::pool(args.threads)?.install(|| -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        for first in (0..args.count).step_by(CHUNK) {
            let images = generator.sample(CHUNK.min(args.count - first), &mut rng)?;
            output.take(args, shape, first, range::to_bytes(&images)?)?;
        }
        Ok(())
    })?;
    output.close(args, shape, label)?;
    writeln!(print, "{} pictures by {} in {}", args.count, folder.display(), args.out.display())?;
    Ok(())
}

/// The precision asked for, else that of the run whose generator draws: a run's samples and its
/// generator's pictures are then made of the same products.
fn precision(asked: Option<PrecisionName>, run: Option<&Path>) -> PrecisionName {
    let of_run = |run| Some(RunFolder::open(run).ok()?.1.precision);
    asked.or_else(|| run.and_then(of_run)).unwrap_or_default()
}

/// The generator's folder in a run's.
fn generator_of(run: &Path) -> Result<PathBuf> {
    let folder = run.join("generator");
    ensure!(
        folder.is_dir(),
        "{}: no generator in it; training writes one with each checkpoint",
        run.display()
    );
    Ok(folder)
}

/// The label of the pictures, where the generator draws a single class: the class's own number,
/// if it is named by one, so that a set of fives says 5 as MNIST does; other names have none.
fn label(config: &GeneratorConfig, wanted: Option<&str>) -> Result<Option<u32>> {
    match (config.classes.as_slice(), wanted) {
        ([class], None) => Ok(class.parse().ok()),
        ([class], Some(wanted)) if class == wanted => Ok(class.parse().ok()),
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

/// Where pictures go: single files at once, one file of all when all are drawn.
enum Output {
    Files,
    Whole(Vec<u8>),
}

impl Output {
    fn open(args: &GenerateArgs, shape: ImageShape) -> Result<Self> {
        let make_folder = || {
            fs::create_dir_all(&args.out)
                .with_context(|| format!("making the folder {}", args.out.display()))
        };
        if args.format == Format::Png {
            return make_folder().map(|()| Self::Files);
        }
        let most = MAX_HELD / shape.len();
        ensure!(
            args.count <= most,
            "--count {}: one file of pictures is put together in memory, which is done for up to \
             {most}; `--format png` writes any number",
            args.count,
        );
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(args.count * shape.len())
            .with_context(|| format!("memory for --count {}", args.count))?;
        if args.format == Format::Idx {
            make_folder()?;
        }
        Ok(Self::Whole(pixels))
    }

    /// Takes pictures, the first of which is number `first`.
    fn take(
        &mut self,
        args: &GenerateArgs,
        shape: ImageShape,
        first: usize,
        pixels: Vec<u8>,
    ) -> Result<()> {
        match self {
            Self::Whole(all) => all.extend(pixels),
            Self::Files => {
                let digits = (args.count - 1).to_string().len().max(6);
                for (i, pixels) in pixels.chunks_exact(shape.len()).enumerate() {
                    let path = args.out.join(format!("{:0digits$}.png", first + i));
                    picture::write(&path, shape, pixels)?;
                }
            }
        }
        Ok(())
    }

    fn close(self, args: &GenerateArgs, shape: ImageShape, label: Option<u32>) -> Result<()> {
        let Self::Whole(pixels) = self else { return Ok(()) };
        if args.format == Format::Grid {
            let columns = (args.count as f64).sqrt().ceil() as usize;
            return Ok(picture::write_grid(&args.out, shape, &pixels, columns)?);
        }
        let labels = label.map(|label| vec![label; args.count]);
        Ok(idx::write(&args.out, shape, &pixels, labels.as_deref())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TrainArgs;
    use crate::config::TrainConfig;

    #[test]
    fn pictures_are_drawn_as_their_run_was_trained() -> Result<()> {
        let runs = tempfile::tempdir()?;
        let args = TrainArgs { precision: PrecisionName::Highest, ..TrainArgs::default() };
        let run = RunFolder::create(runs.path(), &TrainConfig::resolve(&args)?.0)?;
        let run = Some(run.path());
        assert_eq!(precision(None, run), PrecisionName::Highest);
        assert_eq!(precision(Some(PrecisionName::High), run), PrecisionName::High);
        assert_eq!(precision(None, None), PrecisionName::High);
        assert_eq!(precision(None, Some(runs.path())), PrecisionName::High);
        Ok(())
    }
}
