//! MNIST, compiled into the program.
//!
//! Four fifths of the pixels are 0. The images of a split are two gzip files: one bit a pixel, whether
//! it is above 0, and the bytes of those that are. That is 13% less than the original files in gzip, and
//! unpacks faster.
//!
//! MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges; CC BY-SA 3.0, see
//! `assets/mnist/NOTICE`.

use crate::{Dataset, ImageShape, Result, Split};

/// Shape of the images.
pub(crate) const SHAPE: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };

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
    let images = images.unpack();
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
    use super::SHAPE;
    use crate::idx::Images;
    use flate2::bufread::GzDecoder;
    use std::io::Read;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../assets/mnist/", $name))
        };
    }

    pub(super) const TRAIN_IMAGES: (&str, Packed) = (
        "train-images (built in)",
        Packed { mask: file!("train-images-mask.gz"), values: file!("train-images-values.gz") },
    );
    pub(super) const TRAIN_LABELS: (&str, &[u8]) =
        ("train-labels (built in)", file!("train-labels-idx1-ubyte.gz"));
    pub(super) const TEST_IMAGES: (&str, Packed) = (
        "t10k-images (built in)",
        Packed { mask: file!("t10k-images-mask.gz"), values: file!("t10k-images-values.gz") },
    );
    pub(super) const TEST_LABELS: (&str, &[u8]) =
        ("t10k-labels (built in)", file!("t10k-labels-idx1-ubyte.gz"));

    /// The images of a split, as two gzip files.
    pub(super) struct Packed {
        /// One bit for each pixel, the first the highest of its byte: whether it is above 0.
        mask: &'static [u8],
        /// The pixels above 0.
        values: &'static [u8],
    }

    impl Packed {
        pub(super) fn unpack(&self) -> Images {
            let (mask, mut values) = (gunzip(self.mask), gunzip(self.values).into_iter());
            let mut pixels = vec![0; 8 * mask.len()];
            for (&bits, pixels) in mask.iter().zip(pixels.chunks_exact_mut(8)) {
                for (i, pixel) in pixels.iter_mut().enumerate().filter(|_| bits != 0) {
                    if bits & 0x80 >> i != 0 {
                        *pixel = values.next().unwrap_or_default();
                    }
                }
            }
            Images { shape: SHAPE, pixels }
        }
    }

    fn gunzip(packed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match GzDecoder::new(packed).read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) => unreachable!("the files are part of the program: {error}"),
        }
    }
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
    use super::*;
    use crate::idx::{encode_images, encode_labels};
    use md5::{Digest, Md5};
    use std::path::Path;

    fn md5(bytes: &[u8]) -> String {
        Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_files_are_the_original_ones() -> Result<()> {
        let known = [
            (Split::Train, "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
            (Split::Test, "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
        ];
        for (split, images, labels) in known {
            let set = load(split)?;
            let file = Path::new("mnist");
            assert_eq!(md5(&encode_images(file, set.shape(), set.pixels())?), images);
            assert_eq!(md5(&encode_labels(file, set.labels())?), labels);
        }
        Ok(())
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
