//! What a step measures.

use crate::error::Result;
use crate::losses::GanLoss;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// What a step computed, still on its device: [`crate::Gan::read_stats`] copies it to the host.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// The step, from 1.
    pub(crate) step: u64,
    pub(crate) loss: GanLoss,
    pub(crate) real_label: f64,
    /// (B)
    pub(crate) real_logits: Tensor,
    /// (B')
    pub(crate) fake_logits: Tensor,
    pub(crate) discriminator_loss: Tensor,
    pub(crate) generator_loss: Tensor,
    pub(crate) updates: Option<UpdateCounts>,
}

/// Statistics of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepStats {
    /// The discriminator's loss, penalties included.
    pub discriminator_loss: f32,
    /// The generator's loss.
    pub generator_loss: f32,
    /// Mean score of real images ([`GanLoss::score`]).
    pub real_score: f32,
    /// Mean score of fakes.
    pub fake_score: f32,
    /// Fraction of images, real and fake, that the discriminator classified correctly.
    pub accuracy: f32,
    /// Which updates were made, where they can be skipped.
    pub updates: Option<UpdateCounts>,
}

/// How often each update was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCounts {
    /// The discriminator's on real images.
    pub real: u64,
    /// The discriminator's on fakes.
    pub fake: u64,
    /// The generator's.
    pub generator: u64,
}

impl StepOutput {
    pub(crate) fn read(&self) -> Result<StepStats> {
        let real = self.real_logits.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let fake = self.fake_logits.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        Ok(StepStats {
            discriminator_loss: scalar(&self.discriminator_loss)? as f32,
            generator_loss: scalar(&self.generator_loss)? as f32,
            real_score: self.loss.score(&real),
            fake_score: self.loss.score(&fake),
            accuracy: self.loss.accuracy(&real, &fake, self.real_label),
            updates: self.updates,
        })
    }
}

/// A scalar tensor as a number.
pub(crate) fn scalar(value: &Tensor) -> Result<f64> {
    Ok(value.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar()?)
}
