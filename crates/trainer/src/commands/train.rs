//! `train`: starts or resumes a run.

mod budget;
mod describe;
mod facts;
#[cfg(feature = "serve")]
mod page;
mod resumed;

use crate::cli::train::TrainArgs;
use crate::cli::values::ProgressName;
use crate::commands::summary;
use crate::config::TrainConfig;
use crate::config::resolve::{self, Request};
use crate::dataset::Selection;
use crate::device;
use crate::format::duration;
use crate::ranks::Ranks;
use crate::recipe;
use crate::run::checkpoint;
use crate::run::directory::{CONFIG, DEFAULT_RUNS, RunDirectory};
use crate::run::init_from::init_from;
use crate::train_loop::images::TrainingImages;
use crate::train_loop::progress::event;
use crate::train_loop::{self, Outcome};
use anyhow::{Context, Result, ensure};
use candle_core::Device;
use describe::describe;
use facts::facts;
use gan_data::{Batches, DatasetInfo, Images, Split};
use gan_files::{Line, shell_path};
use gan_training::Gan;
use resumed::Resumed;
use serde_json::json;
use std::io::{Write, sink};
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "serve")]
use page::Page;

/// Trains, then prints the paths of the results.
///
/// # Errors
/// Bad input before anything is written; files that cannot be written; a loss that is not finite.
pub(crate) fn train(args: &TrainArgs, print: &mut (dyn Write + Send)) -> Result<Outcome> {
    let pool = device::pool(args.session.threads)?;
    let ranks = Ranks::start()?;
    // The loop runs inside the pool, so that its kernels find a worker without waking one.
    pool.install(|| {
        let laid_out = args.run.budget.map(|minutes| budget::lay_out(args, minutes, &ranks));
        let laid_out = ranks.agree(laid_out.transpose())?;
        let args = laid_out.as_ref().unwrap_or(args);
        let resumed = Resumed::read(&args.session, &ranks)?;
        match args.session.dry_run {
            true => ranks.agree(dry_run(args, resumed.as_ref(), &ranks, print)),
            false => run(args, resumed, &ranks, print),
        }
    })
}

/// Trains a session. With `--progress json`, events take the place of what is printed.
fn run(
    args: &TrainArgs,
    resumed: Option<Resumed>,
    ranks: &Ranks,
    print: &mut (dyn Write + Send),
) -> Result<Outcome> {
    let session = ranks.agree(Session::begin(args, resumed, ranks))?;
    if ranks.size() > 1 {
        let Session { config, images, gan, device, .. } = &session;
        let facts = ranks.agree(facts(config, images.batches.images(), gan, device))?;
        ranks.check_same(&facts)?;
    }
    ranks.end(match args.session.progress {
        _ if !ranks.is_first() => session.follow(),
        ProgressName::Json => session.run(args, &mut sink()),
        ProgressName::Auto | ProgressName::Plain => session.run(args, print),
    })
}

/// Prints the configuration and the networks' sizes, without reading images.
fn dry_run(
    args: &TrainArgs,
    resumed: Option<&Resumed>,
    ranks: &Ranks,
    print: &mut (dyn Write + Send),
) -> Result<Outcome> {
    let device = device::device(args.session.device.device)?;
    let config = configure(args, resumed, ranks, |data| data.info(Split::Train))?;
    networks(&config, resumed, args, device)?.0.with_communicator(ranks.communicator())?;
    if !ranks.is_first() {
        return Ok(Outcome::Complete);
    }
    writeln!(print, "{}", serde_json::to_string_pretty(&config)?)?;
    summary::networks(&config, print)?;
    Ok(Outcome::Complete)
}

/// The configuration of a new run or of the one that is resumed; `info` reads what the data set holds.
fn configure(
    args: &TrainArgs,
    resumed: Option<&Resumed>,
    ranks: &Ranks,
    info: impl FnOnce(&Selection) -> Result<DatasetInfo>,
) -> Result<TrainConfig> {
    match resumed {
        None => {
            let request = Request::new(args)?.on_ranks(ranks.size());
            let info = info(request.data())?;
            request.resolve(&info)
        }
        Some(Resumed { path, config, .. }) => {
            config.check().with_context(|| path.join(CONFIG).display().to_string())?;
            let info = info(&resolve::data_of(config, &args.session)?)?;
            resolve::resume(config.clone(), &args.session, &info)
        }
    }
}

