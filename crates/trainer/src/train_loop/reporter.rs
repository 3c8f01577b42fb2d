//! Writes the reports of a run: statistics, sample grids, measurements and progress.

use crate::cli::values::ProgressName;
use crate::config::TrainConfig;
use crate::quality::MIN_IMAGES;
use crate::quality::monitor::QualityMonitor;
use crate::quality::recognizer::TrainedOn;
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::run::generator::SavedGenerator;
use crate::run::grid;
use crate::run::model_card::ModelCard;
use crate::run::record::{Quality, StatsLine};
use crate::run::statistics::Statistics;
use crate::train_loop::advice::Advice;
use crate::train_loop::explain::explain;
use crate::train_loop::images::TrainingImages;
use crate::train_loop::progress::Progress;
use crate::train_loop::schedule::{Due, Measurement, Schedule};
use anyhow::{Result, bail, ensure};
use candle_core::Tensor;
use gan_models::Generator;
use gan_training::{Gan, StepOutput, StepStats};
use std::path::PathBuf;

/// Measures a generator.
type Monitor = Box<dyn Fn(&Generator) -> Result<Quality>>;

/// Writes the reports of a session.
pub(crate) struct Reporter<'a> {
    directory: &'a RunDirectory,
    config: &'a TrainConfig,
    statistics: Statistics,
    progress: Progress,
    advice: Advice,
    monitor: Option<Monitor>,
    /// Number of measurements that failed.
    failed: usize,
    /// The generator's input of the sample grids.
    samples: Tensor,
    /// The EMA generator, which follows the training.
    generator: Generator,
    /// Steps since the last line of statistics.
    window: Vec<StepStats>,
    /// The last of them, still on the device.
    unread: Vec<StepOutput>,
    steps_per_epoch: f64,
}

