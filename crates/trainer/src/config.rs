//! The resolved configuration: everything that decides what a run computes, checked once.

use crate::args::{PrecisionName, TrainArgs};
use crate::data;
use crate::recipe::{
    AdamConfig, Decay, Length, Recipe, Regularization, Thresholds, UpdateRule, default_stats_every,
};
use anyhow::{Context, Result, bail, ensure};
use gan_data::folder::{Colour, Options};
use gan_data::{Batches, ImageShape, Source, Split};
use gan_models::{
    Augmentation, ClassCondition, DiscriminatorConfig, GanLoss, GeneratorConfig, Layer,
};
use serde::{Deserialize, Serialize};

/// What a run computes: `config.json` of its folder. Two runs with the same configuration on the
/// same machine leave the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    /// The recipe's name.
    pub recipe: String,
    /// The file that it was in, where it is not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_file: Option<String>,
    /// Where the pictures come from.
    pub dataset: String,
    /// Rows and columns that the pictures of a folder are brought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Channels that the pictures of a folder are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// Classes asked for, in the order of their labels; none stands for all.
    pub classes: Vec<String>,
    /// Pictures of these classes.
    pub pictures: usize,
    /// Seed of weights, noise, shuffles and dropout.
    pub seed: u64,
    /// How exactly the CPU multiplies.
    #[serde(default = "PrecisionName::of_old_runs")]
    pub precision: PrecisionName,
    /// The step that training ends with.
    pub steps: u64,
    /// Pictures in a batch.
    pub batch_size: usize,
    /// How the two networks take turns.
    pub update: UpdateRule,
    /// What the networks play for.
    #[serde(default)]
    pub loss: GanLoss,
    /// The label of real pictures.
    pub real_label: f64,
    /// What keeps the discriminator in bounds.
    #[serde(default)]
    pub regularization: Regularization,
    /// When and how far the learning rates fall, over the recipe's length.
    #[serde(default)]
    pub lr_decay: Option<Decay>,
    /// Steps of the recipe's own length, whatever `steps` is.
    #[serde(default)]
    pub recipe_steps: u64,
    /// Decay of the generator's moving average.
    pub ema_decay: f64,
    /// Steps between two sample grids.
    pub sample_every: u64,
    /// Steps between two lines of statistics.
    #[serde(default = "default_stats_every")]
    pub stats_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Steps between two measurements of the generator's quality; 0 for none.
    #[serde(default)]
    pub measure_every: u64,
    /// The generator's optimizer.
    pub generator_adam: AdamConfig,
    /// The discriminator's optimizer.
    pub discriminator_adam: AdamConfig,
    /// The generator.
    pub generator: GeneratorConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
}

