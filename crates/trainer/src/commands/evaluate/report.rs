//! The result of `evaluate`, as a table or JSON.

use super::images::{Images, sample};
use super::inception::{InceptionMetrics, splits};
use super::nearest::Nearest;
use crate::quality::recognizer::Trained;
use crate::quality::{Extractor, count_name};
use anyhow::Result;
use candle_core::Tensor;
use gan_data::{ImageSet, range};
use gan_files::Line;
use gan_metrics::{Features, LevelDistance, Reference, nearest, sliced_wasserstein};
use serde::{Serialize, Serializer};
use std::io::Write;

/// Pixel distance below which an image counts as a copy. Rounding causes smaller distances.
const COPY: f32 = 0.5;

/// Maximum number of images of a sliced Wasserstein distance, which takes long.
const SLICED: usize = 2_000;

/// So many splits, in words.
fn parts(splits: usize) -> String {
    match splits {
        1 => "all of them at once".to_string(),
        _ => format!("{splits} splits of them"),
    }
}

/// Converts pixels to features in [-1, 1].
pub(super) fn pixels(images: &ImageSet) -> Result<Features> {
    let values = images.pixels.iter().map(|&byte| range::to_unit(byte)).collect();
    Ok(Features::new(values, images.shape.len())?)
}

/// The result of `evaluate`.
#[derive(Serialize)]
pub(super) struct Report {
    /// What was measured.
    pub(super) of: String,
    pub(super) dataset: String,
    pub(super) classes: Vec<String>,
    /// Real images that both columns were measured against.
    pub(super) training_images: usize,
    /// The fraction of the real images that is held out, if there are no test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holdout: Option<f64>,
    pub(super) generated: Column,
    /// The real test set, or the images held out: the values of perfect images.
    pub(super) real: Column,
    pub(super) collapse: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nearest: Option<Nearest>,
    /// Time that all of the above took.
    pub(super) seconds: f64,
    /// How the classifier was trained that recognises classes, where one of the cache does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recognised_by: Option<Trained>,
    /// The command that trains a classifier of the images, where their classes are not recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) classifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_on_fake: Option<TrainOnFake>,
    /// A hash of the file of Inception's weights, where it measured. Figures by other weights do not
    /// compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inception_weights: Option<String>,
}

/// The classification accuracy score.
#[derive(Serialize)]
pub(super) struct TrainOnFake {
    pub(super) images: usize,
    /// On the real test set, of a classifier trained on generated images only.
    pub(super) accuracy: f64,
    /// The same of a classifier that was trained on real ones, where there is one.
    pub(super) accuracy_trained_on_real: Option<f64>,
}

/// The metrics of one set of images.
#[derive(Serialize)]
pub(super) struct Column {
    images: usize,
    /// By name, in order; null where a metric does not apply.
    #[serde(serialize_with = "as_map")]
    metrics: Vec<(String, Option<f64>)>,
    /// The splits of which the Inception score is the mean, if it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    inception_splits: Option<usize>,
    /// Fraction recognised as each class, if there is a classifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class_fractions: Vec<f64>,
    /// The names of these classes.
    #[serde(skip)]
    recognised: Vec<String>,
}

