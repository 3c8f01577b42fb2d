//! The result of `evaluate`, as a table or JSON.

use crate::quality::collapse::DIGITS;
use crate::quality::metric_name;
use anyhow::Result;
use gan_data::{ImageSet, range};
use gan_files::Line;
use gan_metrics::{Features, Predictions, Reference, nearest};
use serde::{Serialize, Serializer};
use std::io::Write;

/// Pixel distance below which an image counts as a copy. Rounding causes smaller distances.
const COPY: f32 = 0.5;

/// Converts pixels to features in [-1, 1].
pub(crate) fn pixels(images: &ImageSet) -> Result<Features> {
    let values = images.pixels.iter().map(|&byte| range::to_unit(byte)).collect();
    Ok(Features::new(values, images.shape.len())?)
}

/// The result of `evaluate`.
#[derive(Serialize)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) of: String,
    pub(crate) dataset: String,
    pub(crate) classes: Vec<String>,
    /// Real images that both columns were measured against.
    pub(crate) training_images: usize,
    pub(crate) generated: Column,
    /// The real test set: the values of perfect images.
    pub(crate) real: Column,
    pub(crate) collapse: Option<String>,
    /// Time that all of the above took.
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) train_on_fake: Option<TrainOnFake>,
}

/// The classification accuracy score.
#[derive(Serialize)]
pub(crate) struct TrainOnFake {
    pub(crate) images: usize,
    /// On the real test set, of a classifier trained on generated images only.
    pub(crate) accuracy: f64,
    /// The same of the built-in classifier, which was trained on real ones.
    pub(crate) accuracy_trained_on_real: f64,
}

/// The metrics of one set of images.
#[derive(Serialize)]
pub(crate) struct Column {
    images: usize,
    /// By name, in order; null where a metric does not apply.
    #[serde(serialize_with = "as_map")]
    metrics: Vec<(String, Option<f64>)>,
    /// Fraction recognised as each digit.
    class_fractions: Vec<f64>,
}

fn as_map<S: Serializer>(
    metrics: &[(String, Option<f64>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

impl Column {
    pub(crate) fn new(
        reference: &Reference,
        predicted: &Predictions,
        images: &ImageSet,
        training_pixels: &Features,
        seed: u64,
    ) -> Result<Self> {
        let scores = reference.scores(&predicted.features()?, seed)?;
        let mut nearest = nearest(&pixels(images)?, training_pixels)?;
        let copies = nearest.iter().filter(|&&distance| distance < COPY).count();
        nearest.sort_by(f32::total_cmp);
        let named = |metric| metric_name(metric, images.len());
        let metrics = vec![
            (named("fd"), Some(scores.frechet)),
            (named("kid"), Some(scores.mmd.mean)),
            (named("kid-std"), Some(scores.mmd.std)),
            (named("precision"), Some(scores.precision)),
            (named("recall"), Some(scores.recall)),
            (named("density"), Some(scores.density)),
            (named("coverage"), Some(scores.coverage)),
            (
                "class-accuracy".to_string(),
                images.labels.as_ref().map(|wanted| predicted.accuracy(wanted)),
            ),
            ("mean-confidence".to_string(), Some(predicted.mean_confidence())),
            ("nearest-training-image".to_string(), Some(f64::from(nearest[nearest.len() / 2]))),
            ("copies-of-training-images".to_string(), Some(copies as f64 / nearest.len() as f64)),
        ];
        Ok(Self {
            images: images.len(),
            metrics,
            class_fractions: predicted.class_fractions(DIGITS),
        })
    }

    /// The names and values of the metrics as text.
    fn lines(&self) -> Vec<(String, String)> {
        let text = |value: &Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        let mut lines: Vec<(String, String)> =
            self.metrics.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        for (digit, fraction) in self.class_fractions.iter().enumerate() {
            lines.push((format!("recognised-as-{digit}"), text(&Some(*fraction))));
        }
        lines
    }
}

impl Report {
    /// Writes a table for people.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub(crate) fn write(&self, print: &mut (dyn Write + Send)) -> Result<()> {
        writeln!(
            print,
            "{}, against {} training images of {} (classes {}); on the right, the values of real \
             images:\nthe {} images of the test set\n",
            Line(&self.of),
            self.training_images,
            Line(&self.dataset),
            Line(self.classes.join(", ")),
            self.real.images
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
                "classification accuracy score: a classifier trained on {} of these images alone is \
                 right on {:.2}% of the real test set ({:.2}% if trained on real ones)",
                trained.images,
                100.0 * trained.accuracy,
                100.0 * trained.accuracy_trained_on_real
            )?;
        }
        writeln!(print, "measured in {:.0} s", self.seconds)?;
        Ok(())
    }
}
