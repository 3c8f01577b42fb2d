//! How good a generator's pictures are: what a classifier sees in them, set beside real ones.

use crate::gan::Stream;
use crate::generate;
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use gan_data::folder::{Colour, Options};
use gan_data::{Dataset, ImageShape, range};
use gan_metrics::{Classifier, FeatureStats, Predictions, Reference};
use gan_models::{Generator, Pass};
use serde::{Deserialize, Serialize};

/// The extractor's name in those of metrics.
pub(crate) const EXTRACTOR: &str = "mnistnet";
/// Pictures whose pixels are turned into tensors at a time.
const CHUNK: usize = 1000;
/// Share of a single class from which generated pictures count as collapsed, where no real class
/// comes near it.
const ONE_CLASS: f64 = 0.9;
/// Share of the real features' variance within a class below which generated pictures count as one.
const ONE_PICTURE: f64 = 0.05;
/// Classes of the built-in classifier: the digits.
pub(crate) const DIGITS: usize = 10;

/// Pictures of folders as the classifier takes them.
pub(crate) const MEASURED: Options = Options::new().colour(Some(Colour::Grey)).strict(false);

/// What the classifier sees in pictures.
///
/// # Errors
/// Pictures that are not 28x28 and grey.
pub(crate) fn observe(
    classifier: &Classifier,
    shape: ImageShape,
    pixels: &[u8],
) -> Result<Predictions> {
    check_shape(shape)?;
    let mut all = Predictions::default();
    for pixels in pixels.chunks(CHUNK * shape.len()) {
        all.extend(classifier.predict(&range::to_tensor(pixels, shape)?)?);
    }
    Ok(all)
}

/// # Errors
/// Pictures that the metrics' classifier does not take.
pub(crate) fn check_shape(shape: ImageShape) -> Result<()> {
    ensure!(
        is_measured(shape),
        "the metrics' classifier takes grey pictures of 28x28 pixels, these are {}x{} with {} \
         channel(s)",
        shape.width,
        shape.height,
        shape.channels
    );
    Ok(())
}

/// Whether pictures of this shape can be measured.
pub(crate) fn is_measured(shape: ImageShape) -> bool {
    Classifier::accepts((shape.channels, shape.height, shape.width))
}

/// A metric's name: of what, by which extractor, over how many pictures.
pub(crate) fn metric_name(metric: &str, pictures: usize) -> String {
    match (pictures / 1000, pictures % 1000) {
        (0, _) | (_, 1..) => format!("{metric}-{EXTRACTOR}-{pictures}"),
        (thousands, 0) => format!("{metric}-{EXTRACTOR}-{thousands}k"),
    }
}

/// Real pictures as the measure of a collapse.
pub(crate) struct Variety {
    shares: Vec<f64>,
    within: f64,
}

impl Variety {
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn of(real: &Predictions) -> Result<Self> {
        Ok(Self { shares: real.class_fractions(DIGITS), within: variance_within_classes(real)? })
    }

    /// Why generated pictures are no use, if they are: one class, or one picture of a class, over
    /// and over.
    ///
    /// # Errors
    /// Features that are not finite.
    pub(crate) fn collapse(&self, generated: &Predictions) -> Result<Option<String>> {
        let most = |shares: &[f64]| shares.iter().copied().fold(0.0, f64::max);
        let shares = generated.class_fractions(DIGITS);
        if most(&shares) > ONE_CLASS && most(&self.shares) < ONE_CLASS {
            let class = shares.iter().position(|share| *share > ONE_CLASS).unwrap_or(0);
            return Ok(Some(format!("{:.0}% are of class {class}", 100.0 * shares[class])));
        }
        let share = variance_within_classes(generated)? / self.within;
        Ok((share < ONE_PICTURE).then(|| {
            format!("those of a class vary by {:.1}% of what real ones do", 100.0 * share)
        }))
    }
}

/// The variance of features around the mean of the class that they are recognised as.
fn variance_within_classes(seen: &Predictions) -> Result<f64> {
    let features = seen.features()?;
    let (mut sum, mut count) = (0.0, 0);
    for class in 0..DIGITS as u32 {
        let of_class: Vec<usize> = (0..seen.len()).filter(|&i| seen.classes[i] == class).collect();
        if of_class.len() >= 2 {
            let variance = FeatureStats::from_features(&features.take(&of_class))?.total_variance();
            sum += variance * of_class.len() as f64;
            count += of_class.len();
        }
    }
    Ok(sum / count.max(1) as f64)
}

/// What was measured of a generator while it trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quality {
    /// Generated pictures that were looked at.
    pub(crate) pictures: usize,
    /// Frechet distance from the training set.
    #[serde(rename = "fd-mnistnet-2k")]
    pub(crate) frechet: f64,
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    /// Share recognised as the class that was wanted, where one was.
    pub(crate) agreement: Option<f64>,
    /// Why the pictures are no use, if they are.
    pub(crate) collapse: Option<String>,
}

/// Real pictures that a generator in training is measured against, at most.
const REALS: usize = 5_000;
/// Generated pictures of each measurement.
const FAKES: usize = 2_000;
/// Pictures that a set needs for the metrics.
pub(crate) const LEAST: usize = 6;
/// Pictures drawn at a time.
const DRAWN: usize = 250;

