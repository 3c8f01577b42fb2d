//! Writes, removes and restores the checkpoints of a run.

use crate::config::TrainConfig;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use gan_training::{CheckpointFiles, Communicator, Gan, checkpoint_step};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Number of checkpoints that a run keeps. If a power failure damages the last, the other is left.
const KEPT: usize = 2;

/// Directory name of the checkpoint of the step with the best measurement.
const BEST: &str = "best";

/// Writes the checkpoint of the current step into `directory` and removes all but the newest and
/// the best.
///
/// # Errors
/// A directory or file that cannot be written; older checkpoints are kept then.
pub(crate) fn save(gan: &Gan, directory: &Path) -> Result<()> {
    write(gan, directory, &format!("{:06}", gan.step()))?;
    prune(directory)
}

/// Removes all checkpoints but the newest and the best.
///
/// # Errors
/// A directory that cannot be removed.
pub(crate) fn prune(directory: &Path) -> Result<()> {
    let mut all = list(directory)?;
    all.truncate(all.len().saturating_sub(KEPT));
    all.iter().try_for_each(|(_, old)| remove(old))
}

/// Writes the checkpoint of the current step as the best one.
///
/// # Errors
/// A directory or file that cannot be written.
pub(crate) fn save_best(gan: &Gan, directory: &Path) -> Result<()> {
    write(gan, directory, BEST)
}

fn write(gan: &Gan, directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(name);
    gan_files::make(directory).with_context(|| format!("making {}", directory.display()))?;
    gan.save(&path).with_context(|| format!("writing checkpoint {}", path.display()))
}

/// Returns the step of the best checkpoint, if there is one.
pub(crate) fn best_step(directory: &Path) -> Option<u64> {
    checkpoint_step(&directory.join(BEST)).ok()
}

/// Removes the best checkpoint, if there is one.
///
/// # Errors
/// A directory that cannot be removed.
pub(crate) fn remove_best(directory: &Path) -> Result<()> {
    remove(&directory.join(BEST))
}

/// Removes a directory, if it exists.
///
/// # Errors
/// A directory that cannot be removed.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    gan_files::remove(directory).with_context(|| format!("removing {}", directory.display()))
}

/// Whether `directory` holds no checkpoint yet.
///
/// # Errors
/// A directory that cannot be read.
pub(crate) fn is_empty(directory: &Path) -> Result<bool> {
    Ok(list(directory)?.is_empty())
}

/// The newest checkpoint in `directory`, if there is one.
///
/// # Errors
/// A directory that cannot be read.
pub(crate) fn newest(directory: &Path) -> Result<Option<PathBuf>> {
    Ok(list(directory)?.pop().map(|(_, path)| path))
}

/// The newest checkpoint of a run, read.
pub(crate) struct Newest {
    files: CheckpointFiles,
    /// What an error of it begins with.
    about: String,
}

impl Newest {
    /// Reads the newest checkpoint in `directory`.
    ///
    /// # Errors
    /// No checkpoint; one that cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let mut all = list(directory)?;
        let Some((_, path)) = all.pop() else {
            bail!("{}: no checkpoint to resume from", directory.display());
        };
        let about = match all.pop() {
            Some((step, _)) => format!(
                "checkpoint {} (without this directory, the one of step {step} is resumed)",
                path.display()
            ),
            None => format!("checkpoint {}", path.display()),
        };
        let files = CheckpointFiles::read(&path).with_context(|| about.clone())?;
        Ok(Self { files, about })
    }

    /// Returns rank 0's checkpoint, or none, on all ranks.
    ///
    /// # Errors
    /// A rank that failed.
    pub(crate) fn of_first_rank(
        own: Option<Self>,
        communicator: &dyn Communicator,
    ) -> Result<Option<Self>> {
        let (files, about) = own.map(|own| (own.files, own.about)).unzip();
        let files = CheckpointFiles::of_first_rank(files, communicator)?;
        let about = about.unwrap_or_else(|| "the checkpoint of rank 0".to_string());
        Ok(files.map(|files| Self { files, about }))
    }

    /// Creates the networks of a configuration that is [checked](TrainConfig::check).
    ///
    /// # Errors
    /// A checkpoint that is damaged or of another network.
    pub(crate) fn gan(&self, config: &TrainConfig, device: &Device) -> Result<Gan> {
        let TrainConfig { generator, discriminator, training, .. } = config;
        let gan = Gan::of_files(generator, discriminator, *training, device, &self.files);
        gan.with_context(|| self.about.clone())
    }
}

/// Creates the networks of a configuration that is [checked](TrainConfig::check) as the newest checkpoint
/// in `directory` holds them.
///
/// # Errors
/// No checkpoint; one that is damaged or of another network.
pub(crate) fn load_newest(config: &TrainConfig, device: &Device, directory: &Path) -> Result<Gan> {
    Newest::read(directory)?.gan(config, device)
}

/// Returns the checkpoints in the order of their steps.
fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let context = || format!("reading checkpoints in {}", directory.display());
    let mut all = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(all),
        entries => entries.with_context(context)?,
    };
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let step = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(step) = step {
            all.push((step, path));
        }
    }
    all.sort();
    Ok(all)
}
