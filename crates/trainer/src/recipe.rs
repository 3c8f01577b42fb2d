//! Recipes: named presets that are compiled in, or files of the same form.

use anyhow::{Context, Result, anyhow, bail};
use gan_models::{Augmentation, Conditioning, Family, GanLoss};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The recipes that are compiled in: name and text.
const BUILT_IN: [(&str, &str); 7] = [
    ("default", include_str!("../configs/default.toml")),
    ("conditional", include_str!("../configs/conditional.toml")),
    ("dcgan", include_str!("../configs/dcgan.toml")),
    ("ezgan", include_str!("../configs/ezgan.toml")),
    ("mlp", include_str!("../configs/mlp.toml")),
    ("mlp-bn", include_str!("../configs/mlp-bn.toml")),
    ("mlp-small", include_str!("../configs/mlp-small.toml")),
];

/// Everything about a training run except its data, seed and machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// When training ends.
    pub length: Length,
    /// Images in a batch.
    pub batch_size: usize,
    /// The order of the two networks' updates.
    pub update: UpdateRule,
    /// The loss of both networks.
    #[serde(default)]
    pub loss: GanLoss,
    /// The label of real images: 1, or a little less (one-sided label smoothing).
    pub real_label: f64,
    /// Regularisation of the discriminator.
    #[serde(default)]
    pub regularization: Regularization,
    /// How both networks are conditioned on the class, where there are several; without it they are
    /// unconditional.
    #[serde(default)]
    pub condition: Option<Conditioning>,
    /// Decay of the generator's moving average, per step; 0 for none.
    pub ema_decay: f64,
    /// When and how far the learning rates fall.
    #[serde(default)]
    pub lr_decay: Option<Decay>,
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
    /// The two networks.
    pub network: Family,
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Length {
    /// When every image has been seen this often.
    Epochs(u64),
    /// After this many steps, however many images there are.
    Steps(u64),
}

/// Linear decay of the learning rates over the last part of a recipe's length; after it they stay. A
/// shorter run is therefore the beginning of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decay {
    /// The fraction of the length after which they fall.
    pub from: f64,
    /// The final rate, as a fraction of the full one.
    pub to: f64,
}

impl Decay {
    /// The fraction of the full rate when this fraction of the length is done.
    pub(crate) fn share(self, done: f64) -> f64 {
        let fallen = ((done - self.from) / (1.0 - self.from)).clamp(0.0, 1.0);
        1.0 - fallen * (1.0 - self.to)
    }
}

/// Regularisation of the discriminator; all of it is off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Regularization {
    /// Gamma of the R1 penalty at real images
    /// ([`gan_models::losses::slope_penalty`], by finite differences).
    pub gradient_penalty: f64,
    /// Largest spectral norm of each of its weights ([`gan_models::bound_spectral_norms`]); 0 for no
    /// limit.
    pub spectral_norm: f64,
    /// Augmentation of the images it sees.
    pub augmentation: Augmentation,
}

/// Steps between two lines of statistics, where a recipe does not say.
pub(crate) fn default_stats_every() -> u64 {
    50
}

/// The order of the two networks' updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UpdateRule {
    /// The discriminator is updated on real and fake images, then the generator, on fresh latents,
    /// against the updated discriminator.
    Alternating,
    /// Both are updated from the same pass over the same fake images.
    Simultaneous,
    /// Three updates: of the discriminator on real images, of the discriminator on fake ones, then of
    /// the generator on fresh latents.
    Separate(Separate),
}

/// Settings of separate updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Separate {
    /// Whether the discriminator sees half of a batch of each.
    pub half_batches: bool,
    /// Each update is skipped unless its loss is above this.
    pub only_above: Thresholds,
}

/// Losses up to which an update is skipped; without one it never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Thresholds {
    /// The discriminator's on real images.
    pub real: Option<f32>,
    /// The discriminator's on fake images.
    pub fake: Option<f32>,
    /// The generator's.
    pub generator: Option<f32>,
}

/// Settings of Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
}

impl AdamConfig {
    /// Adam with these settings.
    pub(crate) fn adam(self) -> gan_models::Adam {
        gan_models::Adam {
            learning_rate: self.lr,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: 1e-8,
        }
    }
}

/// Names of the recipes that are compiled in, and what each is for.
pub(crate) fn built_in() -> impl Iterator<Item = (&'static str, String)> {
    BUILT_IN.iter().map(|(name, text)| (*name, summary(text)))
}

/// The comment that a recipe begins with, as one line.
fn summary(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
    lines.join(" ")
}

impl Recipe {
    /// The recipe of this name, or in this file (`NAME.toml`), and what to call it.
    ///
    /// # Errors
    /// An unknown name (lists the known ones); a file that cannot be read; a missing or unknown
    /// key, named with its line.
    pub(crate) fn find(name: &str) -> Result<(String, Self)> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Ok((name.to_string(), parse(text).with_context(|| format!("recipe {name}"))?));
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let known = BUILT_IN.map(|(name, _)| name).join(", ");
            bail!(
                "--recipe {name}: no such recipe; there are {known}, or name a file ending in .toml"
            );
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("--recipe {name}"))?;
        let recipe = parse(&text).with_context(|| format!("--recipe {name}"))?;
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok((stem.into_owned(), recipe))
    }
}

/// Reads a recipe; an error is one line, with the line of the text that it is about.
fn parse(text: &str) -> Result<Recipe> {
    toml::from_str(text).map_err(|error: toml::de::Error| match error.span() {
        Some(span) => {
            let line = text[..span.start].matches('\n').count() + 1;
            anyhow!("line {line}: {}", error.message())
        }
        None => anyhow!("{}", error.message()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_models::{Momentum, Norm};

    #[test]
    fn every_built_in_recipe_is_whole() -> Result<()> {
        for (name, text) in BUILT_IN {
            let (found, recipe) = Recipe::find(name)?;
            assert_eq!(found, name);
            // What is written is what is read.
            let written = serde_json::to_string(&recipe)?;
            assert_eq!(serde_json::from_str::<Recipe>(&written)?, recipe);
            assert!(!summary(text).is_empty(), "{name} says what it is");
        }
        Ok(())
    }

    #[test]
    fn momentum_may_be_in_keras_convention() -> Result<()> {
        let (_, recipe) = Recipe::find("mlp-bn")?;
        let Family::Mlp(mlp) = recipe.network else { unreachable!("dense networks") };
        let momentum = Momentum(0.2);
        assert_eq!(mlp.generator.norm, Norm::Batch { epsilon: 1e-3, momentum });
        Ok(())
    }

    #[test]
    fn rates_fall_on_a_straight_line_and_stay() {
        let decay = Decay { from: 0.5, to: 0.2 };
        let shares = [0.0, 0.5, 0.75, 1.0, 4.0].map(|done| decay.share(done));
        for (share, want) in shares.into_iter().zip([1.0, 1.0, 0.6, 0.2, 0.2]) {
            assert!((share - want).abs() < 1e-12, "{share}, not {want}");
        }
    }

    #[test]
    fn an_error_names_its_line() {
        let text = BUILT_IN[0].1.replace("batch_size = 32", "batchsize = 32");
        let line = 1 + text[..text.find("batchsize").expect("replaced")].matches('\n').count();
        let error = parse(&text).expect_err("an unknown key").to_string();
        assert!(error.starts_with(&format!("line {line}: unknown field `batchsize`")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn unknown_names_list_the_known() {
        let error = format!("{:#}", Recipe::find("dfault").expect_err("a typing error"));
        assert!(
            error.contains("--recipe dfault") && error.contains("default, conditional, dcgan"),
            "{error}"
        );
    }
}
