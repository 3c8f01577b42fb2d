//! Ranks on CUDA devices, which NCCL connects.

use super::Communicator;
use super::links::Links;
use super::rendezvous::{Place, rendezvous};
use crate::error::{Error, Result};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, group_end, group_start};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Device, Storage, Tensor};
use std::cell::OnceCell;
use std::fmt::Display;
use std::io::Write;
use std::thread;
use std::time::Duration;

/// Time in which all ranks must have met.
const RENDEZVOUS_TIMEOUT: Duration = Duration::from_secs(120);
/// Time after which a rank that says nothing is lost.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Time that the exit of a program may take, in which CUDA may wait for a rank that is lost.
const EXIT: Duration = Duration::from_secs(2);
/// The exit code of a program whose ranks end because one failed.
const FAILED: i32 = 2;

/// The ranks that `torchrun` or a script of SLURM has started, each with a CUDA device. NCCL exchanges
/// tensors from device to device. All else goes by TCP, which also tells when a rank is lost: that ends
/// the process, for NCCL would wait.
///
/// One thread must make all calls: candle's stream is that of the thread.
pub struct Nccl {
    links: Links,
    size: usize,
}

thread_local! {
    /// This thread's communicator, made at its first exchange. It lives as long as the process: to free
    /// it while ranks end would wait for those that have.
    static COMM: OnceCell<&'static Comm> = const { OnceCell::new() };
}

impl Nccl {
    /// Meets the other ranks, by the environment's RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
    ///
    /// # Errors
    /// [`Error::Ranks`], [`Error::Rank`]: a variable that is missing or wrong; ranks that do not meet within
    /// 2 minutes.
    pub fn start() -> Result<Self> {
        let place = Place::of_launcher(|name| std::env::var(name).ok())?;
        let streams = rendezvous(&place, RENDEZVOUS_TIMEOUT)?;
        let links = Links::new(place.rank, streams, TIMEOUT, |failure| {
            // Whoever has told it has said it.
            if !failure.is_told {
                say(failure.rank, &failure.reason);
            }
            exit()
        })?;
        Ok(Self { links, size: place.size })
    }

    /// The communicator of this thread, which has made `device` its own.
    fn comm(&self, device: &CudaDevice) -> Result<&'static Comm> {
        COMM.with(|comm| match comm.get() {
            Some(comm) => Ok(*comm),
            None => {
                let made = Box::leak(Box::new(self.connect(device)?));
                Ok(*comm.get_or_init(|| made))
            }
        })
    }

    fn connect(&self, device: &CudaDevice) -> Result<Comm> {
        let id = match self.rank() {
            0 => Id::new().map_err(failed)?.internal().iter().map(|byte| *byte as u8).collect(),
            _ => Vec::new(),
        };
        let id = self.broadcast(0, id)?;
        let id: [u8; 128] =
            id.try_into().map_err(|_| Error::Ranks("NCCL's id has no 128 bytes".into()))?;
        let id = Id::uninit(id.map(|byte| byte as _));
        Comm::from_rank(device.cuda_stream(), self.rank(), self.size, id).map_err(failed)
    }

    /// Lets NCCL compute a tensor of `length` values from one on the device.
    fn exchange(
        &self,
        tensor: &Tensor,
        length: usize,
        run: impl FnOnce(&Comm, &CudaView<f32>, &mut CudaSlice<f32>) -> Result<(), NcclError>,
    ) -> Result<Tensor> {
        self.check_device(tensor.device())?;
        let tensor = tensor.contiguous()?;
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(cuda) = &*storage else { unreachable!("the device is checked") };
        let start = layout.start_offset();
        let sent = cuda.as_cuda_slice::<f32>()?.slice(start..start + tensor.elem_count());
        let device = cuda.device();
        let mut received = device.alloc_zeros::<f32>(length)?;
        run(self.comm(device)?, &sent, &mut received).map_err(failed)?;
        let received = CudaStorage::wrap_cuda_slice(received, device.clone());
        Ok(Tensor::from_storage(Storage::Cuda(received), length, BackpropOp::none(), false))
    }
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.links.rank()
    }

    fn size(&self) -> usize {
        self.size
    }

    fn check_device(&self, device: &Device) -> Result<()> {
        match device {
            Device::Cuda(_) => Ok(()),
            _ => Err(Error::Ranks(
                "ranks that NCCL connects need CUDA devices: give --device cuda; on CPUs, MPI connects \
                 ranks, where RANK and WORLD_SIZE are unset"
                    .to_string(),
            )),
        }
    }

    fn all_to_all(&self, parts: &Tensor) -> Result<Tensor> {
        let length = parts.elem_count() / self.size;
        self.exchange(parts, parts.elem_count(), |comm, sent, received| {
            let part = |rank: usize| rank * length..(rank + 1) * length;
            group_start()?;
            for rank in 0..self.size {
                comm.send(&sent.slice(part(rank)), rank as i32)?;
                comm.recv(&mut received.slice_mut(part(rank)), rank as i32)?;
            }
            group_end().map(drop)
        })
    }

    fn all_gather(&self, part: &Tensor) -> Result<Tensor> {
        self.exchange(part, self.size * part.elem_count(), |comm, sent, received| {
            comm.all_gather(sent, received).map(drop)
        })
    }

    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.links.broadcast(root, bytes)
    }

    /// Prints the reason on standard error, and ends all ranks.
    fn fail(&self, reason: &str) {
        if self.links.fail(reason) {
            say(self.rank(), reason);
        } else {
            // The thread that has found another failure says so, and ends this rank.
            thread::sleep(EXIT);
        }
        exit()
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if thread::panicking() {
            self.fail("panicked");
        }
        // No rank ends while another still receives from it. An error ends the process.
        let _ = self.barrier();
    }
}

fn failed(error: NcclError) -> Error {
    Error::Ranks(format!("NCCL: {:?}; NCCL_DEBUG=WARN says more", error.0))
}

fn say(rank: usize, reason: impl Display) {
    let reason = reason.to_string().lines().collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "ERROR rank {rank}: {reason}");
}

/// Ends the process, with exit code 2; with 134, that of an abort, where CUDA does not end in time.
fn exit() -> ! {
    thread::spawn(|| {
        thread::sleep(EXIT);
        std::process::abort()
    });
    std::process::exit(FAILED)
}
