//! `evaluate`: metrics of generated or other images against real ones.

mod report;

use crate::cli::commands::EvaluateArgs;
use crate::cli::values::{CLASSIFIER_EPOCHS, PrecisionName};
use crate::dataset;
use crate::device;
use crate::quality::collapse::{CollapseDetector, DIGITS};
use crate::quality::{self, MIN_IMAGES, predict};
use crate::run::directory::RunDirectory;
use crate::run::generator::GeneratorLocation;
use crate::sampling::{self, Latents};
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use gan_data::{Dataset, ImageSet, ImageShape, Split};
use gan_metrics::{Classifier, Predictions, Reference};
use gan_models::Generator;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use report::{Column, Report, TrainOnFake, pixels};
use std::io::Write;
use std::time::Instant;

/// Maximum number of generated images; all are held in memory, with their features.
const MAX_IMAGES: usize = 1_000_000;

/// Number of images that `--train-on-fake` trains a classifier on.
const TRAIN_ON_FAKE: usize = 60_000;

/// Measures images and prints the result.
///
/// # Errors
/// Images, runs or classes that do not exist; images that the classifier does not take.
pub(crate) fn evaluate(args: &EvaluateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(
        (MIN_IMAGES..=MAX_IMAGES).contains(&args.count),
        "--count {}: at least {MIN_IMAGES} and at most {MAX_IMAGES} are needed",
        args.count
    );
    device::pool(args.threads)?.install(|| {
        let report = Measured::find(args)?.report(args)?;
        if args.json {
            writeln!(print, "{}", serde_json::to_string(&report)?)?;
        } else {
            report.write(print)?;
        }
        Ok(())
    })
}

/// The images to measure, and the real images to compare them with.
struct Measured {
    name: String,
    source: ImageSource,
    dataset: String,
    training: Dataset,
    test: Dataset,
}

/// The source of the measured images.
enum ImageSource {
    /// Generated, at this precision.
    Generator(Box<Generator>, PrecisionName),
    Files(ImageSet),
}

impl ImageSource {
    fn shape(&self) -> ImageShape {
        match self {
            Self::Files(images) => images.shape,
            Self::Generator(generator, _) => sampling::image_shape(generator.config().image),
        }
    }
}

impl Measured {
    fn find(args: &EvaluateArgs) -> Result<Self> {
        let (name, source, of_run) = match &args.images {
            Some(path) => {
                let images = ImageSet::load(path).context("--images")?;
                (path.display().to_string(), ImageSource::Files(images), None)
            }
            None => {
                let location = GeneratorLocation::find(&args.generator)?;
                let generator = Generator::load(&location.directory, &Device::Cpu)?;
                let precision = location.precision(None);
                let of_run = location.run.as_deref().map(RunDirectory::open).transpose()?;
                let source = ImageSource::Generator(Box::new(generator), precision);
                let name = location.directory.display().to_string();
                (name, source, of_run.map(|(_, config)| config.dataset))
            }
        };
        let dataset =
            args.dataset.dataset.clone().or(of_run).unwrap_or_else(|| "mnist".to_string());
        quality::check_shape(source.shape()).with_context(|| name.clone())?;
        let real = dataset::source(&dataset)?;
        let classes = match &source {
            _ if !args.classes.digit.is_empty() => args.classes.digit.as_slice(),
            ImageSource::Generator(generator, _) => generator.config().classes.as_slice(),
            ImageSource::Files(_) => &[],
        };
        let load = |split| -> Result<Dataset> {
            let data = dataset::load(&real, split, &quality::MEASURED)?;
            Ok(if classes.is_empty() { data } else { data.filter_classes(classes)? })
        };
        let (training, test) = (load(Split::Train)?, load(Split::Test)?);
        ensure!(
            training.pixels() != test.pixels(),
            "{dataset}: has no test images of its own, which show the best values that are possible"
        );
        let measured = Self { name, source, dataset, training, test };
        ensure!(
            !args.train_on_fake || measured.has_labels(),
            "--train-on-fake: {} has no labels; it takes a generator that is conditioned on the digit, \
             or an IDX directory with labels",
            measured.name
        );
        Ok(measured)
    }

    fn has_labels(&self) -> bool {
        match &self.source {
            ImageSource::Files(images) => images.labels.is_some(),
            ImageSource::Generator(generator, _) => {
                sampling::class_numbers(generator.config()).is_some()
            }
        }
    }

