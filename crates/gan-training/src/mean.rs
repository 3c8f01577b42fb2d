//! The mean of what micro-batches compute, with the same bytes whoever computed it.

use crate::error::Result;
use candle_core::Tensor;
use gan_models::Gradients;

/// The mean over micro-batches of named tensors: gradients, and running statistics. They are summed
/// in the order of the micro-batches.
pub(crate) struct OrderedMean {
    /// Micro-batches of the step, K.
    count: usize,
    /// The sum so far.
    sums: Vec<Gradients>,
}

impl OrderedMean {
    /// The mean over `count` micro-batches, none of which is added yet.
    pub(crate) fn new(count: usize) -> Self {
        Self { count, sums: Vec::new() }
    }

    /// Adds the tensors of the next micro-batch.
    pub(crate) fn add(&mut self, tensors: Vec<Gradients>) -> Result<()> {
        if self.sums.is_empty() {
            self.sums = tensors;
            return Ok(());
        }
        self.sums.iter_mut().zip(tensors).try_for_each(|(sum, tensors)| add(sum, tensors))
    }

    /// The mean, when all are added.
    pub(crate) fn finish(self) -> Result<Vec<Gradients>> {
        let Self { count, mut sums } = self;
        if count > 1 {
            for sum in sums.iter_mut().flat_map(Gradients::values_mut) {
                *sum = (&*sum / count as f64)?;
            }
        }
        Ok(sums)
    }
}

/// Adds named tensors to a sum.
pub(crate) fn add(sum: &mut Gradients, tensors: Gradients) -> Result<()> {
    for (name, tensor) in tensors {
        let total = match sum.remove(&name) {
            Some(other) => (other + tensor)?,
            None => tensor,
        };
        sum.insert(name, total);
    }
    Ok(())
}

/// The logits of every part of a pass, each (B), given those of each micro-batch, (B / K).
pub(crate) fn concat(micro_batches: &[Vec<Tensor>]) -> Result<Vec<Tensor>> {
    match micro_batches {
        [only] => Ok(only.clone()),
        [first, ..] => {
            let all = |part: usize| {
                let of_part: Vec<_> = micro_batches.iter().map(|logits| &logits[part]).collect();
                Ok(Tensor::cat(&of_part, 0)?)
            };
            (0..first.len()).map(all).collect()
        }
        [] => Ok(Vec::new()),
    }
}
