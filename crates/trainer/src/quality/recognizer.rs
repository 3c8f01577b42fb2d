//! Classifiers that recognise the classes of images: the built-in one of digits, and those that
//! `classifier` has trained on a data set and left in the user's cache.

use crate::cli::values::PrecisionName;
use crate::sampling;
use anyhow::{Context, Result};
use gan_data::folder::{Colour, Size};
use gan_data::{Dataset, ImageShape, Source, range};
use gan_files::shell_word;
use gan_metrics::{Classifier, Predictions};
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

/// The environment variable that names the directory of the cache.
pub(crate) const CACHE: &str = "CANDLE_GAN_CACHE";
/// The directory of classifiers in the cache.
const CLASSIFIERS: &str = "classifiers";
/// Number of images that are converted to a tensor at a time.
pub(super) const CHUNK: usize = 1000;
/// Number of classes of the built-in classifier: the digits.
const DIGITS: u32 = 10;

/// A classifier and the names of the classes that it knows.
pub(crate) struct Recognizer {
    pub(crate) classifier: Classifier,
    pub(crate) classes: Vec<String>,
    /// How it was trained, unless it is built in.
    pub(crate) trained: Option<Trained>,
}

/// How a classifier was trained: what its weights depend on, beside the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trained {
    pub(crate) epochs: u64,
    pub(crate) seed: u64,
    pub(crate) precision: PrecisionName,
}

impl Trained {
    /// The end of the name of a file in the cache.
    fn file_name(self) -> String {
        let precision = match self.precision {
            PrecisionName::High => "high",
            PrecisionName::Highest => "highest",
        };
        format!("-epochs-{}-seed-{}-{precision}.safetensors", self.epochs, self.seed)
    }

    /// Reads the end of a file's name.
    fn of_file(name: &str) -> Option<Self> {
        let (epochs, rest) = name.strip_prefix("-epochs-")?.split_once("-seed-")?;
        let (seed, precision) = rest.strip_suffix(".safetensors")?.split_once('-')?;
        let precision = match precision {
            "high" => PrecisionName::High,
            "highest" => PrecisionName::Highest,
            _ => return None,
        };
        Some(Self { epochs: epochs.parse().ok()?, seed: seed.parse().ok()?, precision })
    }
}

impl fmt::Display for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trained for {} epochs with seed {}", self.epochs, self.seed)
    }
}

impl Recognizer {
    /// The built-in classifier of digits.
    ///
    /// # Errors
    /// A failed tensor operation.
    pub(crate) fn of_digits() -> Result<Self> {
        let classes = (0..DIGITS).map(|digit| digit.to_string()).collect();
        Ok(Self { classifier: Classifier::mnist()?, classes, trained: None })
    }

    /// The classifier in the cache that was trained on these very images; of several, the one of the most
    /// epochs and the lowest seed. One that cannot be read is a warning.
    pub(crate) fn cached(training: &Dataset) -> Option<Self> {
        if training.classes().len() < 2 {
            return None;
        }
        let (trained, path) = longest_trained(training)?;
        let loaded = Classifier::load(&path, training.shape().into());
        match loaded.map(|classifier| (classifier.classes(), classifier)) {
            Ok((known, classifier)) if known == training.classes().len() => {
                let classes = training.classes().to_vec();
                Some(Self { classifier, classes, trained: Some(trained) })
            }
            Ok((known, _)) => {
                tracing::warn!("{}: {known} classes; the file is not used", path.display());
                None
            }
            Err(error) => {
                tracing::warn!("{error}; the classifier is not used");
                None
            }
        }
    }

    /// Recognises images in bytes.
    ///
    /// # Errors
    /// Images of another shape than the classifier's.
    pub(crate) fn predict(&self, shape: ImageShape, pixels: &[u8]) -> Result<Predictions> {
        predict(&self.classifier, shape, pixels)
    }

    /// Returns the classes that these labels of a file stand for. Returns `None` if one is unknown.
    pub(crate) fn classes_of(&self, labels: &[u32]) -> Option<Vec<u32>> {
        sampling::positions(&self.classes, labels)
    }
}

/// Returns features and predicted classes of images.
///
/// # Errors
/// Images of another shape than the classifier's.
pub(crate) fn predict(
    classifier: &Classifier,
    shape: ImageShape,
    pixels: &[u8],
) -> Result<Predictions> {
    let mut all = Predictions::default();
    for pixels in pixels.chunks(CHUNK * shape.len()) {
        all.extend(classifier.predict(&range::to_tensor(pixels, shape)?)?);
    }
    Ok(all)
}

