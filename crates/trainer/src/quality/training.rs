//! Trains a classifier of images.

use anyhow::{Context, Result};
use gan_data::{Batches, Dataset};
use gan_metrics::{ClassifierTraining, TrainedClassifier};
use std::time::{Duration, Instant};

/// Batch size.
const BATCH: usize = 128;
/// Time between two progress messages.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Trains a classifier on a data set.
///
/// # Errors
/// Images that it does not take; fewer than two.
pub(crate) fn train(set: Dataset, epochs: u64, seed: u64) -> Result<TrainedClassifier> {
    let (classes, batch) = (set.classes().len(), BATCH.min(set.len()));
    let (name, shape) = (set.name().to_string(), set.shape().into());
    let mut batches = Batches::new(set, batch, seed)?;
    let steps = batches.steps(epochs);
    let mut training = ClassifierTraining::new(shape, classes, steps, seed).context(name)?;
    let mut last_line = Instant::now();
    for step in 0..steps {
        let batch = batches.batch(step)?;
        let loss = training.step(&batch.images, &batch.labels)?;
        if last_line.elapsed() > LINE_EVERY {
            last_line = Instant::now();
            tracing::info!("classifier, step {}/{steps}, cross-entropy {loss:.3}", step + 1);
        }
    }
    Ok(training.finish()?)
}
