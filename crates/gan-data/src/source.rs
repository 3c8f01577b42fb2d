//! Where a data set is loaded from, as `--dataset` names it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::folder::{self, Loaded};
use crate::hub::{self, HubDataset};
use crate::shards::{ShardedImages, Shards};
use crate::{Dataset, Error, Images, Result, Split, idx, mnist};

/// Where to load a data set from: `mnist`, `idx:DIR`, `folder:DIR`, `shards:DIR`, `hub:mnist` or
/// `hub:fashion-mnist`.
///
/// It converts from and to this text (`FromStr`, `Display`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `mnist`: MNIST, compiled into the program.
    Mnist,
    /// `idx:DIR`: a directory of IDX files, see [`idx::load`].
    Idx(PathBuf),
    /// `folder:DIR`: an image folder, see [`folder::load`].
    Folder(PathBuf),
    /// `shards:DIR` or `shards:DIR/NAME*`: files of many images each, see [`Shards::open`].
    Shards(PathBuf),
    /// `hub:NAME`: a data set of the Hugging Face hub, downloaded once and cached.
    Hub(HubDataset),
}

impl Source {
    /// Loads a split with the default options.
    ///
    /// # Errors
    ///
    /// Those of [`Source::load_with`].
    pub fn load(&self, split: Split) -> Result<Dataset> {
        Ok(self.load_with(split, &folder::Options::default())?.dataset)
    }

    /// Loads a split. The options apply to the sources whose images are [resized](Self::is_resized),
    /// the only ones with images that can be skipped. Of a [`Source::Shards`] it loads
    /// [some images](Images::in_memory).
    ///
    /// # Errors
    ///
    /// Those of [`idx::load`], [`folder::load`] and [`Shards::open`]; [`Error::Hub`];
    /// [`Error::FeatureDisabled`] for a source whose feature is off.
    pub fn load_with(&self, split: Split, options: &folder::Options) -> Result<Loaded> {
        let dataset = match self {
            Self::Mnist => mnist::load(split),
            Self::Idx(directory) => idx::load(directory, split),
            Self::Folder(folder) => return folder::load(folder, split, options),
            Self::Shards(place) => {
                let images =
                    Images::from(ShardedImages::new(Arc::new(Shards::open(place)?), options)?);
                let dataset = images.in_memory()?.clone();
                return Ok(Loaded { dataset, skipped: images.take_skipped() });
            }
            Self::Hub(dataset) => hub::load(*dataset, split),
        };
        Ok(Loaded { dataset: dataset?, skipped: Vec::new() })
    }

    /// Returns whether the images are JPEG and PNG files of any size, which are decoded and resized.
    pub fn is_resized(&self) -> bool {
        matches!(self, Self::Folder(_) | Self::Shards(_))
    }

    /// Returns whether there are test images of their own, beside the training images.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::MissingFile`] and [`Error::AmbiguousFile`] for the training images
    /// of a [`Source::Idx`].
    pub fn has_test_images(&self) -> Result<bool> {
        match self {
            Self::Mnist | Self::Hub(_) => Ok(true),
            Self::Idx(directory) => idx::has_test_images(directory),
            Self::Folder(folder) => Ok(folder::has_splits(folder)),
            Self::Shards(_) => Ok(false),
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::UnknownSource`].
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "mnist" => Ok(Self::Mnist),
            Some(("idx", directory)) if !directory.is_empty() => Ok(Self::Idx(directory.into())),
            Some(("folder", folder)) if !folder.is_empty() => Ok(Self::Folder(folder.into())),
            Some(("shards", place)) if !place.is_empty() => Ok(Self::Shards(place.into())),
            Some(("hub", "mnist")) => Ok(Self::Hub(HubDataset::Mnist)),
            Some(("hub", "fashion-mnist")) => Ok(Self::Hub(HubDataset::FashionMnist)),
            _ => Err(Error::UnknownSource { given: text.into() }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist => f.write_str("mnist"),
            Self::Idx(directory) => write!(f, "idx:{}", directory.display()),
            Self::Folder(folder) => write!(f, "folder:{}", folder.display()),
            Self::Shards(place) => write!(f, "shards:{}", place.display()),
            Self::Hub(dataset) => write!(f, "hub:{}", dataset.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_the_round_trip() {
        for (text, source) in [
            ("mnist", Source::Mnist),
            ("idx:some/folder", Source::Idx("some/folder".into())),
            ("folder:faces", Source::Folder("faces".into())),
            ("shards:big/train-*.tar", Source::Shards("big/train-*.tar".into())),
            (r"idx:C:\sets", Source::Idx(r"C:\sets".into())),
            ("hub:mnist", Source::Hub(HubDataset::Mnist)),
            ("hub:fashion-mnist", Source::Hub(HubDataset::FashionMnist)),
        ] {
            assert_eq!(text.parse::<Source>().unwrap(), source);
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn test_images_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(Source::Mnist.has_test_images().unwrap());
        let (idx, folder) = (Source::Idx(path.into()), Source::Folder(path.into()));
        assert!(idx.has_test_images().is_err(), "an empty directory");
        for (name, both) in [
            ("images-idx3-ubyte", false),
            ("train-images-idx3-ubyte", false),
            ("t10k-images-idx3-ubyte", true),
        ] {
            std::fs::write(path.join(name), []).unwrap();
            assert_eq!(idx.has_test_images().unwrap(), both, "{name}");
        }
        for (name, both) in [("a", false), ("train", false), ("test", true)] {
            std::fs::create_dir(path.join(name)).unwrap();
            assert_eq!(folder.has_test_images().unwrap(), both, "{name}");
        }
    }

    #[test]
    fn unknown_sources_are_errors_that_list_the_known() {
        for text in ["", "MNIST", "idx", "idx:", "hub:cifar", "mnist:", "folder:", "folders:x"] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(&error, Error::UnknownSource { given } if given == text));
            assert!(error.to_string().ends_with("hub:fashion-mnist"), "{error}");
        }
        // A directory that exists.
        let error = "src".parse::<Source>().unwrap_err().to_string();
        assert!(error.ends_with("; for a directory of images, folder:src"), "{error}");
    }
}