impl<'a> Reporter<'a> {
    /// Opens the files, and writes the sample grid of the step that the session begins at where it
    /// is due and missing.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn begin(
        directory: &'a RunDirectory,
        config: &'a TrainConfig,
        images: &TrainingImages,
        gan: &Gan,
        progress: ProgressName,
    ) -> Result<Self> {
        let schedule = Schedule::new(config);
        let first_step = if gan.step() == 0 { 0 } else { gan.step() + 1 };
        let mut statistics = Statistics::open(directory, first_step)?;
        let samples = grid::samples_input(gan.generator(), config.seed)?;
        let generator = gan.ema_generator()?;
        if schedule.samples_at_start(gan.step()) && !grid_path(directory, gan.step()).exists() {
            write_grid(directory, (&generator, &samples), gan.step(), &mut statistics)?;
        }
        let real = directory.real();
        if !real.exists() {
            let by_class = generator.config().conditional;
            grid::write_real(&real, images.training()?, by_class)?;
        }
        let monitor = match schedule.measures() {
            true => monitor(images, &generator, config),
            false => None,
        };
        if schedule.measures() && monitor.is_none() {
            tracing::info!(
                "quality is not measured: that takes {MIN_IMAGES} images or more, with sides of 8 to \
                 256 pixels"
            );
        }
        let steps_per_epoch = images.batches.steps_per_epoch();
        let steps = (gan.step(), config.steps);
        let progress = Progress::new(progress, steps, config.training.batch_size, steps_per_epoch);
        Ok(Self {
            directory,
            config,
            statistics,
            progress,
            advice: Advice::new(&config.training),
            monitor,
            failed: 0,
            samples,
            generator,
            window: Vec::new(),
            unread: Vec::new(),
            steps_per_epoch,
        })
    }

    /// Reports a step.
    ///
    /// # Errors
    /// Files that cannot be written; parameters that are not finite, where they are measured.
    pub(crate) fn report(&mut self, gan: &Gan, output: StepOutput, due: Due) -> Result<()> {
        self.unread.push(output);
        if self.progress.is_due(gan.step()) {
            self.read(gan)?;
            if let Some(stats) = self.window.last() {
                self.progress.show(gan.step(), stats);
            }
        }
        let quality = match due.measure {
            Some(measurement) => self.measure(gan, measurement)?,
            None => None,
        };
        let is_measured = due.measure.is_some() && self.monitor.is_some();
        if due.stats || is_measured {
            self.read(gan)?;
            let line = StatsLine { quality, ..self.line(gan) };
            self.window.clear();
            if let Some(advice) = self.advice.of_line(&line) {
                self.progress.warn(&advice);
            }
            self.statistics.add(line)?;
        }
        if due.sample {
            let samples = (&self.generator, &self.samples);
            write_grid(self.directory, samples, gan.step(), &mut self.statistics)?;
        }
        Ok(())
    }

    /// Warns of images that are left out.
    pub(crate) fn warn_of(&self, skipped: Vec<gan_data::Error>) {
        for error in skipped {
            self.progress.warn(&format!("left out: {:#}", anyhow::Error::from(error)));
        }
    }

    /// Completes the statistics up to the current step, whose report failed, so that a session can
    /// continue from it without a gap.
    ///
    /// # Errors
    /// Statistics that cannot be written; a measurement that is not made.
    pub(crate) fn rescue(&mut self, gan: &Gan, due: Due) -> Result<()> {
        if self.statistics.last_step() != Some(gan.step()) {
            let is_measured = due.measure.is_some() && self.monitor.is_some();
            ensure!(!is_measured, "step {} is not measured", gan.step());
            self.read(gan)?;
            let line = self.line(gan);
            self.statistics.keep(line);
        }
        self.statistics.repair()
    }

    /// Writes the statistics up to the last step before one that failed.
    pub(crate) fn fail(&mut self, gan: &Gan) {
        if self.read(gan).is_ok() && !self.window.is_empty() {
            // The failure of the step is the one to report.
            let line = self.line(gan);
            let _ = self.statistics.add(line).and_then(|()| self.statistics.draw());
        }
    }

    /// Copies the statistics of the last steps from the device.
    fn read(&mut self, gan: &Gan) -> Result<()> {
        for output in self.unread.drain(..) {
            self.window.push(gan.read_stats(&output).map_err(explain)?);
        }
        Ok(())
    }

    /// Writes the generator of the current step.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn save_generator(&self, gan: &Gan) -> Result<()> {
        let quality = self.statistics.quality_at(gan.step());
        self.saved(gan, quality).write(&self.directory.generator())
    }

    fn saved<'b>(&'b self, gan: &'b Gan, quality: Option<&'b Quality>) -> SavedGenerator<'b> {
        SavedGenerator {
            generator: &self.generator,
            weights: gan.ema_parameters(),
            samples: &self.samples,
            card: ModelCard { config: self.config, step: gan.step(), quality },
        }
    }

    /// Ends the progress bar.
    pub(crate) fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Draws the curves of all steps. Returns the number of measurements that failed.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn finish(mut self) -> Result<usize> {
        self.statistics.draw()?;
        Ok(self.failed)
    }

    /// The statistics since the last line.
    fn line(&self, gan: &Gan) -> StatsLine {
        let speed = self.progress.images_per_second(gan.step());
        let line = StatsLine::new(gan.step(), self.steps_per_epoch, &self.window, speed);
        StatsLine { augmentation_probability: gan.augmentation_probability(), ..line }
    }

    /// Measures the generator, and keeps it if it is the best so far. A measurement that fails is a
    /// warning, never the end of training.
    fn measure(&mut self, gan: &Gan, measurement: Measurement) -> Result<Option<Quality>> {
        let Some(monitor) = &self.monitor else { return Ok(None) };
        gan.check_parameters().map_err(explain)?;
        let quality = match monitor(&self.generator) {
            Ok(quality) => quality,
            Err(error) => {
                self.failed += 1;
                let text = format!("step {} is not measured: {error:#}", gan.step());
                self.progress.warn(&text);
                return Ok(None);
            }
        };
        let checkpoints = self.directory.checkpoints();
        let best =
            checkpoint::best_step(&checkpoints).and_then(|best| self.statistics.distance_at(best));
        let is_best = best.is_none_or(|best| quality.distance.improves_on(best));
        if measurement == Measurement::Regular && is_best {
            checkpoint::save_best(gan, &checkpoints)?;
            let best = self.directory.best_generator();
            self.saved(gan, Some(&quality)).write(&best)?;
        }
        self.progress.measured(gan.step(), &quality);
        if let Some(advice) = self.advice.of_measurement(is_best) {
            self.progress.note(&advice);
        }
        Ok(Some(quality))
    }
}

/// The monitor that compares with these real images, if they can be measured. If it cannot be
/// prepared, every measurement fails.
fn monitor(
    images: &TrainingImages,
    generator: &Generator,
    config: &TrainConfig,
) -> Option<Monitor> {
    match QualityMonitor::new(images, generator, config.seed) {
        Ok(monitor) => {
            let monitor = monitor?;
            if config.generator.conditional && !monitor.recognises() {
                let TrainConfig { dataset, classes, holdout, .. } = config;
                let shape = images.batches.images().shape();
                let trained_on = TrainedOn { dataset, shape, classes, holdout: *holdout };
                tracing::info!(
                    "classes are not recognised yet; a classifier is trained by {}",
                    trained_on.command()
                );
            }
            Some(Box::new(move |generator| monitor.measure(generator)))
        }
        Err(error) => {
            let reason = format!("{error:#}");
            Some(Box::new(move |_| bail!("{reason}")))
        }
    }
}

fn grid_path(directory: &RunDirectory, step: u64) -> PathBuf {
    directory.samples().join(format!("{step:06}.png"))
}

