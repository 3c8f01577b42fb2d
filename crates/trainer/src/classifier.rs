//! `classifier`: trains the network that metrics look through, or one on generated digits.

use crate::args::ClassifierArgs;
use crate::data;
use crate::device;
use crate::progress::duration;
use crate::quality::{self, observe};
use anyhow::{Context, Result};
use gan_data::{Batches, Dataset, Split};
use gan_metrics::{ClassifierTraining, TrainedClassifier};
use std::io::Write;
use std::time::{Duration, Instant};

/// Pictures in a batch.
const BATCH: usize = 128;
/// How often every picture is seen.
pub(crate) const EPOCHS: u64 = 12;
/// Time between two messages.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Trains a classifier and writes its weights.
///
/// # Errors
/// Pictures that it does not take; a file that cannot be written.
pub(crate) fn classifier(args: &ClassifierArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    device::set_precision(args.precision);
    device::pool(args.threads)?.install(|| {
        let source = data::source(&args.dataset)?;
        let load = |split| data::load(&source, split, &quality::MEASURED);
        let (train_set, test_set) = (load(Split::Train)?, load(Split::Test)?);
        let started = Instant::now();
        let trained = train(train_set, args.epochs, args.seed)?;
        let seconds = started.elapsed().as_secs_f64();
        let seen = observe(&trained.classifier, test_set.shape(), test_set.pixels())?;
        std::fs::create_dir_all(&args.out)
            .with_context(|| format!("making the folder {}", args.out.display()))?;
        let path = args.out.join("model.safetensors");
        trained.save(&path)?;
        writeln!(
            print,
            "{}: {:.2}% of {} test pictures right, trained in {}",
            path.display(),
            100.0 * seen.accuracy(test_set.labels()),
            test_set.len(),
            duration(seconds)
        )?;
        Ok(())
    })
}

/// Trains a classifier on a set.
///
/// # Errors
/// Pictures that it does not take; fewer than two.
pub(crate) fn train(set: Dataset, epochs: u64, seed: u64) -> Result<TrainedClassifier> {
    quality::check_shape(set.shape()).with_context(|| set.name().to_string())?;
    let (classes, batch) = (set.classes().len(), BATCH.min(set.len()));
    let mut batches = Batches::new(set, batch, seed)?;
    let steps = batches.steps(epochs);
    let mut training = ClassifierTraining::new(classes, steps, seed)?;
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
