//! A set as a folder of pictures, one sub-folder for each class.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::{Dataset, Error, Result, picture};

/// Writes each picture of a set as `folder/CLASS/NUMBER.png`, numbers being those of the set: what
/// [`load`](super::load) reads again. Classes without pictures have no folder.
///
/// The folder appears when all is written, or not at all.
///
/// # Errors
///
/// [`Error::NotEmpty`]; [`Error::Write`], also for a class whose name cannot be a folder's;
/// [`Error::Channels`] for other than 1 or 3.
pub fn write(folder: &Path, set: &Dataset) -> Result<()> {
    let failed = |path: &Path| {
        let path = PathBuf::from(path);
        move |source: io::Error| Error::Write { path, source }
    };
    if folder.exists() && fs::read_dir(folder).map_err(failed(folder))?.next().is_some() {
        return Err(Error::NotEmpty { folder: folder.into() });
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let whole = builder.tempdir_in(parent).map_err(failed(folder))?;
    for class in set.occupied_classes() {
        let path = whole.path().join(&class);
        is_name(&class)
            .and_then(|()| fs::create_dir(path))
            .map_err(failed(&folder.join(&class)))?;
    }
    let digits = (set.len() - 1).to_string().len().max(6);
    set.labels().par_iter().enumerate().try_for_each(|(index, &label)| {
        let class = whole.path().join(&set.classes()[label as usize]);
        let path = class.join(format!("{index:0digits$}.png"));
        picture::write(&path, set.shape(), set.image(index).unwrap_or_default())
    })?;
    if folder.exists() {
        fs::remove_dir(folder).map_err(failed(folder))?;
    }
    fs::rename(whole.path(), folder).map_err(failed(folder))?;
    // Nothing is left to remove.
    let _ = whole.keep();
    Ok(())
}

/// Whether a class can be a folder that is found again.
fn is_name(class: &str) -> io::Result<()> {
    let mut parts = Path::new(class).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == class && !class.starts_with('.') => Ok(()),
        _ => Err(io::Error::other("no folder can have this class's name")),
    }
}
