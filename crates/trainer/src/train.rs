//! The training loop: schedule, samples, checkpoints and reports around the step.

use crate::args::TrainArgs;
use crate::checkpoint;
use crate::config::TrainConfig;
use crate::describe;
use crate::device;
use crate::gan::{Gan, Stream};
use crate::progress::{Progress, duration};
use crate::quality::{Quality, Watch};
use crate::run_folder::{DEFAULT_RUNS, RunFolder};
use crate::statistics::{Statistics, StatsLine};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use gan_data::{Batches, ImageShape, png, range};
use gan_models::Pass;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Pictures in a row of a sample grid.
const GRID_COLUMNS: usize = 10;
/// Rows of a sample grid, where classes are not told apart.
const GRID_ROWS: usize = 10;

/// Exit code of a program stopped by Ctrl-C, as shells have it: a command after `&&` does not
/// take an unfinished run for a finished one.
pub const INTERRUPTED: u8 = 130;

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are made.
    Complete,
    /// Stopped by the user; a checkpoint is written.
    Interrupted,
}

/// Trains, and prints where everything is.
///
/// # Errors
/// Bad input before anything is written; files that cannot be written; a loss that is no longer
/// finite.
pub(crate) fn train(args: &TrainArgs, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    let pool = device::pool(args.threads)?;
    // The loop runs inside the pool, so that its kernels find a worker without waking one.
    pool.install(|| Session::begin(args)?.run(args, print))
}

/// A run in progress.
struct Session {
    config: TrainConfig,
    batches: Batches,
    gan: Gan,
    device: Device,
    /// The run that goes on.
    resumed: Option<RunFolder>,
}

impl Session {
    fn begin(args: &TrainArgs) -> Result<Self> {
        let device = device::device(args.device)?;
        let (resumed, (config, batches)) = match &args.resume {
            None => (None, TrainConfig::resolve(args)?),
            Some(path) => {
                let (folder, config) = RunFolder::open(path)?;
                (Some(folder), config.resume(args)?)
            }
        };
        device::set_precision(config.precision);
        let networks = (&config.generator, Some(&config.discriminator));
        let device = device::trusted(device, args.device, networks.0, networks.1)?;
        let mut gan =
            Gan::new(&config, &device).with_context(|| format!("recipe {}", config.recipe))?;
        if let Some(folder) = &resumed {
            checkpoint::restore_newest(&mut gan, &folder.checkpoints(), &device)?;
            ensure!(
                gan.step < config.steps,
                "{}: step {} is made already; --steps or --epochs must lead beyond it, not to {}",
                folder.path().display(),
                gan.step,
                config.steps
            );
        }
        Ok(Self { config, batches, gan, device, resumed })
    }

    fn run(mut self, args: &TrainArgs, print: &mut (dyn Write + Send)) -> Result<Outcome> {
        if args.dry_run {
            return self.describe(print);
        }
        let folder = match self.resumed.take() {
            Some(folder) => {
                folder.rewind(self.gan.step)?;
                folder.write_config(&self.config)?;
                folder
            }
            None => {
                let runs = args.out.clone().unwrap_or_else(|| DEFAULT_RUNS.into());
                RunFolder::create(&runs, &self.config)?
            }
        };
        self.announce(&folder);
        let started = Instant::now();
        let first_step = self.gan.step;
        let outcome = self.steps(&folder)?;
        let seconds = started.elapsed().as_secs_f64();
        self.conclude(&folder, outcome, self.gan.step - first_step, seconds, print)?;
        Ok(outcome)
    }

    /// Prints what would be trained.
    fn describe(&self, print: &mut (dyn Write + Send)) -> Result<Outcome> {
        writeln!(print, "{}", serde_json::to_string_pretty(&self.config)?)?;
        describe::networks(&self.config, print)?;
        Ok(Outcome::Complete)
    }

    fn announce(&self, folder: &RunFolder) {
        let TrainConfig { dataset, pictures, steps, batch_size, recipe, .. } = &self.config;
        tracing::info!(
            "{recipe}: {pictures} pictures of {dataset}, steps {} to {steps} of batch {batch_size}, \
             seed {}, {}",
            self.gan.step,
            self.config.seed,
            device::describe(&self.device, rayon::current_num_threads())
        );
        tracing::info!("run folder {}", folder.path().display());
    }

