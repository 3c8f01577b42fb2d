//! Batches one after another, which are read ahead where they come from files.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, available_parallelism};

use crate::{Batch, Batches, Error, Images, Result};

/// The largest number of threads that read ahead.
const MAX_READERS: usize = 8;

/// The batches from one on. [Sharded](Images::Sharded) images are read and decoded ahead by threads of
/// their own, as many as there are processors but no more than 8, two batches each at most; the batches
/// are the same whatever their number.
#[derive(Debug)]
pub struct Stream {
    batches: Batches,
    next: u64,
    /// The batches of each thread, which reads every n-th one; none for images in memory.
    readers: Vec<Receiver<Result<Batch>>>,
}

impl Stream {
    /// Begins at the batch `first`.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`].
    pub fn new(batches: Batches, first: u64) -> Result<Self> {
        let count = match batches.images() {
            Images::Memory(_) => 0,
            Images::Sharded(_) => {
                available_parallelism().map_or(1, |count| count.get()).min(MAX_READERS)
            }
        };
        let reader = |number: usize| {
            let start = first.saturating_add(number as u64);
            reader(batches.clone(), start, count)
        };
        let readers = (0..count).map(reader).collect::<Result<_>>()?;
        Ok(Self { batches, next: first, readers })
    }

    /// Returns the next batch.
    ///
    /// # Errors
    ///
    /// Those of [`Batches::batch`]; [`Error::Thread`].
    #[allow(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> Result<Batch> {
        let k = self.next;
        self.next += 1;
        match self.readers.len() {
            0 => self.batches.batch(k),
            // The threads take turns from the first batch on, so the one whose turn it is comes first.
            _ => {
                let batch = self.readers[0].recv();
                self.readers.rotate_left(1);
                batch.map_err(|_| Error::Thread { source: io::Error::other("it has ended") })?
            }
        }
    }

    /// Returns the error of each image that was left out since the last call.
    pub fn take_skipped(&self) -> Vec<Error> {
        self.batches.images().take_skipped()
    }
}

/// Starts a thread that reads every `step`-th batch from `start` on, until the stream is dropped or a
/// batch fails.
fn reader(mut batches: Batches, start: u64, step: usize) -> Result<Receiver<Result<Batch>>> {
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        for k in (start..).step_by(step) {
            let batch = batches.batch(k);
            let is_last = batch.is_err();
            if sender.send(batch).is_err() || is_last {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("images".into()).spawn(read);
    thread.map(|_| receiver).map_err(|source| Error::Thread { source })
}