/// The networks of the configuration, in the state of the run that is resumed, and their device.
fn networks(
    config: &TrainConfig,
    resumed: Option<&Resumed>,
    args: &TrainArgs,
    device: Device,
) -> Result<(Gan, Device)> {
    device::set_precision(config.precision);
    let name = args.session.device.device;
    let device = device::trusted(device, name, &config.generator, Some(&config.discriminator))?;
    let gan = match resumed.and_then(|resumed| resumed.checkpoint.as_ref()) {
        Some(checkpoint) => checkpoint.gan(config, &device)?,
        None => new_networks(config, &device)?,
    };
    if let Some(Resumed { path, .. }) = resumed {
        ensure!(
            gan.step() <= config.steps,
            "{}: step {} is made already; --steps or --epochs must lead to it or beyond, not to {}",
            path.display(),
            gan.step(),
            config.steps
        );
    }
    Ok((gan, device))
}

/// The networks before the first step.
fn new_networks(config: &TrainConfig, device: &Device) -> Result<Gan> {
    let mut gan = config.gan(device).with_context(|| format!("recipe {}", config.recipe))?;
    if let Some(place) = &config.init_from {
        init_from(&mut gan, place)?;
    }
    Ok(gan)
}

/// A training session.
struct Session {
    config: TrainConfig,
    images: TrainingImages,
    gan: Gan,
    device: Device,
    /// The run that is resumed, on rank 0.
    resumed: Option<RunDirectory>,
}

impl Session {
    /// Loads the images and makes or restores the networks.
    fn begin(args: &TrainArgs, resumed: Option<Resumed>, ranks: &Ranks) -> Result<Self> {
        let device = device::device(args.session.device.device)?;
        let mut images: Option<Images> = None;
        let config = configure(args, resumed.as_ref(), ranks, |data| {
            let loaded = images.insert(data.load(Split::Train)?);
            Ok(DatasetInfo::of_images(loaded)?)
        })?;
        let images = images.context("no images are loaded")?;
        if let Images::Memory(images) = &images {
            tracing::info!("{}: {}", config.dataset, describe(images)?);
        }
        let buffer = config.shards.as_ref().map_or(1, |shards| shards.shuffle_buffer);
        let images = images.with_buffer(buffer);
        let (images, held_out) = images.hold_out(config.holdout.unwrap_or(0.0))?;
        if let Some(held_out) = &held_out {
            tracing::info!("{} images are held out, to measure with", held_out.len());
        }
        let batches = Batches::new(Arc::new(images), config.training.batch_size, config.seed)?;
        let (gan, device) = networks(&config, resumed.as_ref(), args, device)?;
        let gan = gan.with_communicator(ranks.communicator())?;
        let images = TrainingImages { batches: batches.narrow(gan.own_images()), held_out };
        let resumed = resumed.and_then(|resumed| resumed.directory);
        Ok(Self { config, images, gan, device, resumed })
    }

    /// Trains as a rank that reports nothing.
    fn follow(mut self) -> Result<Outcome> {
        let batches = self.images.batches;
        train_loop::follow(&mut self.gan, batches, self.config.steps, &self.device)
    }

    /// Trains to the end or until it is interrupted.
    fn run(self, args: &TrainArgs, print: &mut (dyn Write + Send)) -> Result<Outcome> {
        let Self { config, images, mut gan, device, resumed } = self;
        let page = Page::bind(args)?;
        let directory = match resumed {
            Some(directory) => {
                directory.remove_leftovers()?;
                directory.truncate_after(gan.step())?;
                directory.write_config(&config)?;
                if gan.step() == config.steps {
                    let outcome = complete(&gan, &config, &directory, print)?;
                    if args.session.progress == ProgressName::Json {
                        ended(outcome, gan.step(), 0, &directory);
                    }
                    return Ok(outcome);
                }
                directory
            }
            None => {
                let runs = args.run.out.clone().unwrap_or_else(|| DEFAULT_RUNS.into());
                RunDirectory::create(&runs, &config)?
            }
        };
        let is_default = args.run.recipe.is_none() && args.session.resume.is_none();
        if let Some(images) = recipe::made_for(&config.recipe).filter(|_| is_default) {
            let name = &config.recipe;
            tracing::info!("recipe {name}, for {images}; --recipe NAME chooses another");
        }
        let progress = args.session.progress;
        announce(&config, &gan, &device, &directory);
        if progress == ProgressName::Json {
            started(&config, gan.step(), &directory);
        }
        page.show(&directory)?;
        let epoch = images.batches.steps_per_epoch();
        let (first, start) = (gan.step(), Instant::now());
        let (outcome, failed) =
            train_loop::train(&mut gan, images, &config, (&directory, &device), progress)?;
        let seconds = start.elapsed().as_secs_f64();
        if progress == ProgressName::Json {
            ended(outcome, gan.step(), failed, &directory);
        }
        if failed > 0 {
            writeln!(
                print,
                "{failed} measurements of this session failed, see the warnings; the curves have gaps \
                 there, and the best generator is the best of the others"
            )?;
        }
        if outcome == Outcome::Interrupted {
            writeln!(
                print,
                "stopped at step {} of {}, checkpoint written; continue with\n  \
                 cargo run -p trainer -- --resume {}",
                gan.step(),
                config.steps,
                shell_path(directory.path())
            )?;
            return Ok(outcome);
        }
        let (steps, epochs) = (gan.step() - first, gan.step() as f64 / epoch);
        let rate = steps as f64 * config.training.batch_size as f64 / seconds.max(1e-9);
        writeln!(
            print,
            "trained to step {} ({epochs:.1} epochs): {steps} steps in {}, {rate:.0} images/s",
            gan.step(),
            duration(seconds)
        )?;
        conclude(&directory, gan.step(), print)?;
        Ok(outcome)
    }
}

