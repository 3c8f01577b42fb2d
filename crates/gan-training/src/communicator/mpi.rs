//! Ranks that MPI connects.

use super::Communicator;
use crate::error::Result;
use candle_core::{Device, Tensor};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives, Root};
use std::io::Write;

/// The exit code of a program whose ranks end because one failed.
const FAILED: i32 = 2;

/// The most bytes of one call: MPI counts in 31 bits.
const MAX_COUNT: usize = 1 << 30;

/// The ranks that `mpirun`, `srun` or another launcher of MPI has started. Tensors pass through the
/// host. An error of MPI ends all ranks.
pub struct Mpi {
    /// Ends MPI when it is dropped.
    _universe: Universe,
}

impl Mpi {
    /// Connects to the other ranks. Returns `None` where MPI is initialised already.
    pub fn start() -> Option<Self> {
        // Any thread calls MPI, one at a time.
        let (universe, _) = mpi::initialize_with_threading(Threading::Serialized)?;
        Some(Self { _universe: universe })
    }

    /// All ranks. The handle may not be kept, since it may not go from thread to thread.
    fn world() -> SimpleCommunicator {
        SimpleCommunicator::world()
    }

    fn host(tensor: &Tensor) -> Result<Vec<f32>> {
        Ok(tensor.to_vec1()?)
    }

    fn received(values: Vec<f32>, sent: &Tensor) -> Result<Tensor> {
        let length = values.len();
        Ok(Tensor::from_vec(values, length, &Device::Cpu)?.to_device(sent.device())?)
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        Self::world().rank() as usize
    }

    fn size(&self) -> usize {
        Self::world().size() as usize
    }

    fn all_to_all(&self, parts: &Tensor) -> Result<Tensor> {
        let mut values = vec![0f32; parts.elem_count()];
        Self::world().all_to_all_into(&Self::host(parts)?[..], &mut values[..]);
        Self::received(values, parts)
    }

    fn all_gather(&self, part: &Tensor) -> Result<Tensor> {
        let mut values = vec![0f32; self.size() * part.elem_count()];
        Self::world().all_gather_into(&Self::host(part)?[..], &mut values[..]);
        Self::received(values, part)
    }

    fn broadcast(&self, root: usize, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let world = Self::world();
        let root = world.process_at_rank(root as i32);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        bytes.chunks_mut(MAX_COUNT).for_each(|chunk| root.broadcast_into(chunk));
        Ok(bytes)
    }

    fn barrier(&self) -> Result<()> {
        Self::world().barrier();
        Ok(())
    }

    /// Prints the reason on standard error, and ends all ranks.
    fn fail(&self, reason: &str) {
        let reason = reason.lines().collect::<Vec<_>>().join(" ");
        let _ = writeln!(std::io::stderr(), "ERROR rank {}: {reason}", self.rank());
        Self::world().abort(FAILED)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Ending MPI in order would wait for ranks that wait for this one.
        if std::thread::panicking() {
            self.fail("panicked");
        }
    }
}
