//! The configuration of a run: everything that decides what it computes, checked once.

pub(crate) mod resolve;

use crate::cli::values::PrecisionName;
use crate::recipe::{AdamConfig, Decay, Regularization, UpdateRule, default_stats_every};
use gan_data::folder::Colour;
use gan_models::{DiscriminatorConfig, GanLoss, GeneratorConfig};
use serde::{Deserialize, Serialize};

/// What a run computes: `config.json` of its directory. Two runs with the same configuration on the
/// same machine write the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    /// The recipe's name.
    pub recipe: String,
    /// The file that it was in, where it is not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_file: Option<String>,
    /// Where the images come from.
    pub dataset: String,
    /// Rows and columns that the images of a directory are resized to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Channels of the images of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// Classes asked for, in the order of their labels; none stands for all.
    pub classes: Vec<String>,
    /// Images of these classes.
    pub pictures: usize,
    /// Seed of weights, latents, shuffles and dropout.
    pub seed: u64,
    /// How precisely the CPU multiplies.
    #[serde(default = "PrecisionName::of_old_runs")]
    pub precision: PrecisionName,
    /// The step that training ends with.
    pub steps: u64,
    /// Images in a batch.
    pub batch_size: usize,
    /// The order of the two networks' updates.
    pub update: UpdateRule,
    /// The loss of both networks.
    #[serde(default)]
    pub loss: GanLoss,
    /// The label of real images.
    pub real_label: f64,
    /// Regularisation of the discriminator.
    #[serde(default)]
    pub regularization: Regularization,
    /// Linear decay of the learning rates, over the recipe's length.
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
    /// The name of a run of this configuration, after its number.
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
