//! The configuration of a run: everything that determines its results.

pub(crate) mod resolve;

use crate::cli::values::PrecisionName;
use anyhow::{Result, ensure};
use candle_core::Device;
use gan_data::folder::{Colour, Size};
use gan_models::{DiscriminatorConfig, GeneratorConfig, Layer, total_memory};
use gan_training::{Gan, Hyperparameters, Intervals, Regularization, nest_flat_keys};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The configuration of a run, saved as `config.json` in its directory. Two runs with the same
/// configuration on the same machine write the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    /// The recipe's name.
    pub recipe: String,
    /// The recipe file, if the recipe is not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe_file: Option<String>,
    /// The recipe's values that `--set` changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The run or generator's directory whose networks this one starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// The data set, as `--dataset` names it.
    pub dataset: String,
    /// The size that the images of a directory are resized to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Channels of the images of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// Fraction of the images of a data set without test images that is held out from training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<f64>,
    /// The files of a sharded set, and how their images are shuffled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardsConfig>,
    /// The chosen classes, in the order of their labels. Empty means all.
    pub classes: Vec<String>,
    /// Number of images of these classes that are trained on.
    #[serde(alias = "pictures")]
    pub images: usize,
    /// Seed of weights, latents, shuffles and dropout.
    pub seed: u64,
    /// The precision of matrix products on the CPU.
    #[serde(default = "PrecisionName::of_old_runs")]
    pub precision: PrecisionName,
    /// Number of training steps.
    pub steps: u64,
    /// Intervals of reports and checkpoints.
    pub schedule: Intervals,
    /// The settings of the training step.
    pub training: Hyperparameters,
    /// The generator.
    pub generator: GeneratorConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
}

/// What determines the order of a sharded set's images, beside the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardsConfig {
    /// Number of images of the shuffle buffer.
    pub shuffle_buffer: usize,
    /// The name of each file, and a hash of its images' names, sizes and labels.
    pub files: BTreeMap<String, String>,
}

impl TrainConfig {
    /// Reads `config.json`, also in the form of earlier versions, which had the hyperparameters at
    /// the top.
    ///
    /// # Errors
    /// Text that is no configuration, naming the key.
    pub(crate) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        let mut value: Value = serde_json::from_slice(text)?;
        let is_flat = value.as_object_mut().is_some_and(nest_flat_keys);
        // From the text where that is possible, since errors then name their line.
        if is_flat { serde_json::from_value(value) } else { serde_json::from_slice(text) }
    }

    /// Checks the numbers, and that a batch fits into memory, before any of it is allocated.
    ///
    /// # Errors
    /// Values out of range; networks whose layers do not fit each other or the machine's memory; a
    /// batch whose activations do not.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { generator, discriminator, training, schedule, .. } = self;
        training.check((discriminator.image.height, discriminator.image.width))?;
        schedule.check()?;
        let drops = |layer: &Layer| layer.any(|layer| matches!(layer, Layer::Dropout(_)));
        let Regularization { r1_gamma, r2_gamma, .. } = training.regularization;
        ensure!(
            r1_gamma + r2_gamma == 0.0 || !discriminator.layers.iter().any(drops),
            "r1_gamma and r2_gamma compare two outputs of the discriminator, which dropout makes \
             differ by itself; use one of the two"
        );
        ensure!(
            training.frozen_layers < discriminator.layers.len(),
            "frozen_layers {}: the discriminator has {} layers, and at least one must learn",
            training.frozen_layers,
            discriminator.layers.len()
        );
        let layers = [generator.summary()?, discriminator.summary()?].concat();
        let values: u128 = layers
            .iter()
            .map(|layer| layer.output.len() as u128 + layer.inner_values as u128)
            .sum();
        let size = training.images_in_memory();
        let (bytes, memory) = (4 * values * size as u128, total_memory().into());
        ensure!(
            bytes <= memory,
            "batch size {}: the activations of {size} images take {:.1} GB, this machine has {:.1} GB; \
             lower --batch-size or raise --micro-batches",
            training.batch_size,
            bytes as f64 / 1e9,
            memory as f64 / 1e9
        );
        Ok(())
    }

    /// Creates the networks, as they are before the first step, of a configuration that is
    /// [checked](Self::check).
    ///
    /// # Errors
    /// Networks that cannot be built, or that the hyperparameters do not suit.
    pub(crate) fn gan(&self, device: &Device) -> Result<Gan> {
        let Self { generator, discriminator, training, seed, .. } = self;
        Ok(Gan::init(generator, discriminator, *training, *seed, device)?)
    }

    /// Returns the part of the run directory's name after the number.
    pub(crate) fn title(&self) -> String {
        // Of a directory its name alone, not its path.
        let name = |path: &str| Path::new(path).file_name()?.to_str().map(String::from);
        let dataset = match self.dataset.split_once(':').map(|(kind, path)| (kind, name(path))) {
            Some((kind, Some(name))) => format!("{kind}-{name}"),
            _ => self.dataset.clone(),
        };
        let mut parts = vec![dataset.as_str()];
        let classes = self.classes.join("+");
        if !classes.is_empty() {
            parts.push(&classes);
        }
        parts.push(&self.recipe);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "+._-".contains(c) { c } else { '-' };
        parts.join("-").chars().map(plain).collect()
    }
}