/// Measures a generator while it trains: less of it, and less exactly, than `evaluate`.
pub(crate) struct Watch {
    classifier: Classifier,
    reference: Reference,
    variety: Variety,
    /// The generator's input: the same noise each time.
    input: Vec<Tensor>,
    /// The digits wanted.
    wanted: Option<Vec<u32>>,
}

impl Watch {
    /// Prepares for a generator of the set's pictures; none if these cannot be measured.
    ///
    /// # Errors
    /// Failures of the device.
    pub(crate) fn new(set: &Dataset, generator: &Generator, seed: u64) -> Result<Option<Self>> {
        let shape = set.shape();
        // Fewer cannot be measured either.
        if !is_measured(shape) || set.len() < LEAST {
            return Ok(None);
        }
        let classifier = Classifier::mnist()?;
        let every = set.len().div_ceil(REALS);
        let reals: Vec<u8> =
            set.pixels().chunks(shape.len()).step_by(every).flatten().copied().collect();
        let seen = observe(&classifier, shape, &reals)?;
        let config = generator.config();
        let labels = generate::in_turn(config, FAKES);
        let mut rng = Stream::Watch.rng(seed);
        let input = labels
            .chunks(DRAWN)
            .map(|labels| Ok(generator.input(&generator.noise(labels.len(), &mut rng)?, labels)?))
            .collect::<Result<_>>()?;
        let wanted = generate::numbers(config)
            .map(|digits| labels.iter().map(|&label| digits[label as usize]).collect());
        Ok(Some(Self {
            variety: Variety::of(&seen)?,
            reference: Reference::new(seen.features()?)?,
            classifier,
            input,
            wanted,
        }))
    }

    /// Measures the generator as it is.
    ///
    /// # Errors
    /// Failures of the device.
    pub(crate) fn measure(&self, generator: &Generator) -> Result<Quality> {
        let mut seen = Predictions::default();
        for input in &self.input {
            let images = generator.forward(input, Pass::Infer)?.to_device(&Device::Cpu)?;
            seen.extend(self.classifier.predict(&images)?);
        }
        let features = seen.features()?;
        let scores = self.reference.prdc(&features)?;
        Ok(Quality {
            pictures: seen.len(),
            frechet: self.reference.frechet(&features)?,
            precision: scores.precision,
            recall: scores.recall,
            agreement: self.wanted.as_ref().map(|wanted| seen.accuracy(wanted)),
            collapse: self.variety.collapse(&seen)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TrainArgs;
    use crate::config::TrainConfig;
    use crate::gan::Gan;
    use gan_data::{Source, Split};

    #[test]
    fn names_tell_extractor_and_count() {
        assert_eq!(metric_name("fd", 10_000), "fd-mnistnet-10k");
        assert_eq!(metric_name("kid", 892), "kid-mnistnet-892");
        assert_eq!(metric_name("fd", 1_999), "fd-mnistnet-1999");
    }

    /// Real pictures are no collapse; those of one class, or one of them many times, are.
    #[test]
    fn collapses_are_told() -> Result<()> {
        let classifier = Classifier::mnist()?;
        let set = Source::Mnist.load(Split::Test)?;
        let len = set.shape().len();
        let see = |pixels: &[u8]| observe(&classifier, set.shape(), pixels);
        let real = see(&set.pixels()[..600 * len])?;
        let variety = Variety::of(&real)?;
        let told = |pixels: &[u8]| variety.collapse(&see(pixels)?);
        assert_eq!(told(&set.pixels()[600 * len..1200 * len])?, None);
        let sevens = set.clone().filter_classes(&["7".to_string()])?;
        let text = told(&sevens.pixels()[..200 * len])?.expect("one class");
        assert!(text.ends_with("are of class 7"), "{text}");
        // One picture of each of two classes; one picture where there is one class only.
        let two = [&set.pixels()[..len], &set.pixels()[len..2 * len]].concat();
        let text = told(&two.repeat(50))?.expect("two pictures");
        assert!(text.starts_with("those of a class vary by 0.0%"), "{text}");
        let variety = Variety::of(&see(&sevens.pixels()[..200 * len])?)?;
        assert_eq!(variety.collapse(&see(&sevens.pixels()[200 * len..400 * len])?)?, None);
        let text = variety.collapse(&see(&sevens.pixels()[..len].repeat(50))?)?;
        assert!(text.expect("one picture").starts_with("those of a class vary by 0.0%"));
        Ok(())
    }

    /// A generator that has learned nothing is far away, and real pictures are near.
    #[test]
    fn a_watch_measures_from_the_same_noise() -> Result<()> {
        let args = TrainArgs { digit: vec!["5".to_string()], ..TrainArgs::default() };
        let (config, batches) = TrainConfig::resolve(&args)?;
        let gan = Gan::new(&config, &Device::Cpu)?;
        let watch = Watch::new(batches.dataset(), &gan.average, 1)?.expect("28x28");
        let quality = watch.measure(&gan.average)?;
        assert_eq!(quality, watch.measure(&gan.average)?);
        let test = Source::Mnist.load(Split::Test)?.filter_classes(&["5".to_string()])?;
        let real = observe(&watch.classifier, test.shape(), test.pixels())?;
        let near = watch.reference.frechet(&real.features()?)?;
        assert!(quality.frechet > 20.0 * near, "{} and {near}", quality.frechet);
        assert_eq!((quality.pictures, quality.precision), (FAKES, 0.0));
        Ok(())
    }
}
