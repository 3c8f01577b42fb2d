//! `evaluate`: how near a set of pictures is to real ones, by numbers.

use crate::args::{EvaluateArgs, PrecisionName};
use crate::classifier;
use crate::data;
use crate::device;
use crate::generate;
use crate::quality::{self, DIGITS, LEAST, Variety, metric_name, observe};
use crate::run_folder::RunFolder;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use gan_data::{Dataset, ImageSet, ImageShape, Split, range};
use gan_metrics::{Classifier, Features, Predictions, Reference, nearest};
use gan_models::Generator;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};
use std::io::Write;
use std::time::Instant;

/// Pictures to train a classifier on ([`EvaluateArgs::train_on_fake`]).
const TRAIN_ON_FAKE: usize = 60_000;
/// Pixel distance below which a picture is a copy: rounding makes that much.
const COPY: f32 = 0.5;

/// Measures pictures and prints the result.
///
/// # Errors
/// Pictures, runs or classes that are not there; pictures that the classifier does not take.
pub(crate) fn evaluate(args: &EvaluateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
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

/// What is measured, and the real pictures it is measured against.
struct Measured {
    name: String,
    source: PicturesFrom,
    dataset: String,
    training: Dataset,
    test: Dataset,
}

enum PicturesFrom {
    /// And how exactly it draws.
    Generator(Box<Generator>, PrecisionName),
    Files(ImageSet),
}

impl PicturesFrom {
    fn shape(&self) -> ImageShape {
        match self {
            Self::Files(pictures) => pictures.shape,
            Self::Generator(generator, _) => generate::image_shape(generator.config().image),
        }
    }
}

impl Measured {
    fn find(args: &EvaluateArgs) -> Result<Self> {
        let (name, source, of_run) = match &args.images {
            Some(path) => {
                let pictures = ImageSet::load(path).context("--images")?;
                (path.display().to_string(), PicturesFrom::Files(pictures), None)
            }
            None => {
                let (run, folder) = generate::find(&args.generator)?;
                let generator = Generator::load(&folder, &Device::Cpu)?;
                let precision = generate::precision(None, run.as_deref());
                let of_run = run.map(|run| RunFolder::open(&run)).transpose()?;
                let source = PicturesFrom::Generator(Box::new(generator), precision);
                (folder.display().to_string(), source, of_run.map(|(_, config)| config.dataset))
            }
        };
        let dataset = args.dataset.clone().or(of_run).unwrap_or_else(|| "mnist".to_string());
        quality::check_shape(source.shape()).with_context(|| name.clone())?;
        let real = data::source(&dataset)?;
        let classes = match &source {
            _ if !args.digit.is_empty() => args.digit.as_slice(),
            PicturesFrom::Generator(generator, _) => generator.config().classes.as_slice(),
            PicturesFrom::Files(_) => &[],
        };
        let load = |split| -> Result<Dataset> {
            let data = data::load(&real, split, &quality::MEASURED)?;
            Ok(if classes.is_empty() { data } else { data.filter_classes(classes)? })
        };
        let (training, test) = (load(Split::Train)?, load(Split::Test)?);
        ensure!(
            training.pixels() != test.pixels(),
            "{dataset}: has no test pictures of its own, which tell what the best numbers would be"
        );
        let measured = Self { name, source, dataset, training, test };
        ensure!(
            !args.train_on_fake || measured.has_labels(),
            "--train-on-fake: {} has no labels; it takes a generator that is told which digit to \
             draw, or an IDX folder with labels",
            measured.name
        );
        Ok(measured)
    }

    fn has_labels(&self) -> bool {
        match &self.source {
            PicturesFrom::Files(pictures) => pictures.labels.is_some(),
            PicturesFrom::Generator(generator, _) => {
                generate::numbers(generator.config()).is_some()
            }
        }
    }

    /// So many pictures and the digits wanted of them, or all there are.
    fn pictures(&self, count: usize, seed: u64) -> Result<ImageSet> {
        let (generator, precision) = match &self.source {
            PicturesFrom::Files(pictures) => return Ok(pictures.clone()),
            PicturesFrom::Generator(generator, precision) => (generator, *precision),
        };
        // The very pictures that `generate` would write.
        device::set_precision(precision);
        let (config, shape) = (generator.config(), self.source.shape());
        let labels = generate::in_turn(config, count);
        let mut pixels = Vec::new();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        generate::draw(generator, &labels, &mut rng, |_, drawn| {
            pixels.extend(drawn);
            Ok(())
        })?;
        let of_digit = |digits: Vec<u32>| {
            labels.iter().map(|&label| digits[label as usize]).collect::<Vec<_>>()
        };
        Ok(ImageSet::new(shape, pixels, generate::numbers(config).map(of_digit))?)
    }

    fn report(&self, args: &EvaluateArgs) -> Result<Report> {
        ensure!(args.count >= LEAST, "--count {}: at least {LEAST} are needed", args.count);
        let started = Instant::now();
        let classifier = Classifier::mnist()?;
        let (training, test) = (ImageSet::from(&self.training), real_pictures(&self.test));
        let generated = self.pictures(args.count, args.seed)?;
        // Distances are differences of large numbers.
        device::set_precision(PrecisionName::Highest);
        let see = |pictures: &ImageSet| observe(&classifier, pictures.shape, &pictures.pixels);
        let seen = see(&training)?;
        let reference = Reference::new(seen.features()?)?;
        let training_pixels = pixels(&training)?;
        let column = |pictures: &ImageSet, of: &Predictions| {
            Column::new(&reference, of, pictures, &training_pixels, args.seed)
        };
        let generated_seen = see(&generated)?;
        let (of_generated, of_real) =
            (column(&generated, &generated_seen)?, column(&test, &see(&test)?)?);
        let seconds = started.elapsed().as_secs_f64();
        Ok(Report {
            of: self.name.clone(),
            dataset: self.dataset.clone(),
            classes: self.training.classes().to_vec(),
            training_pictures: training.len(),
            generated: of_generated,
            real: of_real,
            collapse: Variety::of(&seen)?.collapse(&generated_seen)?,
            seconds,
            train_on_fake: if args.train_on_fake { Some(self.train_on_fake(args)?) } else { None },
        })
    }

    /// Trains a classifier on these pictures only, and tests it on the real test set (Ravuri and
    /// Vinyals 2019, "Classification accuracy score for conditional generative models"; Shmelkov et
    /// al. 2018, "How good is my GAN?").
    fn train_on_fake(&self, args: &EvaluateArgs) -> Result<TrainOnFake> {
        // Other noise than that of the metrics.
        let pictures = self.pictures(TRAIN_ON_FAKE, args.seed.wrapping_add(1))?;
        let count = pictures.len();
        let test = real_pictures(&self.test);
        let (Some(labels), Some(wanted)) = (pictures.labels, test.labels) else {
            bail!("--train-on-fake: classes of {} are not digits", self.dataset);
        };
        let classes = (0..DIGITS).map(|digit| digit.to_string()).collect();
        let set = Dataset::new("generated", pictures.shape, pictures.pixels, labels, classes)?;
        device::set_precision(PrecisionName::High);
        let trained = classifier::train(set, classifier::EPOCHS, args.seed)?.classifier;
        device::set_precision(PrecisionName::Highest);
        let accuracy = |classifier: &Classifier| -> Result<f64> {
            Ok(observe(classifier, test.shape, &test.pixels)?.accuracy(&wanted))
        };
        Ok(TrainOnFake {
            pictures: count,
            accuracy: accuracy(&trained)?,
            accuracy_trained_on_real: accuracy(&Classifier::mnist()?)?,
        })
    }
}

/// A real set with digits for labels, where its classes are named by them.
fn real_pictures(set: &Dataset) -> ImageSet {
    let digits: Option<Vec<u32>> = set.classes().iter().map(|class| class.parse().ok()).collect();
    let labels =
        digits.map(|digits| set.labels().iter().map(|&label| digits[label as usize]).collect());
    ImageSet::from(set).with_labels(labels)
}

/// Pixels as features, in [-1, 1].
fn pixels(pictures: &ImageSet) -> Result<Features> {
    let values = pictures.pixels.iter().map(|&byte| range::to_unit(byte)).collect();
    Ok(Features::new(values, pictures.shape.len())?)
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    /// What was measured.
    of: String,
    dataset: String,
    classes: Vec<String>,
    /// Real pictures that both columns were measured against.
    training_pictures: usize,
    generated: Column,
    /// The real test set: what perfect looks like.
    real: Column,
    collapse: Option<String>,
    /// Time that all of the above took.
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_on_fake: Option<TrainOnFake>,
}

#[derive(Serialize)]
struct TrainOnFake {
    pictures: usize,
    /// Of the real test set, by a classifier that saw generated pictures only.
    accuracy: f64,
    /// The same by the built-in classifier, which was trained on real ones.
    accuracy_trained_on_real: f64,
}

/// The metrics of one set.
#[derive(Serialize)]
struct Column {
    pictures: usize,
    /// By name and in order; none where it does not apply.
    #[serde(serialize_with = "as_map")]
    metrics: Vec<(String, Option<f64>)>,
    /// Share recognised as each digit.
    class_shares: Vec<f64>,
}

fn as_map<S: Serializer>(
    metrics: &[(String, Option<f64>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

impl Column {
    fn new(
        reference: &Reference,
        seen: &Predictions,
        pictures: &ImageSet,
        training_pixels: &Features,
        seed: u64,
    ) -> Result<Self> {
        let scores = reference.scores(&seen.features()?, seed)?;
        let mut nearest = nearest(&pixels(pictures)?, training_pixels)?;
        let copies = nearest.iter().filter(|&&distance| distance < COPY).count();
        nearest.sort_by(f32::total_cmp);
        let named = |metric| metric_name(metric, pictures.len());
        let metrics = vec![
            (named("fd"), Some(scores.frechet)),
            (named("kid"), Some(scores.mmd.mean)),
            (named("kid-std"), Some(scores.mmd.std)),
            (named("precision"), Some(scores.precision)),
            (named("recall"), Some(scores.recall)),
            (named("density"), Some(scores.density)),
            (named("coverage"), Some(scores.coverage)),
            (
                "wanted-class-recognised".to_string(),
                pictures.labels.as_ref().map(|wanted| seen.accuracy(wanted)),
            ),
            ("mean-confidence".to_string(), Some(seen.mean_confidence())),
            ("nearest-training-picture".to_string(), Some(f64::from(nearest[nearest.len() / 2]))),
            ("copies-of-training-pictures".to_string(), Some(copies as f64 / nearest.len() as f64)),
        ];
        Ok(Self { pictures: pictures.len(), metrics, class_shares: seen.class_fractions(DIGITS) })
    }

    /// The metrics' names and values as texts.
    fn lines(&self) -> Vec<(String, String)> {
        let text = |value: &Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        let mut lines: Vec<(String, String)> =
            self.metrics.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        for (digit, share) in self.class_shares.iter().enumerate() {
            lines.push((format!("recognised-as-{digit}"), text(&Some(*share))));
        }
        lines
    }
}

impl Report {
    fn write(&self, print: &mut (dyn Write + Send)) -> Result<()> {
        writeln!(
            print,
            "{}, against {} training pictures of {} (classes {}); beside it, what real ones would \
             get:\nthe {} pictures of the test set\n",
            self.of,
            self.training_pictures,
            self.dataset,
            self.classes.join(", "),
            self.real.pictures
        )?;
        for ((name, value), (real_name, real)) in
            self.generated.lines().into_iter().zip(self.real.lines())
        {
            writeln!(print, "{name:30} {value:>9}    {real_name:30} {real:>9}")?;
        }
        if let Some(collapse) = &self.collapse {
            writeln!(print, "COLLAPSED: {collapse}")?;
        }
        if let Some(trained) = &self.train_on_fake {
            writeln!(
                print,
                "a classifier trained on {} of these alone is right on {:.2}% of the real test set \
                 ({:.2}% if trained on real ones)",
                trained.pictures,
                100.0 * trained.accuracy,
                100.0 * trained.accuracy_trained_on_real
            )?;
        }
        writeln!(print, "measured in {:.0} s", self.seconds)?;
        Ok(())
    }
}
