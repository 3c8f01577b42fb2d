//! Merges options, recipe and data set into the configuration of a run.
//!
//! [`Request::new`] looks up the names that were typed, [`Request::resolve`] merges flags, recipe and
//! what the data set holds. Neither reads an image.

use super::{ShardsConfig, TrainConfig};
use crate::cli::train::{LossOptions, NewRunOptions, SessionOptions, TrainArgs};
use crate::dataset::{self, Selection};
use crate::recipe;
use anyhow::{Context, Result, anyhow, ensure};
use gan_data::folder::Colour;
use gan_data::shards::{BUFFER, Shards};
use gan_data::{DatasetInfo, ImageShape, Source};
use gan_models::{ClassCondition, DiscriminatorConfig, GeneratorConfig};
use gan_training::{Recipe, Regularization, TrainingLength};

/// The options of a run with all names looked up. The data set is not read yet.
pub(crate) struct Request<'a> {
    run: &'a NewRunOptions,
    length: Option<TrainingLength>,
    /// The recipe and its name.
    recipe: Option<(String, Recipe)>,
    data: Selection,
    /// The ranks that the run begins with.
    ranks: usize,
}

impl<'a> Request<'a> {
    /// Looks up the recipe and the data set.
    ///
    /// # Errors
    /// An unknown name; a recipe file that cannot be read.
    pub(crate) fn new(args: &'a TrainArgs) -> Result<Self> {
        if args.run.loss.gradient_penalty.is_some() {
            tracing::warn!("--gradient-penalty is called --r1-gamma now; the scale is the same");
        }
        Ok(Self {
            run: &args.run,
            length: length(&args.session),
            recipe: args.run.recipe.as_deref().map(recipe::find).transpose()?,
            data: Selection::new(&args.run.data, args.session.strict.strict)?,
            ranks: 1,
        })
    }

    /// The same for a run that begins on several ranks.
    pub(crate) fn on_ranks(self, ranks: usize) -> Self {
        Self { ranks, ..self }
    }

    /// Returns the chosen data set.
    pub(crate) fn data(&self) -> &Selection {
        &self.data
    }

    /// Merges flags and recipe, for a data set that holds `info`.
    ///
    /// # Errors
    /// Values that do not fit together, naming the flag or key and what would be right.
    pub(crate) fn resolve(self, info: &DatasetInfo) -> Result<TrainConfig> {
        let Self { run, length, recipe, data, ranks } = self;
        let (name, mut recipe) = match recipe {
            Some(named) => named,
            None => recipe::find(recipe::default_for(info))?,
        };
        recipe = recipe::set(recipe, &run.set).with_context(|| format!("recipe {name}"))?;
        run.apply(&mut recipe);
        if run.micro_batches.is_none() && recipe.training.micro_batches == 1 {
            let batch_size = recipe.training.batch_size;
            ensure!(
                batch_size.is_multiple_of(ranks),
                "batch size {batch_size}: {ranks} ranks need equal parts of it; --batch-size {} fits",
                batch_size.next_multiple_of(ranks)
            );
            recipe.training.micro_batches = ranks;
        }
        let holdout = dataset::holdout(data.source(), run.holdout, info)?;
        let (info, held_out) = &info.clone().hold_out(holdout.unwrap_or(0.0))?;
        let shape = info.shape();
        let (generator, discriminator) = networks(&recipe, info)
            .with_context(|| format!("recipe {name} on {}", data.source()))?;
        check_batch_size(recipe.training.batch_size, info, *held_out)
            .map_err(|error| anyhow!("{error}; --batch-size {} fits", info.images()))?;
        let steps =
            |length: TrainingLength| steps(length, info.images(), recipe.training.batch_size);
        let mut training = recipe.training;
        training.schedule_steps = match recipe.training.schedule_steps {
            0 => steps(recipe.length),
            chosen => chosen,
        };
        let config = TrainConfig {
            recipe_file: run.recipe.clone().filter(|recipe| *recipe != name),
            recipe: name,
            set: run.set.clone(),
            init_from: run.init_from.as_deref().map(std::path::absolute).transpose()?,
            dataset: data.source().to_string(),
            size: data.size(),
            colour: data.size().map(|_| Colour::of(shape.channels)),
            holdout,
            shards: shards(data.shards(), run.shuffle_buffer, data.source())?,
            classes: match data.classes() {
                [] => Vec::new(),
                _ => info.classes().to_vec(),
            },
            images: info.images(),
            seed: run.seed.or_zero(),
            precision: run.precision.precision.unwrap_or_default(),
            steps: steps(length.unwrap_or(recipe.length)),
            schedule: recipe.schedule,
            training,
            generator,
            discriminator,
        };
        config.check().with_context(|| format!("recipe {}", config.recipe))?;
        ensure!(config.steps > 0, "0 steps: --steps or --epochs must lead to at least 1");
        Ok(config)
    }
}

