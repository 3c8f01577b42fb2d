//! Where a set comes from, as `--dataset` names it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::folder::{self, Loaded};
use crate::{Dataset, Error, Result, hub, idx, mnist};

/// A part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What models are trained on.
    Train,
    /// What is held back to measure them.
    Test,
}

/// A set to load: `mnist`, `idx:DIR`, `folder:DIR`, `hub:mnist` or `hub:fashion-mnist`.
///
/// Text and value convert both ways (`FromStr`, `Display`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `mnist`: MNIST as compiled into the program.
    Mnist,
    /// `idx:DIR`: a folder of IDX files, as [`idx::load`] takes them.
    Idx(PathBuf),
    /// `folder:DIR`: a folder of pictures, as [`folder::load`] takes them.
    Folder(PathBuf),
    /// `hub:NAME`: a set of the hub, downloaded once and cached.
    Hub(HubDataset),
}

/// A set that the hub offers: 1 x 28 x 28, 60,000 pictures to train and 10,000 to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HubDataset {
    /// `mnist`: digits, of the classes "0" to "9".
    Mnist,
    /// `fashion-mnist`: clothes. Classes have names fit for a shell: `t-shirt` (T-shirt or
    /// top), `trouser`, `pullover`, `dress`, `coat`, `sandal`, `shirt`, `sneaker`, `bag`,
    /// `ankle-boot`, in the order of the original labels 0 to 9.
    FashionMnist,
}

impl Source {
    /// Loads one part of the set, a [`Source::Folder`] with the default options.
    ///
    /// # Errors
    ///
    /// Those of [`Source::load_with`].
    pub fn load(&self, split: Split) -> Result<Dataset> {
        Ok(self.load_with(split, &folder::Options::default())?.set)
    }

    /// Loads one part of the set; the options are those of a [`Source::Folder`], the only one of
    /// which anything is ever left out.
    ///
    /// # Errors
    ///
    /// For [`Source::Idx`] those of [`idx::load`], for [`Source::Folder`] those of
    /// [`folder::load`]. For [`Source::Hub`] [`Error::Hub`], or [`Error::HubDisabled`] in a program
    /// built without the feature `hub`.
    pub fn load_with(&self, split: Split, options: &folder::Options) -> Result<Loaded> {
        let set = match self {
            Self::Mnist => mnist::load(split),
            Self::Idx(folder) => idx::load(folder, split),
            Self::Folder(folder) => return folder::load(folder, split, options),
            Self::Hub(dataset) => hub::load(*dataset, split),
        };
        Ok(Loaded { set: set?, skipped: Vec::new() })
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
            Some(("idx", folder)) if !folder.is_empty() => Ok(Self::Idx(folder.into())),
            Some(("folder", folder)) if !folder.is_empty() => Ok(Self::Folder(folder.into())),
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
            Self::Idx(folder) => write!(f, "idx:{}", folder.display()),
            Self::Folder(folder) => write!(f, "folder:{}", folder.display()),
            Self::Hub(dataset) => write!(f, "hub:{}", dataset.name()),
        }
    }
}

impl HubDataset {
    /// Name after `hub:`, also that of the loaded set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Names of its classes.
    pub fn classes(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "t-shirt",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle-boot",
            ],
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
            (r"idx:C:\sets", Source::Idx(r"C:\sets".into())),
            ("hub:mnist", Source::Hub(HubDataset::Mnist)),
            ("hub:fashion-mnist", Source::Hub(HubDataset::FashionMnist)),
        ] {
            assert_eq!(text.parse::<Source>().unwrap(), source);
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn other_sources_are_errors_that_list_the_known() {
        for text in ["", "MNIST", "idx", "idx:", "hub:cifar", "mnist:", "folder:", "folders:x"] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(&error, Error::UnknownSource { given } if given == text));
            assert!(error.to_string().contains("hub:fashion-mnist"), "{error}");
        }
    }

    #[test]
    fn class_names_need_no_quotes() {
        for class in HubDataset::FashionMnist.classes() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(class.bytes().all(plain), "{class}");
        }
    }
}
