//! The images of a training session.

use anyhow::Result;
use gan_data::{Batches, Dataset, Images};

/// The images of a session.
pub(crate) struct TrainingImages {
    /// Those to train on.
    pub(crate) batches: Batches,
    /// Those that the generator is compared with, if any are held out.
    pub(crate) held_out: Option<Images>,
}

impl TrainingImages {
    /// Images that are trained on, in memory: all, or some of a sharded set.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn training(&self) -> Result<&Dataset> {
        Ok(self.batches.images().in_memory()?)
    }

    /// The real images that the generator is compared with: all, or some of a sharded set.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn reference(&self) -> Result<&Dataset> {
        match &self.held_out {
            Some(held_out) => Ok(held_out.in_memory()?),
            None => self.training(),
        }
    }
}
