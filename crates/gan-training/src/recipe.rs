//! Recipes: everything about a training run except its data, its seed and its machine.

use crate::error::{Error, Result};
use crate::hyperparameters::Hyperparameters;
use gan_models::{Architecture, Conditioning};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The recipes that are compiled in: name and text.
const BUILT_IN: [(&str, &str); 10] = [
    ("default", include_str!("../recipes/default.toml")),
    ("conditional", include_str!("../recipes/conditional.toml")),
    ("garments", include_str!("../recipes/garments.toml")),
    ("icons", include_str!("../recipes/icons.toml")),
    ("sprites", include_str!("../recipes/sprites.toml")),
    ("dcgan", include_str!("../recipes/dcgan.toml")),
    ("ezgan", include_str!("../recipes/ezgan.toml")),
    ("mlp", include_str!("../recipes/mlp.toml")),
    ("mlp-bn", include_str!("../recipes/mlp-bn.toml")),
    ("mlp-small", include_str!("../recipes/mlp-small.toml")),
];

/// A preset: networks, hyperparameters, length and intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// When training ends.
    pub length: TrainingLength,
    /// How both networks are conditioned on the class where the data set has several; without it
    /// they are unconditional.
    #[serde(default)]
    pub condition: Option<Conditioning>,
    /// How often a run reports and saves.
    pub schedule: Intervals,
    /// The settings of the training step.
    pub training: Hyperparameters,
    /// The two networks.
    pub network: Architecture,
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingLength {
    /// When every image has been seen this often.
    Epochs(u64),
    /// After this many steps, however many images there are.
    Steps(u64),
}

/// Steps between two of a run's reports of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervals {
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
}

fn default_stats_every() -> u64 {
    50
}

impl Intervals {
    /// # Errors
    /// [`Error::Hyperparameter`] for an interval of 0 steps that must be at least 1.
    pub fn check(&self) -> Result<()> {
        let intervals = [
            ("sample_every", self.sample_every),
            ("stats_every", self.stats_every),
            ("checkpoint_every", self.checkpoint_every),
        ];
        match intervals.iter().find(|(_, steps)| *steps == 0) {
            Some((key, _)) => {
                Err(Error::Hyperparameter(format!("{key} 0 must be at least 1 step")))
            }
            None => Ok(()),
        }
    }
}

impl Recipe {
    /// The recipe that is compiled in under this name, if there is one.
    ///
    /// # Errors
    /// None for the recipes of this crate, which a test reads.
    pub fn built_in(name: &str) -> Result<Option<Self>> {
        let text = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        text.map(Self::parse).transpose()
    }

    /// The names of the recipes that are compiled in, and the comment that each begins with.
    pub fn list() -> impl Iterator<Item = (&'static str, String)> {
        BUILT_IN.iter().map(|(name, text)| (*name, opening_comment(text)))
    }

    /// Reads a recipe's text (TOML), also in the form of earlier versions, which had all keys at the
    /// top.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the line and the key that is missing, unknown or wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let failed = |error: toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let line = line.map_or(String::new(), |line| format!("line {line}: "));
            Error::Recipe(format!("{line}{}", error.message()))
        };
        let table: toml::Table = toml::from_str(text).map_err(failed)?;
        let Ok(Value::Object(mut object)) = serde_json::to_value(table) else {
            unreachable!("a table becomes an object");
        };
        if nest_flat_keys(&mut object) {
            return serde_json::from_value(Value::Object(object))
                .map_err(|error| Error::Recipe(error.to_string()));
        }
        toml::from_str(text).map_err(failed)
    }
}

/// Moves the keys of hyperparameters and intervals, which earlier versions wrote at the top of
/// recipes and configurations, into `training` and `schedule`. Returns whether it had to.
pub fn nest_flat_keys(object: &mut Map<String, Value>) -> bool {
    const TRAINING: [&str; 9] = [
        "batch_size",
        "update",
        "loss",
        "real_label",
        "regularization",
        "ema_decay",
        "lr_decay",
        "generator_adam",
        "discriminator_adam",
    ];
    const SCHEDULE: [&str; 4] =
        ["sample_every", "stats_every", "checkpoint_every", "measure_every"];
    if object.contains_key("training") || !object.contains_key("batch_size") {
        return false;
    }
    let mut take = |keys: &[&str]| -> Map<String, Value> {
        keys.iter().filter_map(|key| Some((key.to_string(), object.remove(*key)?))).collect()
    };
    let (mut training, schedule) = (take(&TRAINING), take(&SCHEDULE));
    // Only configurations had it: the recipe's own length in steps.
    if let Some(steps) = object.remove("recipe_steps") {
        training.insert("schedule_steps".to_string(), steps);
    }
    object.insert("training".to_string(), training.into());
    object.insert("schedule".to_string(), schedule.into());
    true
}

/// The comment that a recipe begins with, as one line.
fn opening_comment(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_models::{Momentum, Norm};

    #[test]
    fn every_built_in_recipe_is_whole() -> Result<()> {
        for (name, comment) in Recipe::list() {
            let recipe = Recipe::built_in(name)?.expect("listed");
            // What is written is what is read.
            let written = serde_json::to_string(&recipe).expect("writable");
            assert_eq!(serde_json::from_str::<Recipe>(&written).expect("readable"), recipe);
            assert!(!comment.is_empty(), "{name} says what it is");
            recipe.training.check((28, 28))?;
            recipe.schedule.check()?;
        }
        assert_eq!(Recipe::built_in("dfault")?, None);
        Ok(())
    }

    #[test]
    fn momentum_may_be_in_keras_convention() -> Result<()> {
        let Architecture::Mlp(mlp) = Recipe::built_in("mlp-bn")?.expect("there").network else {
            unreachable!("dense networks")
        };
        let momentum = Momentum(0.2);
        assert_eq!(mlp.generator.norm, Norm::Batch { epsilon: 1e-3, momentum });
        Ok(())
    }

    #[test]
    fn an_error_names_its_line() {
        let text = BUILT_IN[0].1.replace("batch_size = 32", "batchsize = 32");
        let line = 1 + text[..text.find("batchsize").expect("replaced")].matches('\n').count();
        let error = Recipe::parse(&text).expect_err("an unknown key").to_string();
        assert!(error.starts_with(&format!("line {line}: unknown field `batchsize`")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    /// A recipe of an earlier version: all keys at the top, under their earlier names.
    #[test]
    fn a_flat_recipe_is_read() -> Result<()> {
        let text = r#"
            length = { epochs = 24 }
            batch_size = 32
            update = "simultaneous"
            loss = "least_squares"
            real_label = 1.0
            ema_decay = 0.998
            lr_decay = { from = 0.5, to = 0.05 }
            sample_every = 50
            checkpoint_every = 1000
            measure_every = 500
            regularization = { gradient_penalty = 0.3 }
            generator_adam = { lr = 1e-3, beta1 = 0.5, beta2 = 0.999 }
            discriminator_adam = { lr = 1e-3, beta1 = 0.5, beta2 = 0.999 }
        "#;
        let built_in = BUILT_IN[0].1;
        let network = &built_in[built_in.find("[network.dcgan]").expect("the networks")..];
        let recipe = Recipe::parse(&format!("{text}\n{network}"))?;
        assert_eq!(Some(recipe), Recipe::built_in("default")?);
        let error = Recipe::parse(&format!("batchsize = 3\n{text}\n{network}"));
        let error = error.expect_err("an unknown key").to_string();
        assert!(error.contains("unknown field `batchsize`"), "{error}");
        Ok(())
    }
}
