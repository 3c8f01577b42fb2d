//! Batches on their way to the device.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use gan_data::{Batch, Batches, Error, Stream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// The batches of a training, on its device. On a GPU a thread of its own puts each there while the
/// step before it runs.
pub(crate) struct Upload {
    from: From,
}

enum From {
    /// Read when it is asked for.
    Here(Stream, Device),
    /// Put on the device by a thread, and what that thread's batches are read from.
    Prefetched(Receiver<Result<Batch>>, Batches),
}

impl Upload {
    /// Begins at the batch `first`.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub(crate) fn new(batches: Batches, first: u64, device: &Device) -> Result<Self> {
        match device {
            Device::Cuda(_) => Self::prefetch(batches, first, device.clone()),
            _ => {
                let from = From::Here(Stream::new(batches, first)?, device.clone());
                Ok(Self { from })
            }
        }
    }

    /// The same with a thread, whose stream on a CUDA device is its own: candle's default is a stream
    /// for each thread. No other thread may see what is not on the device yet.
    fn prefetch(batches: Batches, first: u64, device: Device) -> Result<Self> {
        let mut stream = Stream::new(batches.clone(), first)?;
        // One batch waits on the device.
        let (sender, receiver) = sync_channel(0);
        let upload = move || {
            loop {
                let batch = put(&mut stream, &device).and_then(|batch| {
                    device.synchronize()?;
                    Ok(batch)
                });
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("upload".into())
            .spawn(upload)
            .context("starting the thread that puts batches on the device")?;
        Ok(Self { from: From::Prefetched(receiver, batches) })
    }

    /// Returns the next batch.
    ///
    /// # Errors
    /// Images that cannot be read; failures of the device.
    pub(crate) fn next(&mut self) -> Result<Batch> {
        match &mut self.from {
            From::Here(stream, device) => put(stream, device),
            From::Prefetched(receiver, _) => match receiver.recv() {
                Ok(batch) => batch,
                Err(_) => bail!("the thread that puts batches on the device has ended"),
            },
        }
    }

    /// Returns the error of each image that was left out since the last call.
    pub(crate) fn take_skipped(&self) -> Vec<Error> {
        match &self.from {
            From::Here(stream, _) => stream.take_skipped(),
            From::Prefetched(_, batches) => batches.images().take_skipped(),
        }
    }
}

/// The next batch of a stream, on the device.
fn put(stream: &mut Stream, device: &Device) -> Result<Batch> {
    let Batch { images, labels } = stream.next()?;
    Ok(Batch { images: images.to_device(device)?, labels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::NewRunOptions;
    use crate::config::resolve::resolved;

    #[test]
    fn batches_that_are_prefetched_are_the_same() -> Result<()> {
        let mut options = NewRunOptions::default();
        options.data.classes.digit = vec!["5".to_string(), "6".to_string()];
        let (_, batches) = resolved(options)?;
        let mut here = Upload::new(batches.clone(), 3, &Device::Cpu)?;
        let mut prefetched = Upload::prefetch(batches, 3, Device::Cpu)?;
        assert!(matches!((&here.from, &prefetched.from), (From::Here(..), From::Prefetched(..))));
        let values = |batch: &Batch| batch.images.flatten_all()?.to_vec1::<f32>();
        for _ in 0..5 {
            let [here, prefetched] = [here.next()?, prefetched.next()?];
            assert_eq!(values(&here)?, values(&prefetched)?);
            assert_eq!(here.labels, prefetched.labels);
        }
        assert!(prefetched.take_skipped().is_empty());
        Ok(())
    }
}
