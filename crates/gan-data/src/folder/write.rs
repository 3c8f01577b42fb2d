//! Writes a data set as an image folder with one sub-folder per class.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::{Dataset, Error, Result, files, png};

/// Writes each image of a data set to `folder/CLASS/INDEX.png`, which [`load`](super::load) reads.
/// Classes without images get no folder.
///
/// The folder appears once all images are written. On an error it does not appear.
///
/// # Errors
///
/// [`Error::NotEmpty`]; [`Error::Write`], also for a class whose name is no valid folder name;
/// [`Error::Channels`] for other than 1, 3 or 4.
pub fn write(folder: &Path, dataset: &Dataset) -> Result<()> {
    let failed = |path: &Path| {
        let path = PathBuf::from(path);
        move |source: io::Error| Error::Write { path, source }
    };
    let new = files::create_directory(folder)?;
    for class in dataset.non_empty_classes() {
        let path = new.path().join(&class);
        is_name(&class)
            .and_then(|()| fs::create_dir(path))
            .map_err(failed(&folder.join(&class)))?;
    }
    let digits = (dataset.len() - 1).to_string().len().max(6);
    dataset.labels().par_iter().enumerate().try_for_each(|(index, &label)| {
        let class = new.path().join(&dataset.classes()[label as usize]);
        let path = class.join(format!("{index:0digits$}.png"));
        png::write(&path, dataset.shape(), dataset.image(index).unwrap_or_default())
    })?;
    new.publish().map_err(failed(folder))
}

/// Checks that a class name is a folder name that [`load`](super::load) does not ignore.
fn is_name(class: &str) -> io::Result<()> {
    let mut parts = Path::new(class).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == class && !class.starts_with('.') => Ok(()),
        _ => Err(io::Error::other("this class name is no valid folder name")),
    }
}