/// Returns the file in the user's cache of the classifier of these images that is trained so.
///
/// # Errors
/// A user without a home directory.
pub(crate) fn cache_file(training: &Dataset, trained: Trained) -> Result<PathBuf> {
    let name = format!("{:016x}{}", training.fingerprint(), trained.file_name());
    Ok(cache()?.join(CLASSIFIERS).join(name))
}

/// Returns the file of the classifier of these images that counts, and how that was trained.
fn longest_trained(training: &Dataset) -> Option<(Trained, PathBuf)> {
    let start = format!("{:016x}", training.fingerprint());
    let entries = fs::read_dir(cache().ok()?.join(CLASSIFIERS)).ok()?;
    let of = |entry: DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((Trained::of_file(name.strip_prefix(&start)?)?, entry.path()))
    };
    let found = entries.filter_map(|entry| of(entry.ok()?));
    let rank = |trained: &Trained| {
        (trained.epochs, Reverse(trained.seed), trained.precision == PrecisionName::High)
    };
    found.max_by_key(|(trained, _)| rank(trained))
}

/// Returns the directory of the cache: `CANDLE_GAN_CACHE`, or `candle-gan` in `XDG_CACHE_HOME` or in
/// `~/.cache`.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(directory) = set(CACHE) {
        return Ok(directory);
    }
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let caches = caches.with_context(|| {
        format!("no home directory to keep a cache in; {CACHE}=DIR names another one")
    })?;
    Ok(caches.join("candle-gan"))
}

/// Which images a classifier is trained on, as options name them.
pub(crate) struct TrainedOn<'a> {
    pub(crate) dataset: &'a str,
    pub(crate) shape: ImageShape,
    /// The chosen classes; empty means all.
    pub(crate) classes: &'a [String],
    pub(crate) holdout: Option<f64>,
}

impl TrainedOn<'_> {
    /// The command that trains the classifier of these images.
    pub(crate) fn command(&self) -> String {
        let Self { dataset, shape, classes, holdout } = self;
        let word = |text: &str| shell_word(Path::new(text));
        let mut command = format!("candle-gan classifier --dataset {}", word(dataset));
        if dataset.parse().is_ok_and(|source: Source| source.is_resized()) {
            let size = Size::from(*shape);
            command += &format!(" --size {size} --colour {}", Colour::of(shape.channels));
        }
        if !classes.is_empty() {
            command += &format!(" --class {}", word(&classes.join(",")));
        }
        if let Some(holdout) = holdout {
            command += &format!(" --holdout {holdout}");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_images() {
        let shape = ImageShape { channels: 3, height: 32, width: 48 };
        let classes = ["a".to_string(), "b c".to_string()];
        let of =
            |dataset, classes, holdout| TrainedOn { dataset, shape, classes, holdout }.command();
        assert_eq!(of("idx:set", &[], None), "candle-gan classifier --dataset idx:set");
        assert_eq!(
            of("folder:my icons", &classes, Some(0.1)),
            "candle-gan classifier --dataset 'folder:my icons' --size 48x32 --colour rgb --class 'a,b \
             c' --holdout 0.1"
        );
    }

    #[test]
    fn file_names_say_how_classifiers_were_trained() {
        for precision in [PrecisionName::High, PrecisionName::Highest] {
            let trained = Trained { epochs: 12, seed: 7, precision };
            assert_eq!(Trained::of_file(&trained.file_name()), Some(trained));
        }
        for name in
            [".safetensors", "-epochs-1-seed-2.safetensors", "-epochs-x-seed-2-high.safetensors"]
        {
            assert_eq!(Trained::of_file(name), None, "{name}");
        }
    }

    #[test]
    fn labels_of_files_are_looked_up() -> Result<()> {
        let mut digits = Recognizer::of_digits()?;
        assert_eq!(digits.classes_of(&[7, 0]), Some(vec![7, 0]));
        assert_eq!(digits.classes_of(&[10]), None);
        digits.classes = ["3", "5"].map(String::from).into();
        assert_eq!(digits.classes_of(&[5, 3, 5]), Some(vec![1, 0, 1]));
        digits.classes = ["coat", "bag"].map(String::from).into();
        assert_eq!((digits.classes_of(&[1, 0]), digits.classes_of(&[2])), (Some(vec![1, 0]), None));
        Ok(())
    }
}
