//! The images of a training session.

use gan_data::{Batches, Dataset};

/// The images of a session.
pub(crate) struct TrainingImages {
    /// Those to train on.
    pub(crate) batches: Batches,
    /// Those that the generator is compared with, if any are held out.
    pub(crate) held_out: Option<Dataset>,
}

impl TrainingImages {
    /// The real images that the generator is compared with.
    pub(crate) fn reference(&self) -> &Dataset {
        self.held_out.as_ref().unwrap_or(self.batches.dataset())
    }
}
