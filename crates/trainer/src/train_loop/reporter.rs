//! Reports of a run: statistics, sample grids, measurements, progress.

use crate::config::TrainConfig;
use crate::gan::{Gan, StepStats, Stream};
use crate::quality::monitor::QualityMonitor;
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::run::record::{Quality, StatsLine};
use crate::run::statistics::Statistics;
use crate::train_loop::progress::Progress;
use crate::train_loop::schedule::{Due, Measurement, Schedule};
use anyhow::Result;
use candle_core::Tensor;
use gan_data::{Batches, ImageShape, picture, range};
use gan_models::{Generator, Pass};
use std::path::PathBuf;

/// Images in a row of a sample grid.
const GRID_COLUMNS: usize = 10;
/// Rows of a sample grid, unless the generator is conditional.
const GRID_ROWS: usize = 10;

/// Writes what a session reports.
pub(crate) struct Reporter<'a> {
    directory: &'a RunDirectory,
    statistics: Statistics,
    progress: Progress,
    monitor: Option<QualityMonitor>,
    /// The generator's input of the sample grids.
    samples: Tensor,
    /// Steps since the last line of statistics.
    window: Vec<StepStats>,
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
        config: &TrainConfig,
        batches: &Batches,
        gan: &Gan,
    ) -> Result<Self> {
        let schedule = Schedule::new(config);
        let first_step = if gan.step == 0 { 0 } else { gan.step + 1 };
        let mut statistics = Statistics::open(directory, first_step)?;
        let samples = samples_input(&gan.generator, config.seed)?;
        if schedule.samples_at_start(gan.step) && !grid_path(directory, gan.step).exists() {
            write_grid(directory, gan, &samples, &mut statistics)?;
        }
        let monitor = match schedule.measures() {
            true => QualityMonitor::new(batches.dataset(), &gan.average, config.seed)?,
            false => None,
        };
        if schedule.measures() && monitor.is_none() {
            tracing::info!("quality is not measured: that takes some grey images of 28x28 pixels");
        }
        let steps_per_epoch = batches.steps_per_epoch();
        let progress = Progress::new(gan.step, config.steps, config.batch_size, steps_per_epoch);
        let window = Vec::new();
        Ok(Self { directory, statistics, progress, monitor, samples, window, steps_per_epoch })
    }

    /// Reports a step.
    ///
    /// # Errors
    /// Files that cannot be written; parameters that are not finite, where they are measured.
    pub(crate) fn report(&mut self, gan: &Gan, stats: StepStats, due: Due) -> Result<()> {
        self.progress.update(gan.step, &stats);
        self.window.push(stats);
        let quality = match due.measure {
            Some(measurement) => self.measure(gan, measurement)?,
            None => None,
        };
        if due.stats || quality.is_some() {
            let line = StatsLine { quality, ..self.line(gan.step) };
            self.statistics.add(line)?;
            self.window.clear();
        }
        if due.sample {
            write_grid(self.directory, gan, &self.samples, &mut self.statistics)?;
        }
        Ok(())
    }

    /// Writes the statistics up to the last step before one that failed.
    pub(crate) fn fail(&mut self, step: u64) {
        if !self.window.is_empty() {
            // The failure of the step is the one to report.
            let line = self.line(step);
            let _ = self.statistics.add(line).and_then(|()| self.statistics.draw());
        }
    }

    /// Ends the progress bar.
    pub(crate) fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Draws the curves of all steps.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.statistics.draw()
    }

    /// The statistics since the last line.
    fn line(&self, step: u64) -> StatsLine {
        let speed = self.progress.images_per_second(step);
        StatsLine::new(step, self.steps_per_epoch, &self.window, speed)
    }

    /// Measures the generator, and keeps it if it is the best so far.
    fn measure(&mut self, gan: &Gan, measurement: Measurement) -> Result<Option<Quality>> {
        let Some(monitor) = &self.monitor else { return Ok(None) };
        gan.check_parameters()?;
        let quality = monitor.measure(&gan.average)?;
        let checkpoints = self.directory.checkpoints();
        let best =
            checkpoint::best_step(&checkpoints).and_then(|best| self.statistics.distance_at(best));
        if measurement == Measurement::Regular && best.is_none_or(|best| quality.frechet < best) {
            checkpoint::save_best(gan, &checkpoints)?;
            gan.average.save(gan.ema.parameters(), self.directory.best_generator())?;
        }
        self.progress.measured(&quality);
        Ok(Some(quality))
    }
}

/// The generator's input of all sample grids. The images of a row share their class where the
/// generator is conditional.
fn samples_input(generator: &Generator, seed: u64) -> Result<Tensor> {
    let config = generator.config();
    let rows = if config.conditional { config.classes.len() } else { GRID_ROWS };
    let labels: Vec<u32> = (0..rows * GRID_COLUMNS).map(|i| (i / GRID_COLUMNS) as u32).collect();
    let latents = generator.noise(labels.len(), &mut Stream::Samples.rng(seed))?;
    Ok(generator.input(&latents, &labels)?)
}

fn grid_path(directory: &RunDirectory, step: u64) -> PathBuf {
    directory.samples().join(format!("{step:06}.png"))
}

/// Writes the sample grid of the current step.
fn write_grid(
    directory: &RunDirectory,
    gan: &Gan,
    samples: &Tensor,
    statistics: &mut Statistics,
) -> Result<()> {
    let images = gan.average.forward(samples, Pass::Infer)?;
    let (_, channels, height, width) = images.dims4()?;
    let shape = ImageShape { channels, height, width };
    let path = grid_path(directory, gan.step);
    picture::write_grid(&path, shape, &range::to_bytes(&images)?, GRID_COLUMNS)?;
    statistics.sample(gan.step, &path)
}
