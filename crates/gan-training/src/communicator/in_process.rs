//! Ranks that are threads of one process.

use super::Communicator;
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Time between two looks at whether a rank has failed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

enum Message {
    Tensor(Tensor),
    Bytes(Vec<u8>),
}

/// A rank that is a thread of this process, for tests.
pub struct InProcess {
    rank: usize,
    /// To each rank.
    senders: Vec<Sender<Message>>,
    /// From each rank.
    receivers: Vec<Mutex<Receiver<Message>>>,
    /// The first rank that failed, and why.
    failed: Arc<OnceLock<(usize, String)>>,
}

/// Makes ranks that are connected by channels, one for each thread.
pub fn in_process(size: usize) -> Vec<InProcess> {
    let failed = Arc::new(OnceLock::new());
    let mut ranks: Vec<InProcess> = (0..size)
        .map(|rank| InProcess {
            rank,
            senders: Vec::new(),
            receivers: Vec::new(),
            failed: failed.clone(),
        })
        .collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = channel();
            ranks[from].senders.push(sender);
            ranks[to].receivers.push(Mutex::new(receiver));
        }
    }
    ranks
}

impl InProcess {
    fn send(&self, to: usize, message: Message) -> Result<()> {
        self.senders[to].send(message).map_err(|_| self.ended(to))
    }

    fn receive(&self, from: usize) -> Result<Message> {
        let receiver = self.receivers[from].lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) if self.failed.get().is_none() => {}
                Err(_) => return Err(self.ended(from)),
            }
        }
    }

    /// The error of the first rank that failed, or else of one that is gone.
    fn ended(&self, rank: usize) -> Error {
        let gone = || (rank, "has ended before the others".to_string());
        let (rank, reason) = self.failed.get_or_init(gone).clone();
        Error::Rank { rank, reason }
    }

    fn receive_tensors(&self, device_of: &Tensor) -> Result<Tensor> {
        let tensor = |from| match self.receive(from)? {
            Message::Tensor(tensor) => Ok(tensor.to_device(device_of.device())?),
            Message::Bytes(_) => Err(self.out_of_step(from)),
        };
        let tensors = (0..self.size()).map(tensor).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&tensors, 0)?)
    }

    fn out_of_step(&self, rank: usize) -> Error {
        Error::Rank { rank, reason: format!("is not where rank {} is", self.rank) }
    }
}

impl Communicator for InProcess {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.senders.len()
    }

    fn all_to_all(&self, parts: &Tensor) -> Result<Tensor> {
        let length = parts.elem_count() / self.size();
        for to in 0..self.size() {
            self.send(to, Message::Tensor(parts.narrow(0, to * length, length)?.copy()?))?;
        }
        self.receive_tensors(parts)
    }

    fn all_gather(&self, part: &Tensor) -> Result<Tensor> {
        for to in 0..self.size() {
            self.send(to, Message::Tensor(part.copy()?))?;
        }
        self.receive_tensors(part)
    }

    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        if self.rank == root {
            for to in 0..self.size() {
                self.send(to, Message::Bytes(bytes.clone()))?;
            }
        }
        match self.receive(root)? {
            Message::Bytes(bytes) => Ok(bytes),
            Message::Tensor(_) => Err(self.out_of_step(root)),
        }
    }

    fn fail(&self, reason: &str) {
        self.failed.get_or_init(|| (self.rank, reason.to_string()));
    }
}