    fn steps(&mut self, folder: &RunFolder) -> Result<Outcome> {
        let interrupted = interrupt_flag()?;
        let first_step = if self.gan.step == 0 { 0 } else { self.gan.step + 1 };
        let mut statistics = Statistics::open(folder, first_step)?;
        let samples = self.samples_input()?;
        // At the beginning, or where the grid of the checkpoint's step could not be written.
        let is_due = self.gan.step.is_multiple_of(self.config.sample_every);
        if is_due && !self.sample_path(folder).exists() {
            self.sample(folder, &samples, &mut statistics)?;
        }
        let measure_every = self.config.measure_every;
        let steps = self.config.steps;
        // Shorter runs are not worth the preparation.
        let watch = match (1..=steps).contains(&measure_every) {
            true => Watch::new(self.batches.dataset(), &self.gan.average, self.config.seed)?,
            false => None,
        };
        if watch.is_none() && (1..=steps).contains(&measure_every) {
            tracing::info!(
                "quality is not measured: that takes some grey pictures of 28x28 pixels"
            );
        }
        let steps_per_epoch = self.batches.steps_per_epoch();
        let mut progress =
            Progress::new(self.gan.step, steps, self.config.batch_size, steps_per_epoch);
        let mut window = Vec::new();
        let mut outcome = Outcome::Complete;
        while self.gan.step < steps {
            let mut batch = self.batches.batch(self.gan.step)?;
            batch.images = batch.images.to_device(&self.device)?;
            let stats = self.gan.train_step(&batch).inspect_err(|_| {
                // How it came to that; the first error is the one to report.
                if let [.., _] = window[..] {
                    let (step, speed) = (self.gan.step, progress.images_per_second(self.gan.step));
                    let line = StatsLine::new(step, steps_per_epoch, &window, speed);
                    let _ = statistics.add(line).and_then(|()| statistics.draw());
                }
            })?;
            let step = self.gan.step;
            progress.update(step, &stats);
            window.push(stats);
            let interrupt = interrupted.load(Ordering::Relaxed) && step < steps;
            let mut report = || -> Result<()> {
                let quality = match &watch {
                    Some(watch) if step.is_multiple_of(measure_every) || step == steps => {
                        let quality = self.measure(watch, folder, &statistics)?;
                        progress.measured(&quality);
                        Some(quality)
                    }
                    _ => None,
                };
                let report =
                    step.is_multiple_of(self.config.stats_every) || step == steps || interrupt;
                if report || quality.is_some() {
                    let speed = progress.images_per_second(step);
                    let line = StatsLine::new(step, steps_per_epoch, &window, speed);
                    statistics.add(StatsLine { quality, ..line })?;
                    window.clear();
                }
                if step.is_multiple_of(self.config.sample_every) || step == steps {
                    self.sample(folder, &samples, &mut statistics)?;
                }
                Ok(())
            };
            report().map_err(|error| self.rescue(folder, error))?;
            if interrupt {
                outcome = Outcome::Interrupted;
                break;
            }
            if step.is_multiple_of(self.config.checkpoint_every) && step < steps {
                self.save(folder)?;
            }
        }
        drop(progress);
        self.save(folder)?;
        statistics.draw()?;
        Ok(outcome)
    }

    /// A report that cannot be written ends training; what was learnt is kept if it can be.
    fn rescue(&self, folder: &RunFolder, error: anyhow::Error) -> anyhow::Error {
        // A run that was moved or removed is not to come back in part.
        if folder.config().exists() && self.save(folder).is_ok() {
            return error
                .context(format!("stopped at step {}, its checkpoint written", self.gan.step));
        }
        error
    }

    /// Measures the generator, and keeps it if it is the best so far.
    fn measure(
        &self,
        watch: &Watch,
        folder: &RunFolder,
        statistics: &Statistics,
    ) -> Result<Quality> {
        self.gan.check_parameters()?;
        let quality = watch.measure(&self.gan.average)?;
        let best = checkpoint::best_step(&folder.checkpoints())
            .and_then(|best| statistics.distance_at(best));
        // Where a session happens to end must not decide what is kept.
        let counts = self.gan.step.is_multiple_of(self.config.measure_every);
        if counts && best.is_none_or(|best| quality.frechet < best) {
            checkpoint::save_best(&self.gan, &folder.checkpoints())?;
            self.gan.average.save(self.gan.ema.parameters(), folder.best_generator())?;
        }
        Ok(quality)
    }