fn as_map<S: Serializer>(
    metrics: &[(String, Option<f64>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

/// What the columns are measured with.
pub(super) struct Measurement<'a> {
    extractor: &'a Extractor,
    training: &'a ImageSet,
    /// Features and pixels of the training images.
    reference: Reference,
    training_pixels: Features,
    inception: Option<InceptionMetrics<'a>>,
    seed: u64,
}

impl<'a> Measurement<'a> {
    /// Prepares to measure against training images; with `inception`, FID and Inception score too.
    pub(super) fn new(
        extractor: &'a Extractor,
        training: &'a Images,
        inception: Option<InceptionMetrics<'a>>,
        seed: u64,
    ) -> Result<Self> {
        let reference = Reference::new(training.extracted.features.clone())?;
        let training_pixels = pixels(&training.set)?;
        let training = &training.set;
        Ok(Self { extractor, training, reference, training_pixels, inception, seed })
    }

    /// The sliced Wasserstein distance on each level, and their mean, of at most [`SLICED`] images
    /// from as many training images.
    fn sliced(&self, images: &ImageSet) -> Result<Vec<(String, Option<f64>)>> {
        let count = images.len().min(self.training.len()).min(SLICED);
        let tensor = |images: &ImageSet| -> Result<Tensor> {
            let images = sample(images.clone(), count, self.seed)?;
            Ok(range::to_tensor(&images.pixels, images.shape)?)
        };
        let levels = sliced_wasserstein(&tensor(images)?, &tensor(self.training)?, self.seed)?;
        let mean = levels.iter().map(|level| level.distance).sum::<f64>() / levels.len() as f64;
        let count = count_name(count);
        let name = |level: &LevelDistance| match (level.height, level.width) {
            (height, width) if height == width => format!("swd-{width}-{count}"),
            (height, width) => format!("swd-{width}x{height}-{count}"),
        };
        let levels = levels.iter().map(|level| (name(level), Some(level.distance)));
        Ok(levels.chain([(format!("swd-mean-{count}"), Some(mean))]).collect())
    }

    /// Measures images.
    pub(super) fn column(&self, images: &Images) -> Result<Column> {
        let Self { extractor, reference, training_pixels, seed, .. } = self;
        let Images { set: images, extracted } = images;
        let scores = reference.scores(&extracted.features, *seed)?;
        let mut nearest = nearest(&pixels(images)?, training_pixels)?;
        let copies = nearest.iter().filter(|&&distance| distance < COPY).count();
        nearest.sort_by(f32::total_cmp);
        let named = |metric| extractor.metric_name(metric, images.len());
        let mut metrics = vec![
            (named("fd"), Some(scores.frechet)),
            (named("kid"), Some(scores.mmd.mean)),
            (named("kid-std"), Some(scores.mmd.std)),
            (named("precision"), Some(scores.precision)),
            (named("recall"), Some(scores.recall)),
            (named("density"), Some(scores.density)),
            (named("coverage"), Some(scores.coverage)),
        ];
        if let Extractor::Random(..) = extractor {
            metrics.extend(self.sliced(images)?);
        }
        let recognised = extractor.recognizer().zip(extracted.predictions.as_ref());
        if let Some((recognizer, predicted)) = recognised {
            let wanted = images.labels.as_ref().and_then(|labels| recognizer.classes_of(labels));
            let accuracy = wanted.map(|wanted| predicted.accuracy(&wanted));
            let confidence = Some(predicted.mean_confidence());
            metrics.extend([
                ("class-accuracy".into(), accuracy),
                ("mean-confidence".into(), confidence),
            ]);
        }
        metrics.extend([
            ("nearest-training-image".into(), Some(f64::from(nearest[nearest.len() / 2]))),
            ("copies-of-training-images".into(), Some(copies as f64 / nearest.len() as f64)),
        ]);
        if let Some(inception) = &self.inception {
            metrics.extend(inception.of(images, *seed)?);
        }
        let classes = recognised.map(|(recognizer, _)| recognizer.classes.clone());
        let classes = classes.unwrap_or_default();
        Ok(Column {
            images: images.len(),
            metrics,
            inception_splits: self.inception.as_ref().map(|_| splits(images.len())),
            class_fractions: recognised
                .map(|(_, predicted)| predicted.class_fractions(classes.len()))
                .unwrap_or_default(),
            recognised: classes,
        })
    }
}

impl Column {
    /// The names and values of the metrics as text.
    fn lines(&self) -> Vec<(String, String)> {
        let text = |value: &Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        let mut lines: Vec<(String, String)> =
            self.metrics.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        for (class, fraction) in self.recognised.iter().zip(&self.class_fractions) {
            lines.push((format!("recognised-as-{}", Line(class)), text(&Some(*fraction))));
        }
        lines
    }
}

impl Report {
    /// Writes a table for people.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub(super) fn write(&self, print: &mut (dyn Write + Send)) -> Result<()> {
        writeln!(
            print,
            "{}, against {} training images of {} (classes {}); on the right, the values of real \
             images:\nthe {} images {}\n",
            Line(&self.of),
            self.training_images,
            Line(&self.dataset),
            Line(self.classes.join(", ")),
            self.real.images,
            if self.holdout.is_some() { "held out" } else { "of the test set" }
        )?;
        for ((name, value), (real_name, real)) in
            self.generated.lines().into_iter().zip(self.real.lines())
        {
            writeln!(print, "{name:30} {value:>9}    {real_name:30} {real:>9}")?;
        }
        let (generated, real) = (self.generated.images, self.real.images);
        if generated != real {
            writeln!(
                print,
                "figures of {generated} images do not compare with those of {real}{}",
                if generated > real {
                    format!("; --count {real} makes them equal")
                } else {
                    String::new()
                }
            )?;
        }
        let splits = [&self.generated, &self.real].map(|column| column.inception_splits);
        if let [Some(generated), Some(real)] = splits {
            writeln!(
                print,
                "Inception score (is): the mean over {}, of real images over {}; Inception by the weights \
                 {}",
                parts(generated),
                parts(real),
                self.inception_weights.as_deref().unwrap_or_default()
            )?;
        }
        if let Some(nearest) = &self.nearest {
            writeln!(print, "{}", nearest.text())?;
        }
        if let Some(collapse) = &self.collapse {
            writeln!(print, "COLLAPSED: {collapse}")?;
        }
        if let Some(trained) = &self.train_on_fake {
            let of_real = match trained.accuracy_trained_on_real {
                Some(accuracy) => format!(" ({:.2}% if trained on real ones)", 100.0 * accuracy),
                None => String::new(),
            };
            writeln!(
                print,
                "classification accuracy score: a classifier trained on {} of these images alone is \
                 right on {:.2}% of the real test images{of_real}",
                trained.images,
                100.0 * trained.accuracy
            )?;
        }
        if let Some(trained) = &self.recognised_by {
            writeln!(print, "classes are recognised by a classifier {trained}")?;
        }
        if let Some(command) = &self.classifier {
            writeln!(
                print,
                "classes are not recognised yet; a classifier is trained by\n  {command}"
            )?;
        }
        writeln!(print, "measured in {:.0} s", self.seconds)?;
        Ok(())
    }
}
