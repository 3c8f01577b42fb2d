//! Adds advice to the errors of training steps.

use anyhow::anyhow;
use gan_training::Error;

/// Adds the remedy to the error of a step whose loss or parameters are NaN or infinite.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Diverged { .. } | Error::NotFinite { .. } => anyhow!(
            "{error}; try a lower --lr or another --seed, or --resume the run from its last \
             checkpoint, where there is one, with fewer --steps"
        ),
        other => other.into(),
    }
}