impl TrainConfig {
    /// Merges flags and recipe, and loads the pictures that both are checked against.
    ///
    /// # Errors
    /// Whatever does not fit together, naming the flag or key and what would be right.
    pub(crate) fn resolve(args: &TrainArgs) -> Result<(Self, Batches)> {
        let dataset = args.dataset.as_deref().unwrap_or("mnist");
        // A wrong name is told before pictures are read.
        let named = args.recipe.as_deref().map(Recipe::find).transpose()?;
        let source = data::source(dataset)?;
        let options = data::options(&source, &args.folder)?;
        let data = data::keep(data::load(&source, Split::Train, &options)?, &args.digit)?;
        let (name, mut recipe) = match named {
            Some(named) => named,
            None if data.classes().len() > 1 => Recipe::find("conditional")?,
            None => Recipe::find("default")?,
        };
        if let Some(batch_size) = args.batch_size {
            recipe.batch_size = batch_size;
        }
        if let Some(sample_every) = args.sample_every {
            recipe.sample_every = sample_every;
        }
        let adams = [&mut recipe.generator_adam, &mut recipe.discriminator_adam];
        for (adam, lr) in adams.into_iter().zip(args.lr.iter().chain(args.lr.last())) {
            adam.lr = *lr;
        }
        args.game.apply(&mut recipe);
        let shape = data.shape();
        check(&recipe)
            .and_then(|()| check_augmentation(recipe.regularization.augmentation, shape))
            .with_context(|| format!("recipe {name}"))?;
        let is_folder = matches!(source, Source::Folder(_));
        let seed = args.seed.unwrap_or(0);
        let batches = Batches::new(data, recipe.batch_size, seed)?;
        let data = batches.dataset();
        let image = (shape.channels, shape.height, shape.width).into();
        let classes = data.classes().len();
        let condition =
            recipe.condition.filter(|_| classes > 1).map(|by| ClassCondition { classes, by });
        let networks = recipe
            .network
            .generator(image, data.classes().to_vec(), condition.is_some())
            .and_then(|generator| Ok((generator, recipe.network.discriminator(image, condition)?)));
        let (generator, discriminator) =
            networks.with_context(|| format!("recipe {name} on {dataset}"))?;
        let drops = |layer: &Layer| matches!(layer, Layer::Dropout(_));
        ensure!(
            recipe.regularization.gradient_penalty == 0.0
                || !discriminator.layers.iter().any(drops),
            "recipe {name}: gradient_penalty compares two answers of the discriminator, which \
             dropout makes differ by itself; use one of the two"
        );
        let config = Self {
            recipe_file: args.recipe.clone().filter(|recipe| *recipe != name),
            recipe: name,
            dataset: dataset.to_string(),
            size: is_folder.then_some(options.size),
            colour: is_folder.then(|| Colour::of(shape.channels)),
            classes: if args.digit.is_empty() { Vec::new() } else { data.classes().to_vec() },
            pictures: data.len(),
            seed,
            precision: args.precision,
            steps: length(args).unwrap_or(recipe.length).steps(&batches),
            batch_size: recipe.batch_size,
            update: recipe.update,
            loss: recipe.loss,
            real_label: recipe.real_label,
            regularization: recipe.regularization,
            lr_decay: recipe.lr_decay,
            recipe_steps: recipe.length.steps(&batches),
            ema_decay: recipe.ema_decay,
            sample_every: recipe.sample_every,
            stats_every: recipe.stats_every,
            checkpoint_every: recipe.checkpoint_every,
            measure_every: recipe.measure_every,
            generator_adam: recipe.generator_adam,
            discriminator_adam: recipe.discriminator_adam,
            generator,
            discriminator,
        };
        ensure!(config.steps > 0, "0 steps: --steps or --epochs must lead to at least 1");
        Ok((config, batches))
    }

    /// The pictures of a run that goes on, and its configuration with a new end.
    ///
    /// # Errors
    /// Data that is gone or has changed.
    pub(crate) fn resume(mut self, args: &TrainArgs) -> Result<(Self, Batches)> {
        let source = data::source(&self.dataset)?;
        let size = self.size.unwrap_or(Options::SIZE);
        let options = Options::new().size(size).colour(self.colour).strict(args.folder.strict);
        let data = data::keep(data::load(&source, Split::Train, &options)?, &self.classes)?;
        let batches = Batches::new(data, self.batch_size, self.seed)?;
        ensure!(
            batches.dataset().len() == self.pictures,
            "{} has {} pictures of these classes now, the run began with {}",
            self.dataset,
            batches.dataset().len(),
            self.pictures
        );
        ensure!(
            batches.dataset().classes() == self.generator.classes,
            "{} has classes {} now, the run began with {}",
            self.dataset,
            batches.dataset().classes().join(", "),
            self.generator.classes.join(", ")
        );
        if let Some(length) = length(args) {
            self.steps = length.steps(&batches);
        }
        Ok((self, batches))
    }

    /// What a run of this configuration is called, after its number.
    pub(crate) fn title(&self) -> String {
        let mut parts = vec![self.dataset.as_str()];
        let classes = self.classes.join("+");
        if !classes.is_empty() {
            parts.push(&classes);
        }
        parts.push(&self.recipe);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "+._-".contains(c) { c } else { '-' };
        parts.join("-").chars().map(plain).collect()
    }
}

/// The length that the flags ask for.
fn length(args: &TrainArgs) -> Option<Length> {
    args.steps.map(Length::Steps).or(args.epochs.map(Length::Epochs))
}

impl Length {
    fn steps(self, batches: &Batches) -> u64 {
        match self {
            Self::Epochs(epochs) => batches.steps(epochs),
            Self::Steps(steps) => steps,
        }
    }
}

