//! Ranks: processes or threads that train one pair of networks together.

mod in_process;
#[cfg(any(test, feature = "nccl"))]
mod links;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(any(test, feature = "nccl"))]
mod rendezvous;
#[cfg(test)]
mod tests;

pub use in_process::{InProcess, in_process};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};

/// What the ranks of a training tell each other. Every rank holds the whole networks, computes the
/// gradients of its part of each batch, and makes the same updates ([`crate::Gan::with_communicator`]).
///
/// All ranks must make the same calls in the same order. A call returns when the others have made
/// theirs, or with [`Error::Rank`] when one of them has failed. Tensors are f32, of one dimension and
/// of the same length on every rank; the result is on the device of what was given.
///
/// A phase of a step, of which there is one for each update but for simultaneous ones, calls
/// [`Communicator::all_gather`] for the logits, then [`Communicator::all_to_all`] and
/// [`Communicator::all_gather`] for the gradients. With G bytes of gradients, R ranks and K
/// micro-batches, a rank sends (K / R + 1) G (R - 1) / R bytes, with one micro-batch for each rank as
/// much as in a ring all-reduce. Its sums would be in another order for each number of ranks.
pub trait Communicator: Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks, R.
    fn size(&self) -> usize;

    /// Checks that tensors on this device can be exchanged.
    ///
    /// # Errors
    /// Another device, with the one that is needed.
    fn check_device(&self, _: &Device) -> Result<()> {
        Ok(())
    }

    /// Sends part r of `parts` to rank r, for all ranks. Returns the parts that they sent to this
    /// one, in their order.
    ///
    /// # Shapes
    /// `parts`: (R n); result: (R n).
    /// # Errors
    /// A rank that failed; failures of the device.
    fn all_to_all(&self, parts: &Tensor) -> Result<Tensor>;

    /// Returns the parts of all ranks, in their order.
    ///
    /// # Shapes
    /// `part`: (n); result: (R n).
    /// # Errors
    /// A rank that failed; failures of the device.
    fn all_gather(&self, part: &Tensor) -> Result<Tensor>;

    /// Returns the bytes of the rank `root`. What the others give does not count.
    ///
    /// # Errors
    /// A rank that failed.
    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Returns what rank 0 decides. What the others give does not count.
    ///
    /// # Errors
    /// A rank that failed.
    fn decide(&self, decision: bool) -> Result<bool> {
        Ok(self.broadcast(0, vec![decision.into()])? == [1])
    }

    /// Waits for all ranks.
    ///
    /// # Errors
    /// A rank that failed.
    fn barrier(&self) -> Result<()> {
        (0..self.size()).try_for_each(|root| self.broadcast(root, Vec::new()).map(drop))
    }

    /// Says that this rank failed, so that no other waits for it. It may end the process.
    fn fail(&self, reason: &str);
}

/// A training by one process alone.
#[derive(Clone, Copy, Debug)]
pub struct SingleProcess;

impl Communicator for SingleProcess {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_to_all(&self, parts: &Tensor) -> Result<Tensor> {
        Ok(parts.clone())
    }

    fn all_gather(&self, part: &Tensor) -> Result<Tensor> {
        Ok(part.clone())
    }

    fn broadcast(&self, _: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }

    fn fail(&self, _: &str) {}
}

/// Checks that micro-batches can be dealt to ranks.
///
/// # Errors
/// [`Error::Hyperparameter`] names the numbers that are possible.
pub(crate) fn check_ranks(micro_batches: usize, ranks: usize) -> Result<()> {
    if micro_batches.is_multiple_of(ranks) {
        return Ok(());
    }
    let fits = micro_batches.next_multiple_of(ranks);
    Err(Error::Hyperparameter(format!(
        "micro_batches {micro_batches}: {ranks} ranks need a multiple of {ranks}; start a new run with \
         --micro-batches {fits}, or as many ranks as divide {micro_batches}"
    )))
}
