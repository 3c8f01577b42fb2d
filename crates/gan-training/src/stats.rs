//! What a step measures.

use crate::error::Result;
use crate::hyperparameters::Hyperparameters;
use crate::losses::R1Penalty;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// The discriminator's logits of one pass.
#[derive(Clone, Debug)]
pub(crate) struct Logits {
    /// (B)
    pub(crate) real: Tensor,
    /// (B)
    pub(crate) fake: Tensor,
    /// Those of the perturbed real images, where R1 needs them, (B).
    pub(crate) perturbed_real: Option<Tensor>,
    /// Those of the perturbed fakes, where R2 needs them, (B).
    pub(crate) perturbed_fake: Option<Tensor>,
}

impl<'a> IntoIterator for &'a Logits {
    type Item = &'a Tensor;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<&'a Tensor>, 4>>;

    fn into_iter(self) -> Self::IntoIter {
        let perturbed = [&self.perturbed_real, &self.perturbed_fake].map(Option::as_ref);
        [Some(&self.real), Some(&self.fake), perturbed[0], perturbed[1]].into_iter().flatten()
    }
}

impl Logits {
    /// The parts, in their order.
    pub(crate) fn to_vec(&self) -> Vec<Tensor> {
        self.into_iter().cloned().collect()
    }
}

/// What a step computed, still on its device: [`crate::Gan::read_stats`] copies it to the host.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// The step, from 1.
    pub(crate) step: u64,
    pub(crate) logits: Logits,
    /// What the generator's loss took: the logits of its fakes, or their differences from the real
    /// ones, (B).
    pub(crate) generator_logits: Tensor,
    /// The R1 and R2 penalties of the step.
    pub(crate) penalties: (R1Penalty, R1Penalty),
    pub(crate) updates: Option<UpdateCounts>,
}

/// Statistics of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StepStats {
    /// The discriminator's loss, penalties included.
    pub discriminator_loss: f32,
    /// The generator's loss.
    pub generator_loss: f32,
    /// Mean score of real images ([`crate::GanLoss::score`]).
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
#[non_exhaustive]
pub struct UpdateCounts {
    /// The discriminator's on real images.
    pub real: u64,
    /// The discriminator's on fakes.
    pub fake: u64,
    /// The generator's.
    pub generator: u64,
}

impl Add for UpdateCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            real: self.real + other.real,
            fake: self.fake + other.fake,
            generator: self.generator + other.generator,
        }
    }
}

impl StepOutput {
    /// Copies the logits to the host and computes the statistics from them.
    pub(crate) fn read(&self, hyperparameters: &Hyperparameters) -> Result<StepStats> {
        let Hyperparameters { loss, real_label, .. } = *hyperparameters;
        let Logits { real, fake, perturbed_real, perturbed_fake } = &self.logits;
        let pairs = to_host(&loss.on_pairs(real, fake)?)?;
        let (real, fake) = (to_host(real)?, to_host(fake)?);
        let mut discriminator_loss =
            loss.on_real(real_label).value(&real) + loss.on_fake().value(&pairs);
        let (r1, r2) = self.penalties;
        for (penalty, clean, perturbed) in
            [(r1, &real, perturbed_real), (r2, &fake, perturbed_fake)]
        {
            if let Some(perturbed) = perturbed {
                discriminator_loss += penalty.value(clean, &to_host(perturbed)?);
            }
        }
        let generator_loss = loss.generator().value(&to_host(&self.generator_logits)?);
        Ok(StepStats {
            discriminator_loss: discriminator_loss as f32,
            generator_loss: generator_loss as f32,
            real_score: loss.score(&real),
            fake_score: loss.score(&fake),
            accuracy: loss.accuracy(&real, &fake, real_label),
            updates: self.updates,
        })
    }
}

/// Copies logits to the host.
pub(crate) fn to_host(logits: &Tensor) -> Result<Vec<f32>> {
    Ok(logits.to_vec1()?)
}
