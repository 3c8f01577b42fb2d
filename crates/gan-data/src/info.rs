//! The description of a data set: image shape, classes and number of images, without pixels.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::files::directory_name;
use crate::folder::{self, Options};
use crate::shards::{ShardedImages, Shards};
use crate::{Dataset, HubDataset, ImageShape, Images, Result, Source, Split, idx, mnist};

/// The description of a data set without its pixels: name, image shape, labels and classes.
///
/// It suffices to build networks and to count training steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    shape: ImageShape,
    /// The labels and classes of the data set. Each image is one byte in place of its pixels.
    outline: Dataset,
}

impl DatasetInfo {
    /// Returns the description of a data set in memory.
    ///
    /// # Errors
    ///
    /// A [`Dataset`] that [`Dataset::new`] accepted causes none.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let (labels, classes) = (dataset.labels().to_vec(), dataset.classes().to_vec());
        Self::new(dataset.name(), dataset.shape(), labels, classes)
    }

    /// Returns the description of images in memory or in files.
    ///
    /// # Errors
    ///
    /// Images that exist cause none.
    pub fn of_images(images: &Images) -> Result<Self> {
        Ok(Self::of(images.outline())?.with_shape(images.shape()))
    }

    /// Describes one split of a data set. It reads as little of the files as it can.
    ///
    /// - MNIST and IDX directories: the label file and the header of the image file are read.
    /// - Hub data sets: the description is built in; nothing is downloaded.
    /// - Sharded sets: the images are listed, and some are decoded if no colour mode is given.
    /// - Directories of images: the files are listed. If no [`Options::colour`] is given, images are
    ///   decoded until one has colour, all of them if none has. A damaged image counts here, while
    ///   [`Source::load_with`] leaves it out. With [`Options::strict`], all images are decoded, and
    ///   the first damaged one is an error.
    ///
    /// # Errors
    ///
    /// Those of [`Source::load_with`], except for damage to pixels that are not read.
    pub fn read(source: &Source, split: Split, options: &Options) -> Result<Self> {
        let info = match source {
            Source::Mnist | Source::Hub(HubDataset::Mnist) => {
                let labels = mnist::labels(split)?.into_iter().map(u32::from).collect();
                let classes = HubDataset::Mnist.classes().map(String::from).into();
                Some(Self::new("mnist", mnist::SHAPE, labels, classes)?)
            }
            Source::Hub(dataset @ HubDataset::FashionMnist) => {
                let per_class = if split == Split::Train { 6_000 } else { 1_000 };
                let labels = (0..10).flat_map(|label| vec![label; per_class]).collect();
                let classes = dataset.classes().map(String::from).into();
                Some(Self::new(dataset.name(), mnist::SHAPE, labels, classes)?)
            }
            Source::Idx(directory) => {
                idx::read_header(directory, split)?.map(|(shape, outline)| Self { shape, outline })
            }
            Source::Folder(directory) => Self::list(directory, split, options)?,
            Source::Shards(place) => {
                let images = ShardedImages::new(Arc::new(Shards::open(place)?), options)?;
                Some(Self::of_images(&images.into())?)
            }
        };
        // If something is wrong, loading everything reports it.
        info.map_or_else(|| Self::of(&source.load_with(split, options)?.dataset), Ok)
    }

    /// Describes a directory of images by listing it. Returns `None` if the images must be loaded.
    fn list(directory: &Path, split: Split, options: &Options) -> Result<Option<Self>> {
        let Options { size, colour, strict, .. } = *options;
        if strict || !size.is_supported() {
            return Ok(None);
        }
        let found = folder::find(directory, split)?;
        let channels = match colour {
            Some(colour) => colour.channels(),
            None => {
                let has_colour = |path: &Path| {
                    folder::read(path, size, None).is_ok_and(|pixels| pixels.len() > size.area())
                };
                if found.files.par_iter().any(|(path, _)| has_colour(path)) { 3 } else { 1 }
            }
        };
        let labels = found.files.into_iter().map(|(_, label)| label).collect();
        let shape = ImageShape { channels, height: size.height, width: size.width };
        Self::new(&directory_name(directory), shape, labels, found.classes).map(Some)
    }

    fn new(name: &str, shape: ImageShape, labels: Vec<u32>, classes: Vec<String>) -> Result<Self> {
        let one_byte = ImageShape { channels: 1, height: 1, width: 1 };
        let pixels = vec![0; labels.len()];
        Ok(Self { shape, outline: Dataset::new(name, one_byte, pixels, labels, classes)? })
    }

    /// Returns the name of the data set, e.g. `mnist`. A filter does not change it.
    pub fn name(&self) -> &str {
        self.outline.name()
    }

    /// Returns the shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Describes as many images of another shape.
    pub fn with_shape(self, shape: ImageShape) -> Self {
        Self { shape, ..self }
    }

    /// Describes the part to train on if a fraction is held out, as [`Dataset::hold_out`] does, and
    /// returns the number of images that are.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::hold_out`].
    pub fn hold_out(self, fraction: f64) -> Result<(Self, usize)> {
        let (outline, held_out) = self.outline.hold_out(fraction)?;
        Ok((Self { outline, ..self }, held_out.map_or(0, |held_out| held_out.len())))
    }

    /// Returns the number of images.
    pub fn images(&self) -> usize {
        self.outline.len()
    }

    /// Returns the names of the classes.
    pub fn classes(&self) -> &[String] {
        self.outline.classes()
    }

    /// Returns the names of the classes that have images, in order.
    pub fn non_empty_classes(&self) -> Vec<String> {
        self.outline.non_empty_classes()
    }

    /// Keeps the images of these classes, as [`Dataset::filter_classes`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::filter_classes`].
    pub fn filter_classes(self, classes: &[String]) -> Result<Self> {
        Ok(Self { outline: self.outline.filter_classes(classes)?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Colour;
    use crate::{Error, png};
    use std::fs;

    fn read(source: &Source) -> Result<DatasetInfo> {
        DatasetInfo::read(source, Split::Train, &Options { strict: false, ..Options::default() })
    }

    fn loaded(source: &Source, split: Split) -> DatasetInfo {
        DatasetInfo::of(&source.load(split).unwrap()).unwrap()
    }

    #[test]
    fn mnist_is_described_as_it_loads() {
        for split in [Split::Train, Split::Test] {
            let info = DatasetInfo::read(&Source::Mnist, split, &Options::default()).unwrap();
            assert_eq!(info, loaded(&Source::Mnist, split));
        }
        let info = read(&Source::Mnist).unwrap().filter_classes(&["5".into(), "7".into()]).unwrap();
        assert_eq!((info.images(), info.classes()), (5_421 + 6_265, &["5".into(), "7".into()][..]));
        assert_eq!((info.name(), info.shape()), ("mnist", mnist::SHAPE));
        let fashion = read(&Source::Hub(HubDataset::FashionMnist)).unwrap();
        assert_eq!((fashion.images(), fashion.non_empty_classes().len()), (60_000, 10));
    }

    #[test]
    fn idx_files_are_described_from_their_headers() {
        let directory = tempfile::tempdir().unwrap();
        let shape = ImageShape { channels: 1, height: 2, width: 3 };
        idx::write(directory.path(), shape, &[7; 18], Some(&[1, 3, 1])).unwrap();
        let source = Source::Idx(directory.path().into());
        let info = read(&source).unwrap();
        assert_eq!(info, loaded(&source, Split::Train));
        assert_eq!((info.images(), info.shape()), (3, shape));
        assert_eq!(info.non_empty_classes(), ["1", "3"]);
        // Rows and columns of EMNIST's files are exchanged; the label 1 is A.
        let emnist = tempfile::tempdir().unwrap();
        for what in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
            let to = emnist.path().join(format!("emnist-letters-train-{what}"));
            fs::copy(directory.path().join(what), to).unwrap();
        }
        let source = Source::Idx(emnist.path().into());
        let info = read(&source).unwrap();
        assert_eq!(info, loaded(&source, Split::Train));
        assert_eq!((info.shape().height, info.non_empty_classes().concat()), (3, "AC".into()));

        let images = directory.path().join("images-idx3-ubyte");
        let source = Source::Idx(directory.path().into());
        let whole = fs::read(&images).unwrap();
        fs::write(&images, &whole[..30]).unwrap();
        assert!(matches!(read(&source).unwrap_err(), Error::TruncatedBody { .. }));
        fs::write(&images, &whole[..9]).unwrap();
        assert!(matches!(read(&source).unwrap_err(), Error::TruncatedHeader { .. }));
        fs::remove_file(&images).unwrap();
        assert!(matches!(read(&source).unwrap_err(), Error::MissingFile { .. }));
    }

    #[test]
    fn image_directories_are_described_from_a_listing() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::Folder(directory.path().into());
        let write = |name: &str, channels: usize| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let shape = ImageShape { channels, height: 28, width: 28 };
            let pixels: Vec<u8> = (0..shape.len()).map(|i| (i % 251) as u8).collect();
            png::write(&path, shape, &pixels).unwrap();
        };
        for name in ["a/0.png", "a/1.png", "b/2.png"] {
            write(name, 1);
        }
        assert_eq!(read(&source).unwrap(), loaded(&source, Split::Train));
        write("b/3.png", 3);
        let info = read(&source).unwrap();
        assert_eq!(info, loaded(&source, Split::Train));
        assert_eq!((info.images(), info.shape().channels), (4, 3));
        // With a colour mode no image is decoded, so a damaged one counts.
        fs::write(directory.path().join("b/4.png"), b"no image").unwrap();
        let options = Options::new().colour(Some(Colour::Grey)).strict(false);
        let info = DatasetInfo::read(&source, Split::Train, &options).unwrap();
        assert_eq!((info.images(), info.shape().channels), (5, 1));
        let strict = Options { strict: true, ..options };
        let error = DatasetInfo::read(&source, Split::Train, &strict).unwrap_err();
        assert!(matches!(error, Error::NotAnImage { .. }));
        let small = options.size(2);
        let error = DatasetInfo::read(&source, Split::Train, &small).unwrap_err();
        assert!(matches!(error, Error::TargetSize { .. }));
    }
}
