//! Networks that start from those of another run.

use crate::run::checkpoint;
use crate::run::directory::CHECKPOINTS;
use anyhow::{Context, Result, bail};
use gan_files::Line;
use gan_models::{WEIGHTS_FILE, weights};
use gan_training::Gan;
use std::path::Path;

/// Sets the networks to those of a run's newest checkpoint, or the generator alone to that of a
/// generator's directory.
///
/// # Errors
/// A directory that is neither; networks of other shapes, naming the first tensor that differs.
pub(crate) fn init_from(gan: &mut Gan, place: &Path) -> Result<()> {
    let flag = || format!("--init-from {}", place.display());
    if let Some(checkpoint) = checkpoint::newest(&place.join(CHECKPOINTS))? {
        return gan.init_from(checkpoint).with_context(flag);
    }
    let file = place.join(WEIGHTS_FILE);
    if !file.is_file() {
        bail!(
            "{}: neither a run with a checkpoint nor a generator's directory with {WEIGHTS_FILE}",
            flag()
        );
    }
    let tensors = weights::load_tensors(&file, gan.device()).with_context(flag)?;
    for parameters in [gan.generator_parameters(), gan.ema_parameters()] {
        weights::restore(&file, &tensors, parameters).with_context(flag)?;
    }
    tracing::warn!(
        "{} holds a generator alone; the discriminator starts from nothing",
        Line(place.display())
    );
    Ok(())
}