/// Writes the sample grid of the current step, and shows it in TensorBoard.
fn write_grid(
    directory: &RunDirectory,
    samples: (&Generator, &Tensor),
    step: u64,
    statistics: &mut Statistics,
) -> Result<()> {
    let path = grid_path(directory, step);
    grid::write(&path, samples)?;
    statistics.sample(step, &path)
}

/// Writes the sample grid of the last step if it is missing. Returns whether it was.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn sample_if_missing(
    directory: &RunDirectory,
    samples: (&Generator, &Tensor),
    step: u64,
) -> Result<bool> {
    let path = grid_path(directory, step);
    let is_missing = !path.exists();
    if is_missing {
        grid::write(&path, samples)?;
    }
    Ok(is_missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::NewRunOptions;
    use crate::config::resolve::resolved;
    use crate::run::record::Distance;
    use candle_core::Device;

    fn quality(distance: f64) -> Quality {
        let distance = Distance::Digits(distance);
        let (precision, recall) = (0.5, 0.5);
        Quality { images: 9, distance, precision, recall, accuracy: None, collapse: None }
    }

    /// What is due in a step that is measured.
    const MEASURED: Due =
        Due { measure: Some(Measurement::Regular), stats: false, sample: false, checkpoint: false };

    fn small_run() -> Result<(TrainConfig, TrainingImages)> {
        let mut run = NewRunOptions::default();
        run.data.classes.digit = vec!["5".to_string()];
        run.recipe = Some("mlp-small".to_string());
        run.batch_size = Some(8);
        let (config, batches) = resolved(run)?;
        Ok((config, TrainingImages { batches, held_out: None }))
    }

    /// A measurement that fails is a line without quality; the next one counts again. One whose best
    /// checkpoint cannot be written is made again later.
    #[test]
    fn a_failed_measurement_is_a_gap() -> Result<()> {
        let place = tempfile::tempdir()?;
        let (config, mut images) = small_run()?;
        let directory = RunDirectory::create(place.path(), &config)?;
        let mut gan = config.gan(&Device::Cpu)?;
        let mut reporter =
            Reporter::begin(&directory, &config, &images, &gan, ProgressName::Plain)?;
        for fails in [true, false, true] {
            let batch = images.batches.batch(gan.step())?;
            let output = gan.train_step(&batch.images, &batch.labels)?;
            reporter.monitor = Some(match fails {
                true => Box::new(|_| bail!("no eigenvalues")),
                false => Box::new(|_| Ok(quality(3.0))),
            });
            reporter.report(&gan, output, MEASURED)?;
        }
        // The best checkpoint cannot be written, so the line of step 4 lacks its measurement: it must
        // be made again, from the checkpoint before.
        reporter.monitor = Some(Box::new(|_| Ok(quality(2.0))));
        let batch = images.batches.batch(gan.step())?;
        let output = gan.train_step(&batch.images, &batch.labels)?;
        let (checkpoints, away) = (directory.checkpoints(), directory.path().join("away"));
        std::fs::rename(&checkpoints, &away)?;
        std::fs::write(&checkpoints, "in the way")?;
        assert!(reporter.report(&gan, output, MEASURED).is_err());
        assert!(reporter.rescue(&gan, MEASURED).is_err());
        std::fs::remove_file(&checkpoints)?;
        std::fs::rename(away, checkpoints)?;
        assert_eq!(reporter.finish()?, 2);
        let text = std::fs::read_to_string(directory.stats())?;
        let measured: Vec<bool> = text.lines().map(|line| line.contains("quality")).collect();
        assert_eq!(measured, [false, true, false]);
        assert_eq!(checkpoint::best_step(&directory.checkpoints()), Some(2));
        Ok(())
    }

    /// The best step of a run whose earlier measurements are by another network is replaced.
    #[test]
    fn distances_of_another_network_begin_anew() -> Result<()> {
        let place = tempfile::tempdir()?;
        let (config, mut images) = small_run()?;
        let directory = RunDirectory::create(place.path(), &config)?;
        let mut gan = config.gan(&Device::Cpu)?;
        let mut reporter =
            Reporter::begin(&directory, &config, &images, &gan, ProgressName::Plain)?;
        let distances = [
            Distance::Digits(1.0),
            Distance::Digits(2.0),
            Distance::Random(9.0),
            Distance::Random(9.5),
        ];
        for (distance, best) in distances.into_iter().zip([1, 1, 3, 3]) {
            let batch = images.batches.batch(gan.step())?;
            let output = gan.train_step(&batch.images, &batch.labels)?;
            reporter.monitor = Some(Box::new(move |_| Ok(Quality { distance, ..quality(0.0) })));
            reporter.report(&gan, output, MEASURED)?;
            assert_eq!(checkpoint::best_step(&directory.checkpoints()), Some(best));
        }
        Ok(())
    }
}
