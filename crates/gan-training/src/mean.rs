//! The mean of what micro-batches compute, with the same bytes whoever computed it.

use crate::communicator::Communicator;
use crate::error::Result;
use candle_core::{DType, Tensor};
use gan_models::Gradients;
use std::sync::Arc;

/// The mean over the micro-batches of all ranks of named tensors: gradients, and running statistics.
/// They are summed in the order of the micro-batches.
pub(crate) struct OrderedMean {
    communicator: Arc<dyn Communicator>,
    /// Micro-batches of the step, K.
    count: usize,
    /// The sum so far; with several ranks the first micro-batch's tensors.
    sums: Vec<Gradients>,
    /// With several ranks, the tensors of each of this one's micro-batches as one.
    packed: Vec<Tensor>,
}

impl OrderedMean {
    /// The mean over `count` micro-batches, none of which is added yet.
    pub(crate) fn new(count: usize, communicator: Arc<dyn Communicator>) -> Self {
        Self { communicator, count, sums: Vec::new(), packed: Vec::new() }
    }

    /// Adds the tensors of this rank's next micro-batch.
    pub(crate) fn add(&mut self, tensors: Vec<Gradients>) -> Result<()> {
        if self.communicator.size() > 1 {
            self.packed.extend(pack(&tensors, self.communicator.size())?);
        } else if !self.sums.is_empty() {
            let mut sums = self.sums.iter_mut().zip(tensors);
            return sums.try_for_each(|(sum, tensors)| add(sum, tensors));
        }
        if self.sums.is_empty() {
            self.sums = tensors;
        }
        Ok(())
    }

    /// The mean, when all are added: the same bytes on every rank.
    pub(crate) fn finish(self) -> Result<Vec<Gradients>> {
        let Self { communicator, count, mut sums, packed } = self;
        if !packed.is_empty() {
            unpack(&exchange(&packed, count, &*communicator)?, &mut sums)?;
        } else if count > 1 {
            for sum in sums.iter_mut().flat_map(Gradients::values_mut) {
                *sum = (&*sum / count as f64)?;
            }
        }
        Ok(sums)
    }
}

/// The tensors as one, (n), with zeros at its end so that it divides into parts for `ranks` ranks;
/// none where there are no tensors.
fn pack(tensors: &[Gradients], ranks: usize) -> Result<Option<Tensor>> {
    let flat = |tensor: &Tensor| Ok(tensor.flatten_all()?);
    let mut all =
        tensors.iter().flat_map(Gradients::values).map(flat).collect::<Result<Vec<_>>>()?;
    let Some(first) = all.first() else { return Ok(None) };
    let length: usize = all.iter().map(Tensor::elem_count).sum();
    let missing = length.next_multiple_of(ranks) - length;
    if missing > 0 {
        all.push(Tensor::zeros(missing, DType::F32, first.device())?);
    }
    Ok(Some(Tensor::cat(&all, 0)?))
}

/// Puts the values of a packed tensor in the place of those that were packed.
fn unpack(packed: &Tensor, tensors: &mut [Gradients]) -> Result<()> {
    let mut start = 0;
    for tensor in tensors.iter_mut().flat_map(Gradients::values_mut) {
        let length = tensor.elem_count();
        *tensor = packed.narrow(0, start, length)?.reshape(tensor.shape())?;
        start += length;
    }
    Ok(())
}

/// The mean of what all ranks packed. Each rank sums one part of it, in the order of the `count`
/// micro-batches.
fn exchange(packed: &[Tensor], count: usize, communicator: &dyn Communicator) -> Result<Tensor> {
    let (own, ranks) = (packed.len(), communicator.size());
    let length = packed[0].elem_count() / ranks;
    // (own, R, length) to (R, own, length)
    let parts = Tensor::cat(packed, 0)?.reshape((own, ranks, length))?.transpose(0, 1)?;
    let received = communicator.all_to_all(&parts.contiguous()?.flatten_all()?)?;
    let part = |index: usize| received.narrow(0, index * length, length);
    let mut sum = part(0)?;
    for index in 1..count {
        sum = (sum + part(index)?)?;
    }
    communicator.all_gather(&(sum / count as f64)?)
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

/// The logits of every part of a pass over all micro-batches of all ranks, each (B), given those of
/// this rank's micro-batches, (B / K).
pub(crate) fn gather(
    micro_batches: &[Vec<Tensor>],
    communicator: &dyn Communicator,
) -> Result<Vec<Tensor>> {
    let logits = match micro_batches {
        [only] => only.clone(),
        several => {
            let all = |part: usize| {
                let of_part: Vec<_> = several.iter().map(|logits| &logits[part]).collect();
                Ok(Tensor::cat(&of_part, 0)?)
            };
            (0..several.first().map_or(0, Vec::len)).map(all).collect::<Result<Vec<_>>>()?
        }
    };
    let ranks = communicator.size();
    if ranks == 1 {
        return Ok(logits);
    }
    let (parts, own) = (logits.len(), logits[0].elem_count());
    let gathered = communicator.all_gather(&Tensor::cat(&logits, 0)?)?;
    let gathered = gathered.reshape((ranks, parts, own))?;
    (0..parts).map(|part| Ok(gathered.narrow(1, part, 1)?.flatten_all()?)).collect()
}
