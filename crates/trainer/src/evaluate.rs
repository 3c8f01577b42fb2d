//! `evaluate`: how near a set of pictures is to real ones, by numbers.

use crate::args::{EvaluateArgs, PrecisionName};
use crate::classifier;
use crate::device;
use crate::generate;
use crate::quality::{self, metric_name, observe};
use crate::run_folder::RunFolder;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use gan_data::{Dataset, Pictures, Source, Split, range};
use gan_metrics::{Classifier, Features, Observations, Reference, nearest};
use gan_models::{Generator, GeneratorConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Write;
use std::time::Instant;

/// Classes of the built-in classifier: the digits.
const DIGITS: usize = 10;
/// Pictures to train a classifier on ([`EvaluateArgs::train_on_fake`]).
const TRAIN_ON_FAKE: usize = 60_000;
/// Pixel distance below which a picture is a copy: rounding makes that much.
const COPY: f32 = 0.5;

/// Measures pictures and prints the result.
///
/// # Errors
/// Pictures, runs or classes that are not there; pictures that the classifier does not take.
pub(crate) fn evaluate(args: &EvaluateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    // Distances are differences of large numbers.
    device::set_precision(PrecisionName::Highest);
    device::pool(args.threads)?.install(|| {
        let started = Instant::now();
        let mut report = Measured::find(args)?.report(args)?;
        report.seconds = started.elapsed().as_secs_f64();
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
    Generator(Box<Generator>),
    Files(Pictures),
}

impl Measured {
    fn find(args: &EvaluateArgs) -> Result<Self> {
        let (name, source, of_run) = match &args.images {
            Some(path) => {
                let pictures = Pictures::load(path).context("--images")?;
                (path.display().to_string(), PicturesFrom::Files(pictures), None)
            }
            None => {
                let (run, folder) = generate::find(args.run.as_deref(), args.weights.as_deref())?;
                let generator = Generator::load(&folder, &Device::Cpu)?;
                let of_run = run.map(|run| RunFolder::open(&run)).transpose()?;
                let source = PicturesFrom::Generator(Box::new(generator));
                (folder.display().to_string(), source, of_run.map(|(_, config)| config.dataset))
            }
        };
        let dataset = args.dataset.clone().or(of_run).unwrap_or_else(|| "mnist".to_string());
        let real: Source = dataset.parse().context("--dataset")?;
        let classes = match &source {
            _ if !args.digit.is_empty() => args.digit.as_slice(),
            PicturesFrom::Generator(generator) => generator.config().classes.as_slice(),
            PicturesFrom::Files(_) => &[],
        };
        let load = |split| -> Result<Dataset> {
            let data = real.load(split)?;
            Ok(if classes.is_empty() { data } else { data.filter(classes)? })
        };
        let (training, test) = (load(Split::Train)?, load(Split::Test)?);
        Ok(Self { name, source, dataset, training, test })
    }

    /// So many pictures and the digits wanted of them, or all there are.
    fn pictures(&self, count: usize, seed: u64) -> Result<Pictures> {
        let generator = match &self.source {
            PicturesFrom::Files(pictures) => return Ok(pictures.clone()),
            PicturesFrom::Generator(generator) => generator,
        };
        let config = generator.config();
        let classes = config.classes.len().max(1);
        let labels: Vec<u32> = (0..count).map(|i| (i % classes) as u32).collect();
        let mut pixels = Vec::new();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        generate::draw(generator, &labels, &mut rng, |_, drawn| {
            pixels.extend(drawn);
            Ok(())
        })?;
        let shape = self.training.shape();
        ensure!(
            pixels.len() == count * shape.len(),
            "{}: its pictures are not of the shape of {}'s",
            self.name,
            self.dataset
        );
        Ok(Pictures { shape, pixels, labels: wanted(config, &labels) })
    }

    fn report(&self, args: &EvaluateArgs) -> Result<Report> {
        ensure!(args.count > 5, "--count {}: the metrics need at least 6 pictures", args.count);
        let classifier = Classifier::mnist()?;
        let (training, test) = (Pictures::from(&self.training), real_pictures(&self.test));
        let generated = self.pictures(args.count, args.seed)?;
        let see = |pictures: &Pictures| observe(&classifier, pictures.shape, &pictures.pixels);
        let seen = see(&training)?;
        let reference = Reference::of(seen.features()?)?;
        let training_pixels = pixels(&training)?;
        let column = |pictures: &Pictures| -> Result<Column> {
            let seen = see(pictures)?;
            Column::new(&reference, &seen, pictures, &training_pixels, args.seed)
        };
        let (generated_seen, shares) = (see(&generated)?, seen.shares(classifier.classes()));
        Ok(Report {
            of: self.name.clone(),
            dataset: self.dataset.clone(),
            classes: self.training.classes().to_vec(),
            training_pictures: training.len(),
            generated: column(&generated)?,
            real: column(&test)?,
            collapse: quality::collapse(&reference, &shares, &generated_seen)?,
            train_on_fake: if args.train_on_fake { Some(self.train_on_fake(args)?) } else { None },
            seconds: 0.0,
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
            bail!(
                "--train-on-fake: {} has no labels; it takes a generator that is told which digit \
                 to draw, or an IDX folder with labels",
                self.name
            );
        };
        let classes = (0..DIGITS).map(|digit| digit.to_string()).collect();
        let set = Dataset::new("generated", pictures.shape, pictures.pixels, labels, classes)?;
        device::set_precision(PrecisionName::High);
        let trained = classifier::train(set, classifier::EPOCHS, args.seed)?.classifier;
        device::set_precision(PrecisionName::Highest);
        let accuracy = |classifier: &Classifier| -> Result<f64> {
            Ok(observe(classifier, test.shape, &test.pixels)?.agreement(&wanted))
        };
        Ok(TrainOnFake {
            pictures: count,
            accuracy: accuracy(&trained)?,
            accuracy_trained_on_real: accuracy(&Classifier::mnist()?)?,
        })
    }
}

/// The digits that a generator was to draw for these classes of its own, where it knows.
fn wanted(config: &GeneratorConfig, labels: &[u32]) -> Option<Vec<u32>> {
    let digits = generate::file_labels(config)?;
    Some(labels.iter().map(|&label| digits[label as usize]).collect())
}

/// A real set with digits for labels, where its classes are named by them.
fn real_pictures(set: &Dataset) -> Pictures {
    let digits: Option<Vec<u32>> = set.classes().iter().map(|class| class.parse().ok()).collect();
    let labels =
        digits.map(|digits| set.labels().iter().map(|&label| digits[label as usize]).collect());
    Pictures { labels, ..Pictures::from(set) }
}

/// Pixels as features, in [-1, 1].
fn pixels(pictures: &Pictures) -> Result<Features> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    train_on_fake: Option<TrainOnFake>,
    seconds: f64,
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
    metrics: Map<String, Value>,
    /// The same in order, for the table: names without extractor and count.
    #[serde(skip)]
    rows: Vec<(&'static str, Option<f64>)>,
    /// Share recognised as each digit.
    class_shares: Vec<f64>,
}

impl Column {
    fn new(
        reference: &Reference,
        seen: &Observations,
        pictures: &Pictures,
        training_pixels: &Features,
        seed: u64,
    ) -> Result<Self> {
        let scores = reference.scores(&seen.features()?, seed)?;
        let mut nearest = nearest(&pixels(pictures)?, training_pixels)?;
        let copies = nearest.iter().filter(|&&distance| distance < COPY).count();
        nearest.sort_by(f32::total_cmp);
        let median = f64::from(nearest[nearest.len() / 2]);
        let agreement = pictures.labels.as_ref().map(|wanted| seen.agreement(wanted));
        let rows = vec![
            ("fd", Some(scores.frechet)),
            ("kd", Some(scores.kernel.mean)),
            ("kd spread", Some(scores.kernel.spread)),
            ("precision", Some(scores.precision)),
            ("recall", Some(scores.recall)),
            ("density", Some(scores.density)),
            ("coverage", Some(scores.coverage)),
            ("wanted class recognised", agreement),
            ("mean confidence", Some(seen.mean_confidence())),
            ("nearest training picture", Some(median)),
            ("copies of training pictures", Some(copies as f64 / pictures.len() as f64)),
        ];
        let name = |metric: &str| match metric.split_once(' ') {
            Some(("kd", _)) => metric_name("kd-spread", pictures.len()),
            None => metric_name(metric, pictures.len()),
            Some(_) => metric.replace(' ', "-"),
        };
        let metrics =
            rows.iter().map(|(metric, value)| (name(metric), Value::from(*value))).collect();
        let class_shares = seen.shares(DIGITS);
        Ok(Self { pictures: pictures.len(), metrics, rows, class_shares })
    }
}

impl Report {
    fn write(&self, print: &mut (dyn Write + Send)) -> Result<()> {
        writeln!(
            print,
            "{}, against {} training pictures of {} (classes {})\n\
             {:29} {:>12} {:>12}\n{:29} {:12} {:12}",
            self.of,
            self.training_pictures,
            self.dataset,
            self.classes.join(", "),
            "",
            "measured",
            "real (test)",
            "pictures",
            self.generated.pictures,
            self.real.pictures
        )?;
        let text =
            |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
        for ((metric, generated), (_, real)) in self.generated.rows.iter().zip(&self.real.rows) {
            let name = match *metric {
                "fd" | "kd" => metric_name(metric, self.generated.pictures),
                other => other.to_string(),
            };
            writeln!(print, "{name:29} {:>12} {:>12}", text(*generated), text(*real))?;
        }
        for digit in 0..DIGITS {
            let share = |column: &Column| Some(column.class_shares[digit]);
            let name = format!("recognised as {digit}");
            let (generated, real) = (text(share(&self.generated)), text(share(&self.real)));
            writeln!(print, "{name:29} {generated:>12} {real:>12}")?;
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
