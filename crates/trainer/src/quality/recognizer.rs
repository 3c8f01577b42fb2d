//! Classifiers that recognise the classes of images: the built-in one of digits, and those that
//! `classifier` has trained on a data set and left in the user's cache.

use crate::sampling;
use anyhow::{Context, Result};
use gan_data::folder::{Colour, Size};
use gan_data::{Dataset, ImageShape, Source, range};
use gan_files::shell_word;
use gan_metrics::{Classifier, Predictions};
use std::path::{Path, PathBuf};

/// The environment variable that names the directory of the cache.
pub(crate) const CACHE: &str = "CANDLE_GAN_CACHE";
/// Number of images that are converted to a tensor at a time.
pub(super) const CHUNK: usize = 1000;
/// Number of classes of the built-in classifier: the digits.
const DIGITS: u32 = 10;

/// A classifier and the names of the classes that it knows.
pub(crate) struct Recognizer {
    pub(crate) classifier: Classifier,
    pub(crate) classes: Vec<String>,
}

impl Recognizer {
    /// The built-in classifier of digits.
    ///
    /// # Errors
    /// A failed tensor operation.
    pub(crate) fn of_digits() -> Result<Self> {
        let classes = (0..DIGITS).map(|digit| digit.to_string()).collect();
        Ok(Self { classifier: Classifier::mnist()?, classes })
    }

    /// The classifier in the cache that was trained on these very images. One that cannot be read is
    /// a warning.
    pub(crate) fn cached(training: &Dataset) -> Option<Self> {
        if training.classes().len() < 2 {
            return None;
        }
        let path = cache_file(training).ok().filter(|path| path.exists())?;
        let loaded = Classifier::load(&path, training.shape().into());
        match loaded.map(|classifier| (classifier.classes(), classifier)) {
            Ok((known, classifier)) if known == training.classes().len() => {
                Some(Self { classifier, classes: training.classes().to_vec() })
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

/// Returns the file in the user's cache of the classifier of these images.
///
/// # Errors
/// A user without a home directory.
pub(crate) fn cache_file(training: &Dataset) -> Result<PathBuf> {
    let name = format!("{:016x}.safetensors", training.fingerprint());
    Ok(cache()?.join("classifiers").join(name))
}

/// Returns the directory of the cache: `CANDLE_GAN_CACHE`, or `candle-gan` in `XDG_CACHE_HOME` or in
/// `~/.cache`.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(directory) = set(CACHE) {
        return Ok(directory);
    }
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let caches = caches.with_context(|| {
        format!("no home directory to keep the classifier in; {CACHE}=DIR names another one")
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