/// No page: the program is built without it.
#[cfg(not(feature = "serve"))]
struct Page;

#[cfg(not(feature = "serve"))]
impl Page {
    fn bind(_: &TrainArgs) -> Result<Self> {
        Ok(Self)
    }

    fn show(self, _: &RunDirectory) -> Result<()> {
        Ok(())
    }
}

/// Writes what a run lacks whose steps are all made, and prints what that was.
fn complete(
    gan: &Gan,
    config: &TrainConfig,
    directory: &RunDirectory,
    print: &mut (dyn Write + Send),
) -> Result<Outcome> {
    let (step, written) = (gan.step(), train_loop::complete(gan, config, directory)?);
    match &written[..] {
        [] => writeln!(print, "the run is complete: step {step} is made, and nothing is missing")?,
        names => writeln!(
            print,
            "the run is complete: step {step} is made; written now, because missing or out of date: {}",
            names.join(", ")
        )?,
    }
    conclude(directory, step, print)?;
    Ok(Outcome::Complete)
}

/// Logs the data, the device and the run directory.
fn announce(config: &TrainConfig, gan: &Gan, device: &Device, directory: &RunDirectory) {
    let TrainConfig { dataset, images, steps, training, recipe, seed, .. } = config;
    let parts = match (training.micro_batches, gan.communicator().size()) {
        (1, _) => String::new(),
        (count, 1) => format!(" in {count} micro-batches"),
        (count, ranks) => format!(" in {count} micro-batches on {ranks} ranks"),
    };
    tracing::info!(
        "{recipe}: {images} images of {dataset}, steps {} to {steps} of batch {}{parts}, seed {seed}, {}",
        gan.step(),
        training.batch_size,
        device::describe(device, rayon::current_num_threads())
    );
    tracing::info!("run directory {}", directory.path().display());
}

/// Prints the event of a session that begins, for programs.
fn started(config: &TrainConfig, step: u64, directory: &RunDirectory) {
    let fields = json!({
        "run": directory.path().display().to_string(),
        "step": step,
        "steps": config.steps,
        "batch_size": config.training.batch_size,
        "images": config.images,
    });
    event("start", fields);
}

/// Prints the event of a session that ends, for programs.
fn ended(outcome: Outcome, step: u64, failed: usize, directory: &RunDirectory) {
    let fields = json!({
        "run": directory.path().display().to_string(),
        "step": step,
        "complete": outcome == Outcome::Complete,
        "failed_measurements": failed,
    });
    event("end", fields);
}

/// Prints the paths of the results and commands that use them.
fn conclude(directory: &RunDirectory, step: u64, print: &mut (dyn Write + Send)) -> Result<()> {
    let (path, word) = (Line(directory.path().display()), shell_path(directory.path()));
    let count = std::fs::read_dir(directory.samples()).map_or(0, Iterator::count);
    let best = match checkpoint::best_step(&directory.checkpoints()) {
        Some(step) => format!("best        {path}/best-generator, of step {step}\n"),
        None => String::new(),
    };
    writeln!(
        print,
        "run         {path}\n\
         samples     {path}/samples, {count} grids, the last {step:06}.png\n\
         generator   {path}/generator\n{best}\
         next:\n  \
         cargo xtask gif --run {word}\n  \
         cargo xtask report --run {word}\n  \
         cargo run -p trainer -- generate --run {word} --count 100 --format grid --out digits.png\n  \
         cargo run -p trainer -- --resume {word} --steps {}",
        2 * step
    )?;
    Ok(())
}