    /// What the sample grids are made from, the same all along; where the class can be chosen, the
    /// pictures of a row share theirs.
    fn samples_input(&self) -> Result<Tensor> {
        let generator = &self.gan.generator;
        let config = generator.config();
        let rows = if config.conditional { config.classes.len() } else { GRID_ROWS };
        let labels: Vec<u32> =
            (0..rows * GRID_COLUMNS).map(|i| (i / GRID_COLUMNS) as u32).collect();
        let noise = generator.noise(labels.len(), &mut Stream::Samples.rng(self.config.seed))?;
        Ok(generator.input(&noise, &labels)?)
    }

    fn sample_path(&self, folder: &RunFolder) -> PathBuf {
        folder.samples().join(format!("{:06}.png", self.gan.step))
    }

    /// Writes the sample grid of the current step.
    fn sample(
        &self,
        folder: &RunFolder,
        input: &Tensor,
        statistics: &mut Statistics,
    ) -> Result<()> {
        let images = self.gan.average.forward(input, Pass::Infer)?;
        let path = self.sample_path(folder);
        write_grid(&path, &images, GRID_COLUMNS)?;
        statistics.sample(self.gan.step, &path)
    }

    /// Writes the checkpoint of the current step, and the generator for use.
    ///
    /// # Errors
    /// Parameters that are not finite, which must not take the place of a good checkpoint.
    fn save(&self, folder: &RunFolder) -> Result<()> {
        self.gan.check_parameters()?;
        checkpoint::save(&self.gan, &folder.checkpoints())?;
        Ok(self.gan.average.save(self.gan.ema.parameters(), folder.generator())?)
    }

    fn conclude(
        &self,
        folder: &RunFolder,
        outcome: Outcome,
        steps: u64,
        seconds: f64,
        print: &mut (dyn Write + Send),
    ) -> Result<()> {
        let path = folder.path().display();
        let images = steps as f64 * self.config.batch_size as f64;
        let rate = images / seconds.max(1e-9);
        if outcome == Outcome::Interrupted {
            writeln!(
                print,
                "stopped at step {} of {}, checkpoint written; go on with\n  \
                 cargo run -p trainer -- --resume {path}",
                self.gan.step, self.config.steps
            )?;
            return Ok(());
        }
        let epochs = self.gan.step as f64 / self.batches.steps_per_epoch();
        let count = std::fs::read_dir(folder.samples()).map_or(0, Iterator::count);
        let best = match checkpoint::best_step(&folder.checkpoints()) {
            Some(step) => format!("best        {path}/best-generator, of step {step}\n"),
            None => String::new(),
        };
        writeln!(
            print,
            "trained to step {} ({epochs:.1} epochs): {steps} steps in {}, {rate:.0} images/s\n\
             run         {path}\n\
             samples     {path}/samples, {count} grids, the last {:06}.png\n\
             generator   {path}/generator\n{best}\
             next:\n  \
             cargo xtask gif --run {path}\n  \
             cargo xtask report --run {path}\n  \
             cargo run -p trainer -- generate --run {path} --count 100 --format grid --out digits.png\n  \
             cargo run -p trainer -- --resume {path} --steps {}",
            self.gan.step,
            duration(seconds),
            self.gan.step,
            2 * self.gan.step
        )?;
        Ok(())
    }
}

/// Writes pictures (B, C, H, W) in [-1, 1] as one PNG.
fn write_grid(path: &Path, images: &Tensor, columns: usize) -> Result<()> {
    let (_, channels, height, width) = images.dims4()?;
    let pixels = range::to_bytes(images)?;
    Ok(png::write_grid(path, ImageShape { channels, height, width }, &pixels, columns)?)
}

/// Becomes true at Ctrl-C; a second one ends the program at once.
fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let handler = flag.clone();
    ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        tracing::info!("finishing the step; Ctrl-C again stops at once");
    })
    .context("watching for Ctrl-C")?;
    Ok(flag)
}