    /// This many images and the digits asked for, or all images of the files.
    fn images(&self, count: usize, seed: u64) -> Result<ImageSet> {
        let (generator, precision) = match &self.source {
            ImageSource::Files(images) => return Ok(images.clone()),
            ImageSource::Generator(generator, precision) => (generator, *precision),
        };
        // The same images as `generate` writes.
        device::set_precision(precision);
        let (config, shape) = (generator.config(), self.source.shape());
        let labels = sampling::labels_in_turn(config, count);
        let mut pixels = Vec::new();
        let mut latents = Latents::Random(Box::new(ChaCha8Rng::seed_from_u64(seed)));
        sampling::generate(generator, &labels, &mut latents, |_, _, generated| {
            pixels.extend(generated);
            Ok(())
        })?;
        let of_digit = |digits: Vec<u32>| {
            labels.iter().map(|&label| digits[label as usize]).collect::<Vec<_>>()
        };
        Ok(ImageSet::new(shape, pixels, sampling::class_numbers(config).map(of_digit))?)
    }

    fn report(&self, args: &EvaluateArgs) -> Result<Report> {
        let started = Instant::now();
        let classifier = Classifier::mnist()?;
        let (training, test) = (ImageSet::from(&self.training), real_images(&self.test));
        let generated = self.images(args.count, args.seed.or_zero())?;
        // Distances are differences of large numbers.
        device::set_precision(PrecisionName::Highest);
        let predicted = |images: &ImageSet| predict(&classifier, images.shape, &images.pixels);
        let real = predicted(&training)?;
        let reference = Reference::new(real.features()?)?;
        let training_pixels = pixels(&training)?;
        let column = |images: &ImageSet, of: &Predictions| {
            Column::new(&reference, of, images, &training_pixels, args.seed.or_zero())
        };
        let generated_predicted = predicted(&generated)?;
        let (of_generated, of_real) =
            (column(&generated, &generated_predicted)?, column(&test, &predicted(&test)?)?);
        let seconds = started.elapsed().as_secs_f64();
        Ok(Report {
            of: self.name.clone(),
            dataset: self.dataset.clone(),
            classes: self.training.classes().to_vec(),
            training_images: training.len(),
            generated: of_generated,
            real: of_real,
            collapse: CollapseDetector::new(&real)?.check(&generated_predicted)?,
            seconds,
            train_on_fake: if args.train_on_fake { Some(self.train_on_fake(args)?) } else { None },
        })
    }

    /// Classification accuracy score: trains a classifier on these images only, and tests it on the
    /// real test set (Ravuri and Vinyals 2019, "Classification accuracy score for conditional generative models"; Shmelkov et
    /// al. 2018, "How good is my GAN?").
    fn train_on_fake(&self, args: &EvaluateArgs) -> Result<TrainOnFake> {
        // Other latents than those of the metrics.
        let images = self.images(TRAIN_ON_FAKE, args.seed.or_zero().wrapping_add(1))?;
        let count = images.len();
        let test = real_images(&self.test);
        let (Some(labels), Some(wanted)) = (images.labels, test.labels) else {
            bail!("--train-on-fake: classes of {} are not digits", self.dataset);
        };
        let classes = (0..DIGITS).map(|digit| digit.to_string()).collect();
        let set = Dataset::new("generated", images.shape, images.pixels, labels, classes)?;
        device::set_precision(PrecisionName::High);
        let trained =
            quality::training::train(set, CLASSIFIER_EPOCHS, args.seed.or_zero())?.classifier;
        device::set_precision(PrecisionName::Highest);
        let accuracy = |classifier: &Classifier| -> Result<f64> {
            Ok(predict(classifier, test.shape, &test.pixels)?.accuracy(&wanted))
        };
        Ok(TrainOnFake {
            images: count,
            accuracy: accuracy(&trained)?,
            accuracy_trained_on_real: accuracy(&Classifier::mnist()?)?,
        })
    }
}

/// Loads images of a real data set. Their labels are digits if the class names are digits.
fn real_images(set: &Dataset) -> ImageSet {
    let digits: Option<Vec<u32>> = set.classes().iter().map(|class| class.parse().ok()).collect();
    let labels =
        digits.map(|digits| set.labels().iter().map(|&label| digits[label as usize]).collect());
    ImageSet::from(set).with_labels(labels)
}
