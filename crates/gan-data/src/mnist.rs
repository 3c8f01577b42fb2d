//! MNIST, compiled into the program: the four original gzip files.
//!
//! MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges; CC BY-SA 3.0, see
//! `assets/mnist/NOTICE`.

use crate::{Dataset, Result, Split};

/// The labels of one split, each less than 10.
#[cfg(feature = "mnist")]
pub(crate) fn labels(split: Split) -> Result<Vec<u8>> {
    let (file, bytes) = match split {
        Split::Train => files::TRAIN_LABELS,
        Split::Test => files::TEST_LABELS,
    };
    crate::idx::parse_labels(std::path::Path::new(file), bytes)
}

/// Returns the error that the feature is off.
#[cfg(not(feature = "mnist"))]
pub(crate) fn labels(split: Split) -> Result<Vec<u8>> {
    load(split).map(|_| Vec::new())
}

/// Loads the 60,000 training or 10,000 test images, 1 x 28 x 28, with classes "0" to "9".
#[cfg(feature = "mnist")]
pub(crate) fn load(split: Split) -> Result<Dataset> {
    use crate::idx;
    use std::path::Path;

    let ((images_file, images), (labels_file, labels)) = match split {
        Split::Train => (files::TRAIN_IMAGES, files::TRAIN_LABELS),
        Split::Test => (files::TEST_IMAGES, files::TEST_LABELS),
    };
    let (images_file, labels_file) = (Path::new(images_file), Path::new(labels_file));
    let images = idx::parse_images(images_file, images)?;
    let labels = idx::parse_labels(labels_file, labels)?;
    idx::join("mnist".into(), (images_file, images), (labels_file, labels))
}

/// Returns the error that the feature is off.
#[cfg(not(feature = "mnist"))]
pub(crate) fn load(_split: Split) -> Result<Dataset> {
    Err(crate::Error::FeatureDisabled { dataset: "mnist".into(), feature: "mnist" })
}

#[cfg(feature = "mnist")]
mod files {
    /// A file's name for error messages, and its bytes.
    pub(super) type File = (&'static str, &'static [u8]);

    macro_rules! file {
        ($name:literal) => {
            (concat!($name, " (built in)"), include_bytes!(concat!("../assets/mnist/", $name)))
        };
    }

    pub(super) const TRAIN_IMAGES: File = file!("train-images-idx3-ubyte.gz");
    pub(super) const TRAIN_LABELS: File = file!("train-labels-idx1-ubyte.gz");
    pub(super) const TEST_IMAGES: File = file!("t10k-images-idx3-ubyte.gz");
    pub(super) const TEST_LABELS: File = file!("t10k-labels-idx1-ubyte.gz");
}

#[cfg(all(test, not(feature = "mnist")))]
mod tests {
    #[test]
    fn the_error_names_the_feature() {
        let error = super::load(crate::Split::Train).unwrap_err();
        assert_eq!(error.to_string(), "mnist needs a program built with the feature `mnist`");
    }
}

#[cfg(all(test, feature = "mnist"))]
mod tests {
    use super::files::{File, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
    use super::*;
    use flate2::read::GzDecoder;
    use md5::{Digest, Md5};
    use std::io::Read;

    fn md5((_, packed): File) -> String {
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        let sum = Md5::digest(&bytes);
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_files_are_the_original_ones() {
        assert_eq!(md5(TRAIN_IMAGES), "6bbc9ace898e44ae57da46a324031adb");
        assert_eq!(md5(TRAIN_LABELS), "a25bea736e30d166cdddb491f175f624");
        assert_eq!(md5(TEST_IMAGES), "2646ac647ad5339dbf082846283269ea");
        assert_eq!(md5(TEST_LABELS), "27ae3e4e09519cfbb04c329615203637");
    }

    #[test]
    fn splits_have_their_known_sizes() {
        let train = load(Split::Train).unwrap();
        assert_eq!((train.name(), train.len()), ("mnist", 60_000));
        let classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        assert_eq!(train.classes(), classes);
        assert_eq!(train.labels()[..5], [5, 0, 4, 1, 9]);
        let fives = train.filter_classes(&["5".into()]).unwrap();
        assert_eq!(fives.len(), 5_421);
        let test = load(Split::Test).unwrap();
        assert_eq!(test.len(), 10_000);
        assert_eq!((test.shape().height, test.shape().width), (28, 28));
    }
}