fn check(recipe: &Recipe) -> Result<()> {
    ensure!(
        recipe.sample_every > 0 && recipe.checkpoint_every > 0 && recipe.stats_every > 0,
        "sample_every, stats_every and checkpoint_every must be at least 1 step"
    );
    if let UpdateRule::Separate(separate) = recipe.update {
        let Thresholds { real, fake, generator } = separate.only_above;
        for threshold in [real, fake, generator].into_iter().flatten() {
            ensure!(threshold.is_finite(), "only_above: {threshold} must be finite");
        }
        ensure!(
            recipe.batch_size > 1 || !separate.half_batches,
            "batch size 1: half_batches needs at least 2 pictures to halve"
        );
        ensure!(
            recipe.regularization.gradient_penalty == 0.0,
            "gradient_penalty belongs to updates on real pictures and fakes together; with \
             \"separate\" ones, leave it at 0"
        );
    }
    ensure!(
        recipe.real_label > 0.0 && recipe.real_label <= 1.0,
        "real_label {} must be above 0 and at most 1",
        recipe.real_label
    );
    ensure!(
        (0.0..1.0).contains(&recipe.ema_decay),
        "ema_decay {} must be at least 0 and below 1",
        recipe.ema_decay
    );
    ensure!(
        recipe.real_label == 1.0 || recipe.loss.has_labels(),
        "real_label {}: this loss has no labels to smooth; leave it at 1",
        recipe.real_label
    );
    if let Some(decay) = recipe.lr_decay {
        ensure!(
            (0.0..1.0).contains(&decay.from) && decay.to > 0.0 && decay.to <= 1.0,
            "lr_decay: from {} must be at least 0 and below 1, to {} above 0 and at most 1",
            decay.from,
            decay.to
        );
    }
    let Regularization { gradient_penalty, spectral_norm, augmentation } = recipe.regularization;
    ensure!(
        recipe.loss != GanLoss::Wasserstein || gradient_penalty + spectral_norm > 0.0,
        "the Wasserstein loss needs a bound on the discriminator: gradient_penalty or spectral_norm"
    );
    let strengths = [
        ("gradient_penalty", gradient_penalty),
        ("spectral_norm", spectral_norm),
        ("noise", f64::from(augmentation.noise)),
    ];
    for (name, value) in strengths {
        ensure!(value >= 0.0 && value.is_finite(), "{name} {value} must be at least 0 and finite");
    }
    for adam in [recipe.generator_adam, recipe.discriminator_adam] {
        if !(adam.lr > 0.0 && adam.lr.is_finite()) {
            bail!("learning rate {} must be above 0 and finite", adam.lr);
        }
        if ![adam.beta1, adam.beta2].iter().all(|beta| (0.0..1.0).contains(beta)) {
            bail!("beta1 {} and beta2 {} must be at least 0 and below 1", adam.beta1, adam.beta2);
        }
    }
    Ok(())
}

/// Checks that something is left of pictures of this shape.
fn check_augmentation(augmentation: Augmentation, shape: ImageShape) -> Result<()> {
    let side = shape.height.min(shape.width);
    let Augmentation { translation, cutout, .. } = augmentation;
    ensure!(
        translation < side && cutout < side,
        "translation {translation} and cutout {cutout} must be below the pictures' {side} pixels"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several classes are told apart by default, one is not; a recipe may leave it.
    #[test]
    fn the_recipe_follows_from_the_classes() -> Result<()> {
        let resolve = |digits: &[&str], recipe: Option<&str>| {
            let digit = digits.iter().map(|digit| digit.to_string()).collect();
            let recipe = recipe.map(String::from);
            TrainConfig::resolve(&TrainArgs { digit, recipe, ..TrainArgs::default() })
        };
        for (digits, recipe, name, conditional) in [
            (&["5"][..], None, "default", false),
            (&["5", "7"], None, "conditional", true),
            (&[], None, "conditional", true),
            (&["5"], Some("conditional"), "conditional", false),
            (&[], Some("default"), "default", false),
        ] {
            let (config, _) = resolve(digits, recipe)?;
            assert_eq!((config.recipe.as_str(), config.generator.conditional), (name, conditional));
            assert_eq!(config.discriminator.condition.is_some(), conditional);
        }
        Ok(())
    }

    /// What runs of earlier versions wrote can be taken up.
    #[test]
    fn keys_that_came_later_have_their_old_meaning() -> Result<()> {
        let args = TrainArgs { digit: vec!["5".to_string()], ..TrainArgs::default() };
        let (config, _) = TrainConfig::resolve(&args)?;
        let mut old = serde_json::to_value(&config)?;
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
        let read: TrainConfig = serde_json::from_value(old)?;
        assert_eq!((read.loss, read.lr_decay), (GanLoss::NonSaturating, None));
        assert_eq!((read.precision, read.measure_every), (PrecisionName::Highest, 0));
        assert_eq!(read.stats_every, 50);
        assert_eq!(read.regularization, Regularization::default());
        Ok(())
    }
}
