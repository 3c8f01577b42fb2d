//! The training loop: steps, and the reports and checkpoints after them.

mod advice;
mod explain;
pub(crate) mod images;
pub(crate) mod interrupt;
pub(crate) mod progress;
mod reporter;
mod schedule;
mod upload;

use crate::cli::values::ProgressName;
use crate::config::TrainConfig;
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::run::generator::SavedGenerator;
use crate::run::model_card::ModelCard;
use crate::run::{grid, statistics};
use anyhow::{Result, ensure};
use candle_core::Device;
use explain::explain;
use gan_data::Batches;
use gan_training::Gan;
use images::TrainingImages;
use interrupt::Interrupt;
use reporter::Reporter;
use schedule::{Due, Schedule};
use upload::Upload;

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are made.
    Complete,
    /// Stopped by the user; a checkpoint is written.
    Interrupted,
}

/// Trains from the networks' current step to the last one of the configuration. Returns how it ended
/// and the number of measurements that failed.
///
/// # Errors
/// A loss that is not finite; files that cannot be written.
pub(crate) fn train(
    gan: &mut Gan,
    images: TrainingImages,
    config: &TrainConfig,
    (directory, device): (&RunDirectory, &Device),
    progress: ProgressName,
) -> Result<(Outcome, usize)> {
    let interrupt = Interrupt::listen(directory.stop())?;
    let schedule = Schedule::new(config);
    let mut reporter = Reporter::begin(directory, config, &images, gan, progress)?;
    let mut upload = Upload::new(images.batches, gan.step(), device)?;
    let mut outcome = Outcome::Complete;
    while gan.step() < schedule.steps {
        let batch = upload.next()?;
        reporter.warn_of(upload.take_skipped());
        let step = gan.train_step(&batch.images, &batch.labels);
        let output = step.inspect_err(|_| reporter.fail(gan)).map_err(explain)?;

        let mut due = schedule.due(gan.step());
        let is_interrupted = interrupt.is_set() && gan.step() < schedule.steps;
        let is_interrupted = gan.communicator().decide(is_interrupted)?;
        due.stats |= is_interrupted;
        if let Err(error) = reporter.report(gan, output, due) {
            let rescued = rescue(gan, directory, &mut reporter, due);
            return Err(match rescued {
                Ok(()) => {
                    error.context(format!("stopped at step {}, its checkpoint written", gan.step()))
                }
                Err(_) => error,
            });
        }
        if is_interrupted {
            outcome = Outcome::Interrupted;
            break;
        }
        if due.checkpoint {
            save(gan, directory, &reporter)?;
        }
    }
    reporter.end_progress();
    save(gan, directory, &reporter)?;
    directory.clear_stop()?;
    Ok((outcome, reporter.finish()?))
}

/// Trains as a rank that reports nothing: rank 0 decides when to end.
///
/// # Errors
/// A loss that is not finite; a rank that failed.
pub(crate) fn follow(
    gan: &mut Gan,
    batches: Batches,
    steps: u64,
    device: &Device,
) -> Result<Outcome> {
    Interrupt::leave_to_first_rank()?;
    let mut upload = Upload::new(batches, gan.step(), device)?;
    let mut outcome = Outcome::Complete;
    while gan.step() < steps {
        let batch = upload.next()?;
        let step = gan.train_step(&batch.images, &batch.labels);
        step.inspect_err(|error| {
            if error.is_shared() {
                // Rank 0 has it too, reports it, and ends this one.
                let _ = gan.communicator().barrier();
            }
        })?;
        if gan.communicator().decide(false)? {
            outcome = Outcome::Interrupted;
            break;
        }
    }
    // The others receive from this one until its last exchange is over.
    device.synchronize()?;
    Ok(outcome)
}

/// Writes the checkpoint of the current step, and the generator.
///
/// # Errors
/// Parameters that are not finite, which must not replace a good checkpoint.
fn save(gan: &Gan, directory: &RunDirectory, reporter: &Reporter) -> Result<()> {
    gan.check_parameters().map_err(explain)?;
    checkpoint::save(gan, &directory.checkpoints())?;
    reporter.save_generator(gan)
}

/// Writes what a run lacks whose steps are all made, and returns its names: a session can end between
/// the last checkpoint and the files after it.
///
/// # Errors
/// Parameters that are not finite; files that cannot be written.
pub(crate) fn complete(
    gan: &Gan,
    config: &TrainConfig,
    directory: &RunDirectory,
) -> Result<Vec<&'static str>> {
    gan.check_parameters().map_err(explain)?;
    checkpoint::prune(&directory.checkpoints())?;
    let generator = &gan.ema_generator()?;
    let samples = &grid::samples_input(generator, config.seed)?;
    let lines = statistics::read(&directory.stats())?;
    let quality = statistics::quality_at(&lines, gan.step());
    let card = ModelCard { config, step: gan.step(), quality };
    let weights = gan.ema_parameters();
    let saved = SavedGenerator { generator, weights, samples, card };
    let saved = saved.write_if_other(directory, &directory.generator())?;
    let sampled = reporter::sample_if_missing(directory, (generator, samples), gan.step())?;
    let drawn = statistics::draw_if_other(directory)?;
    let written = [(saved, "generator"), (sampled, "sample grid"), (drawn, "curves")];
    Ok(written.into_iter().filter(|(is_written, _)| *is_written).map(|(_, name)| name).collect())
}

/// Saves the checkpoint when a report could not be written.
///
/// # Errors
/// A checkpoint that cannot be written, or one that would leave a gap in the statistics: the run then
/// continues from the checkpoint before.
fn rescue(gan: &Gan, directory: &RunDirectory, reporter: &mut Reporter, due: Due) -> Result<()> {
    // A run that was moved or removed must not reappear in part.
    ensure!(directory.config().exists(), "{}: the run is gone", directory.path().display());
    reporter.rescue(gan, due)?;
    save(gan, directory, reporter)
}