/// Returns the data set of a run that is resumed.
///
/// # Errors
/// A data set that this program does not know; shards that have changed.
pub(crate) fn data_of(config: &TrainConfig, session: &SessionOptions) -> Result<Selection> {
    let TrainConfig { dataset, size, colour, classes, .. } = config;
    let data = Selection::of_run(dataset, *size, *colour, classes, session.strict.strict)?;
    if let (Some(shards), Some(known)) = (data.shards(), &config.shards) {
        shards.check(&known.files)?;
    }
    Ok(data)
}

/// Returns the configuration of a run that is resumed, with a new number of steps.
///
/// # Errors
/// A data set that has changed since the run began.
pub(crate) fn resume(
    mut config: TrainConfig,
    session: &SessionOptions,
    info: &DatasetInfo,
) -> Result<TrainConfig> {
    let (info, held_out) = &info.clone().hold_out(config.holdout.unwrap_or(0.0))?;
    ensure!(
        info.images() == config.images,
        "{} has {} images of these classes now, the run began with {}",
        config.dataset,
        info.images(),
        config.images
    );
    ensure!(
        info.classes() == config.generator.classes,
        "{} has classes {} now, the run began with {}",
        config.dataset,
        info.classes().join(", "),
        config.generator.classes.join(", ")
    );
    check_batch_size(config.training.batch_size, info, *held_out)?;
    if let Some(length) = length(session) {
        config.steps = steps(length, info.images(), config.training.batch_size);
    }
    Ok(config)
}

/// Returns the files of a sharded set, and the size of its shuffle buffer.
///
/// # Errors
/// A shuffle buffer of no image, or for images that are not sharded.
fn shards(
    shards: Option<&Shards>,
    buffer: Option<usize>,
    source: &Source,
) -> Result<Option<ShardsConfig>> {
    ensure!(buffer != Some(0), "--shuffle-buffer 0: it must hold at least 1 image");
    ensure!(
        shards.is_some() || buffer.is_none(),
        "--shuffle-buffer: all images of {source} are shuffled; it goes with --dataset shards:DIR"
    );
    let files = |shards: &Shards| ShardsConfig {
        shuffle_buffer: buffer.unwrap_or(BUFFER),
        files: shards.fingerprints(),
    };
    Ok(shards.map(files))
}

/// Returns the training length that the flags set.
fn length(session: &SessionOptions) -> Option<TrainingLength> {
    session.steps.map(TrainingLength::Steps).or(session.epochs.map(TrainingLength::Epochs))
}

/// Returns the number of steps of a training length, rounded up to whole steps.
fn steps(length: TrainingLength, images: usize, batch_size: usize) -> u64 {
    match length {
        TrainingLength::Steps(steps) => steps,
        TrainingLength::Epochs(epochs) => {
            let steps = (u128::from(epochs) * images as u128).div_ceil(batch_size as u128);
            steps.try_into().unwrap_or(u64::MAX)
        }
    }
}

impl NewRunOptions {
    /// Applies the flags to a recipe.
    fn apply(&self, recipe: &mut Recipe) {
        let Recipe { schedule, training, .. } = recipe;
        training.batch_size = self.batch_size.unwrap_or(training.batch_size);
        training.micro_batches = self.micro_batches.unwrap_or(training.micro_batches);
        schedule.sample_every = self.sample_every.unwrap_or(schedule.sample_every);
        let adams = [&mut training.generator_adam, &mut training.discriminator_adam];
        for (adam, lr) in adams.into_iter().zip(self.lr.iter().chain(self.lr.last())) {
            adam.lr = *lr;
        }
        self.loss.apply(recipe);
    }
}

impl LossOptions {
    /// Applies the flags to a recipe.
    fn apply(&self, recipe: &mut Recipe) {
        let training = &mut recipe.training;
        let Regularization { r1_gamma, spectral_norm, augmentation, .. } =
            &mut training.regularization;
        *r1_gamma = self.r1_gamma.or(self.gradient_penalty).unwrap_or(*r1_gamma);
        *spectral_norm = self.spectral_norm.unwrap_or(*spectral_norm);
        augmentation.translation = self.translation.unwrap_or(augmentation.translation);
        augmentation.cutout = self.cutout.unwrap_or(augmentation.cutout);
        augmentation.noise = self.instance_noise.unwrap_or(augmentation.noise);
        if let Some(condition) = self.condition {
            recipe.condition = condition.into();
        }
        if let Some(loss) = self.loss {
            training.loss = loss.into();
            if !training.loss.has_labels() {
                training.real_label = 1.0;
            }
        }
    }
}

/// Returns the networks of a recipe for a data set.
fn networks(recipe: &Recipe, info: &DatasetInfo) -> Result<(GeneratorConfig, DiscriminatorConfig)> {
    let ImageShape { channels, height, width } = info.shape();
    let image = (channels, height, width).into();
    let classes = info.classes().len();
    let condition =
        recipe.condition.filter(|_| classes > 1).map(|by| ClassCondition::new(classes, by));
    let generator =
        recipe.network.generator(image, info.classes().to_vec(), condition.is_some())?;
    Ok((generator, recipe.network.discriminator(image, condition)?))
}

