//! One file of many images, of either format.
#![cfg_attr(
    not(any(feature = "tar", feature = "parquet")),
    allow(unused_imports, unused_variables, unreachable_code, reason = "no format is on")
)]

use std::path::PathBuf;

use super::listing::{Label, Listing, entry_path};
#[cfg(feature = "parquet")]
use super::parquet;
#[cfg(feature = "tar")]
use super::tar;
use crate::{Error, Result};

/// A file of many images.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    places: Places,
    /// A hash of the images' names, sizes and labels.
    pub(super) hash: u64,
}

/// Where the images of a shard are.
#[derive(Debug)]
enum Places {
    #[cfg(feature = "tar")]
    Tar(Vec<tar::Place>),
    #[cfg(feature = "parquet")]
    Parquet(parquet::Groups),
}

impl Shard {
    /// Lists the images of a file, and their labels.
    ///
    /// # Errors
    ///
    /// Those of the format; [`Error::FeatureDisabled`].
    pub(super) fn list(path: PathBuf) -> Result<(Self, Vec<Label>)> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let Listing { images: places, labels, hash } = match extension.to_str() {
            #[cfg(feature = "tar")]
            Some("tar") => tar::list(&path)?.map(Places::Tar),
            #[cfg(feature = "parquet")]
            Some("parquet") => parquet::list(&path)?.map(Places::Parquet),
            _ => {
                let feature = if extension == "tar" { "tar" } else { "parquet" };
                return Err(Error::FeatureDisabled {
                    dataset: path.display().to_string(),
                    feature,
                });
            }
        };
        Ok((Self { path, places, hash }, labels))
    }

    /// Reads the file of an image.
    ///
    /// # Errors
    ///
    /// [`Error::Read`]; [`Error::Shard`].
    pub(super) fn read(&self, image: usize) -> Result<Vec<u8>> {
        match self.places {
            #[cfg(feature = "tar")]
            Places::Tar(ref places) => tar::read(&self.path, places[image]),
            #[cfg(feature = "parquet")]
            Places::Parquet(ref groups) => parquet::read(&self.path, groups, image),
        }
    }

    /// The bytes of images that are read together, if any are: the most that may be shuffled together,
    /// and all of the file.
    pub(super) fn run(&self) -> Option<(u64, u64)> {
        match self.places {
            #[cfg(feature = "tar")]
            Places::Tar(_) => None,
            #[cfg(feature = "parquet")]
            Places::Parquet(ref groups) => Some((parquet::MAX_RUN, groups.total_bytes())),
        }
    }

    /// The file's name.
    pub(super) fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The name of an image in messages.
    pub(super) fn name_of(&self, image: usize) -> PathBuf {
        let name: Option<String> = match self.places {
            #[cfg(feature = "tar")]
            Places::Tar(ref places) => tar::name(&self.path, places[image]),
            #[cfg(feature = "parquet")]
            Places::Parquet(_) => Some(format!("row {image}")),
        };
        entry_path(&self.path, &name.unwrap_or_else(|| image.to_string()))
    }
}
