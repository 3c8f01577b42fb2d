//! `generate`: pictures from a trained generator.

use crate::args::{Format, GenerateArgs, GeneratorArgs, PrecisionName};
use crate::device;
use crate::run_folder::RunFolder;
use anyhow::{Context, Result, bail, ensure};
use gan_data::{ImageShape, class_position, idx, png, range};
use gan_models::{Generator, GeneratorConfig, Shape};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of pictures held in memory for one file of all.
const MAX_HELD: usize = u32::MAX as usize;
/// Pictures drawn at a time.
pub(crate) const CHUNK: usize = 256;

/// Draws and writes pictures, and prints where they are.
///
/// # Errors
/// A generator that cannot be read, a class that it does not draw, a path that cannot be written.
pub(crate) fn generate(args: &GenerateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.count > 0, "--count 0: at least 1 picture is needed");
    let (run, folder) = find(&args.generator)?;
    device::set_precision(precision(args.precision, run.as_deref()));
    let device = device::device(args.device)?;
    let mut generator = Generator::load(&folder, &device)?;
    let trusted = device::trusted(device.clone(), args.device, generator.config(), None)?;
    if !trusted.same_device(&device) {
        generator = Generator::load(&folder, &trusted)?;
    }
    let classes = Classes::new(generator.config(), args)?;
    let shape = image_shape(generator.config().image);
    let mut output = Output::open(args, shape)?;
    device::pool(args.threads)?.install(|| -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        let labels = classes.of(0..args.count);
        draw(&generator, &labels, &mut rng, |first, pixels| output.take(args, shape, first, pixels))
    })?;
    output.close(args, shape, &classes)?;
    writeln!(print, "{} pictures by {} in {}", args.count, folder.display(), args.out.display())?;
    Ok(())
}

/// The pictures of a network as those of a set.
pub(crate) fn image_shape(Shape { channels, height, width }: Shape) -> ImageShape {
    ImageShape { channels, height, width }
}

/// The run, if one is used, and the generator's folder: of the run or the weights asked for, else of
/// the newest run; its last generator or its best one.
///
/// # Errors
/// No such folder; a run without a generator.
pub(crate) fn find(args: &GeneratorArgs) -> Result<(Option<PathBuf>, PathBuf)> {
    if let Some(weights) = &args.weights {
        return Ok((None, weights.clone()));
    }
    let run = RunFolder::named_or_newest(args.run.as_deref())?;
    let folder = generator_of(&run, args.best)?;
    Ok((Some(run), folder))
}

/// Draws a picture of each label's class, some at a time: `take` gets the number of the first and
/// their pixels.
///
/// # Errors
/// Those of `take`; failures of the device.
pub(crate) fn draw(
    generator: &Generator,
    labels: &[u32],
    rng: &mut ChaCha8Rng,
    mut take: impl FnMut(usize, Vec<u8>) -> Result<()>,
) -> Result<()> {
    for (i, labels) in labels.chunks(CHUNK).enumerate() {
        take(i * CHUNK, range::to_bytes(&generator.sample_classes(labels, rng)?)?)?;
    }
    Ok(())
}

/// The precision asked for, else that of the run whose generator draws: a run's samples and its
/// generator's pictures are then made of the same products.
pub(crate) fn precision(asked: Option<PrecisionName>, run: Option<&Path>) -> PrecisionName {
    let of_run = |run| Some(RunFolder::open(run).ok()?.1.precision);
    asked.or_else(|| run.and_then(of_run)).unwrap_or_default()
}

/// The generator's folder in a run's.
fn generator_of(run: &Path, best: bool) -> Result<PathBuf> {
    if best {
        let folder = run.join("best-generator");
        ensure!(
            folder.is_dir(),
            "{}: no best generator in it; training keeps one where it measures, every \
             `measure_every` steps",
            run.display()
        );
        return Ok(folder);
    }
    let folder = run.join("generator");
    ensure!(
        folder.is_dir(),
        "{}: no generator in it; training writes one with each checkpoint",
        run.display()
    );
    Ok(folder)
}

/// The classes of the pictures.
struct Classes {
    /// Those drawn in turn, as the generator counts them.
    drawn: Vec<u32>,
    /// How many pictures of a class come one after the other.
    run: usize,
    /// What each of the generator's classes is called in a file of labels; none if the classes of
    /// the pictures are not known.
    labels: Option<Vec<u32>>,
}

impl Classes {
    /// # Errors
    /// A class that the generator does not draw, or cannot draw alone.
    fn new(config: &GeneratorConfig, args: &GenerateArgs) -> Result<Self> {
        let classes = &config.classes;
        let all = classes.join(", ");
        let drawn = match args.class.as_deref() {
            None if config.conditional => (0..classes.len() as u32).collect(),
            None => vec![0],
            Some(wanted) => match class_position(classes, wanted) {
                Some(class) if config.conditional || classes.len() == 1 => vec![class as u32],
                Some(_) => bail!(
                    "--class {wanted}: this generator was trained on classes {all} without telling \
                     them apart, so it cannot draw one of them alone"
                ),
                None if classes.is_empty() => {
                    bail!("--class {wanted}: this generator knows no classes")
                }
                None => bail!("--class {wanted}: this generator draws class {all} only"),
            },
        };
        // In a grid, the pictures of a row share their class.
        let run = if args.format == Format::Grid { columns(args.count) } else { 1 };
        Ok(Self { drawn, run, labels: file_labels(config) })
    }

    /// The classes of these pictures.
    fn of(&self, pictures: std::ops::Range<usize>) -> Vec<u32> {
        pictures.map(|i| self.drawn[i / self.run % self.drawn.len()]).collect()
    }
}

/// What a generator's classes are in a file of labels, where it knows which it draws: their own
/// numbers if all are named by one, so that a five says 5 as in MNIST, else their places in the
/// list. A single class without a number has none.
fn file_labels(config: &GeneratorConfig) -> Option<Vec<u32>> {
    let places =
        || (config.conditional && !config.classes.is_empty()).then_some(config.classes.len());
    numbers(config).or_else(|| Some((0..places()? as u32).collect()))
}

/// The numbers that a generator's classes are named by, where it knows which it draws and all are.
pub(crate) fn numbers(config: &GeneratorConfig) -> Option<Vec<u32>> {
    let knows = config.classes.len() == 1 || config.conditional;
    config.classes.iter().map(|class| class.parse().ok()).collect::<Option<_>>().filter(|_| knows)
}

/// Labels of so many pictures, all of a generator's classes in turn.
pub(crate) fn in_turn(config: &GeneratorConfig, count: usize) -> Vec<u32> {
    (0..count).map(|i| (i % config.classes.len().max(1)) as u32).collect()
}

/// Pictures in a row of a grid.
fn columns(count: usize) -> usize {
    (count as f64).sqrt().ceil() as usize
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
                    png::write(&path, shape, pixels)?;
                }
            }
        }
        Ok(())
    }

    fn close(self, args: &GenerateArgs, shape: ImageShape, classes: &Classes) -> Result<()> {
        let Self::Whole(pixels) = self else { return Ok(()) };
        if args.format == Format::Grid {
            return Ok(png::write_grid(&args.out, shape, &pixels, columns(args.count))?);
        }
        let labels: Option<Vec<u32>> = classes.labels.as_ref().map(|labels| {
            classes.of(0..args.count).into_iter().map(|class| labels[class as usize]).collect()
        });
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
