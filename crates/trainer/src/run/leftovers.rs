//! Clears what sessions that were killed left under temporary names.

use crate::run::directory::RunDirectory;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

impl RunDirectory {
    /// Removes temporary files and directories of earlier sessions. The run must be locked.
    ///
    /// # Errors
    /// A directory that cannot be read, or an entry that cannot be removed.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        let places = [self.samples(), self.checkpoints(), self.generator(), self.best_generator()];
        for place in places.iter().map(|place| place.as_path()).chain([self.path()]) {
            if place.is_dir() {
                remove_in(place).with_context(|| format!("clearing {}", place.display()))?;
            }
        }
        Ok(())
    }
}

fn remove_in(place: &Path) -> std::io::Result<()> {
    gan_files::remove_leftovers(place)?;
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_old) {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)?
            } else {
                fs::remove_file(path)?
            }
        }
    }
    Ok(())
}

/// Whether a name is temporary, of an earlier version.
fn is_old(name: &str) -> bool {
    let is_random = |text: &str| text.len() == 6 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_checkpoint =
        |text: &str| text == "best" || text.len() >= 6 && text.bytes().all(|b| b.is_ascii_digit());
    let checkpoint = name.strip_suffix(".unfinished").or(name.strip_suffix(".old"));
    name.strip_prefix(".weights-").is_some_and(is_random)
        || checkpoint.and_then(|name| name.strip_prefix('.')).is_some_and(is_checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_are_told_from_a_users() {
        for name in [".weights-a1B2c3", ".000010.unfinished", ".best.old"] {
            assert!(is_old(name), "{name}");
        }
        for name in
            [".weights-mine", ".weights.old", "000010", ".000010", "training.gif.part", ".10.old"]
        {
            assert!(!is_old(name), "{name}");
        }
    }
}
