//! The resolved configuration: everything that decides what a run computes, checked once.

use crate::args::{PrecisionName, TrainArgs};
use crate::recipe::{AdamConfig, Length, Recipe, UpdateRule};
use anyhow::{Context, Result, bail, ensure};
use gan_data::{Batches, Source, Split};
use gan_models::{DiscriminatorConfig, GeneratorConfig};
use serde::{Deserialize, Serialize};

/// What a run computes: `config.json` of its folder. Two runs with the same configuration on the
/// same machine leave the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    /// The recipe's name.
    pub recipe: String,
    /// Where the pictures come from.
    pub dataset: String,
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
    /// The label of real pictures.
    pub real_label: f64,
    /// Decay of the generator's moving average.
    pub ema_decay: f64,
    /// Steps between two sample grids.
    pub sample_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
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
        let (name, mut recipe) = Recipe::find(args.recipe.as_deref().unwrap_or("default"))?;
        if let Some(batch_size) = args.batch_size {
            recipe.batch_size = batch_size;
        }
        let adams = [&mut recipe.generator_adam, &mut recipe.discriminator_adam];
        for (adam, lr) in adams.into_iter().zip(args.lr.iter().chain(args.lr.last())) {
            adam.lr = *lr;
        }
        check(&recipe).with_context(|| format!("recipe {name}"))?;
        let dataset = args.dataset.as_deref().unwrap_or("mnist");
        let seed = args.seed.unwrap_or(0);
        let batches = load(dataset, &args.digit, recipe.batch_size, seed)?;
        let data = batches.dataset();
        let shape = data.shape();
        let image = (shape.channels, shape.height, shape.width).into();
        let networks = recipe
            .network
            .generator(image, data.classes().to_vec())
            .and_then(|generator| Ok((generator, recipe.network.discriminator(image)?)));
        let (generator, discriminator) =
            networks.with_context(|| format!("recipe {name} on {dataset}"))?;
        let config = Self {
            recipe: name,
            dataset: dataset.to_string(),
            classes: args.digit.clone(),
            pictures: data.len(),
            seed,
            precision: args.precision,
            steps: length(args).unwrap_or(recipe.length).steps(&batches),
            batch_size: recipe.batch_size,
            update: recipe.update,
            real_label: recipe.real_label,
            ema_decay: recipe.ema_decay,
            sample_every: recipe.sample_every,
            checkpoint_every: recipe.checkpoint_every,
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
        let batches = load(&self.dataset, &self.classes, self.batch_size, self.seed)?;
        ensure!(
            batches.dataset().len() == self.pictures,
            "{} has {} pictures of these classes now, the run began with {}",
            self.dataset,
            batches.dataset().len(),
            self.pictures
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

fn load(dataset: &str, classes: &[String], batch_size: usize, seed: u64) -> Result<Batches> {
    let source: Source = dataset.parse().context("--dataset")?;
    let mut data = source.load(Split::Train)?;
    if !classes.is_empty() {
        data = data.filter(classes)?;
    }
    Ok(Batches::new(data, batch_size, seed)?)
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
        recipe.sample_every > 0 && recipe.checkpoint_every > 0,
        "sample_every and checkpoint_every must be at least 1 step"
    );
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