/// Checks that the images to train on fill a batch.
fn check_batch_size(batch_size: usize, info: &DatasetInfo, held_out: usize) -> Result<()> {
    let beside = match held_out {
        0 => String::new(),
        count => format!("; {count} more are held out, see --holdout"),
    };
    ensure!(
        batch_size <= info.images(),
        "batch size {batch_size} exceeds the {} images of {}{beside}",
        info.images(),
        info.name()
    );
    Ok(())
}

/// The configuration of these options and the batches of the images asked for.
#[cfg(test)]
pub(crate) fn resolved(run: NewRunOptions) -> Result<(TrainConfig, gan_data::Batches)> {
    let args = TrainArgs { run, ..TrainArgs::default() };
    let request = Request::new(&args)?;
    let dataset = request.data().load(gan_data::Split::Train)?;
    let config = request.resolve(&DatasetInfo::of_images(&dataset)?)?;
    let batches = gan_data::Batches::new(
        std::sync::Arc::new(dataset),
        config.training.batch_size,
        config.seed,
    )?;
    Ok((config, batches))
}

/// The configuration of these options for MNIST.
#[cfg(test)]
pub(crate) fn configuration(digit: &[&str], recipe: Option<&str>) -> Result<TrainConfig> {
    let mut args = TrainArgs::default();
    args.run.data.classes.digit = digit.iter().map(|digit| digit.to_string()).collect();
    args.run.recipe = recipe.map(String::from);
    let request = Request::new(&args)?;
    let info = request.data().info(gan_data::Split::Train)?;
    request.resolve(&info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::values::PrecisionName;
    use gan_data::Batches;
    use gan_training::GanLoss;

    /// By default the networks are conditioned on the class where there are several; a recipe may
    /// leave it out.
    #[test]
    fn the_recipe_follows_from_the_classes() -> Result<()> {
        for (digits, recipe, name, conditional) in [
            (&["5"][..], None, "default", false),
            (&["5", "7"], None, "conditional", true),
            (&[], None, "conditional", true),
            (&["5"], Some("conditional"), "conditional", false),
            (&[], Some("default"), "default", false),
        ] {
            let config = configuration(digits, recipe)?;
            assert_eq!((config.recipe.as_str(), config.generator.conditional), (name, conditional));
            assert_eq!(config.discriminator.condition.is_some(), conditional);
        }
        Ok(())
    }

    /// A configuration that version 0.1.0 wrote, with all hyperparameters at the top, is today's of
    /// the same options.
    #[test]
    fn a_flat_configuration_is_read() -> Result<()> {
        let today = configuration(&["5"], None)?;
        let read = TrainConfig::from_json(FLAT)?;
        assert_eq!(read, TrainConfig { seed: 3, steps: 200, ..today });
        let written = serde_json::to_vec(&read)?;
        assert_eq!(TrainConfig::from_json(&written)?, read);
        Ok(())
    }

    const FLAT: &[u8] = include_bytes!("../../testdata/flat-config.json");

    /// Keys that later versions added have the meaning that runs had before.
    #[test]
    fn keys_that_came_later_have_their_old_meaning() -> Result<()> {
        let mut old: serde_json::Value = serde_json::from_slice(FLAT)?;
        let later = [
            "precision",
            "loss",
            "regularization",
            "lr_decay",
            "recipe_steps",
            "measure_every",
            "stats_every",
        ];
        for key in later {
            assert!(old.as_object_mut().and_then(|old| old.remove(key)).is_some(), "{key}");
        }
        let TrainConfig { precision, training, schedule, .. } =
            TrainConfig::from_json(&serde_json::to_vec(&old)?)?;
        assert_eq!((training.loss, training.lr_decay), (GanLoss::NonSaturating, None));
        assert_eq!((precision, schedule.measure_every), (PrecisionName::Highest, 0));
        assert_eq!(schedule.stats_every, 50);
        assert_eq!(training.regularization, Regularization::default());
        Ok(())
    }

    /// Steps are counted as the batches count them.
    #[test]
    fn epochs_become_steps() -> Result<()> {
        let (config, batches) = resolved(NewRunOptions::default())?;
        let images = batches.images().len();
        for epochs in [0, 1, 7, u64::MAX] {
            let want = batches.steps(epochs);
            assert_eq!(
                steps(TrainingLength::Epochs(epochs), images, config.training.batch_size),
                want
            );
        }
        assert_eq!(steps(TrainingLength::Steps(3), images, config.training.batch_size), 3);
        let dataset = batches.images().in_memory()?.clone();
        assert_eq!(
            Batches::new(dataset, images, 0)?.steps(2),
            steps(TrainingLength::Epochs(2), images, images)
        );
        Ok(())
    }
}
