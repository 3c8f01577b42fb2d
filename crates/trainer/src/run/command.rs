//! The command that repeats a run, from its configuration.
//!
//! `cargo xtask report` compiles this file too.

use gan_files::shell_word;
use serde_json::{Map, Value};
use std::path::Path;

/// Sections of `config.json` whose values stood at the top level in earlier versions.
const SECTIONS: [&str; 2] = ["training", "schedule"];

/// Keys of `config.json` whose values can name a file or directory.
const PATHS: [&str; 3] = ["dataset", "recipe_file", "init_from"];

/// Each flag, and the JSON pointer of its value in the configuration.
const FLAGS: [(&str, &str); 20] = [
    ("--init-from", "/init_from"),
    ("--dataset", "/dataset"),
    ("--size", "/size"),
    ("--colour", "/colour"),
    ("--holdout", "/holdout"),
    ("--shuffle-buffer", "/shards/shuffle_buffer"),
    ("--steps", "/steps"),
    ("--batch-size", "/batch_size"),
    ("--micro-batches", "/micro_batches"),
    ("--seed", "/seed"),
    ("--precision", "/precision"),
    ("--sample-every", "/sample_every"),
    ("--loss", "/loss"),
    ("--condition", "/discriminator/condition/by"),
    ("--r1-gamma", "/regularization/r1_gamma"),
    // The name of R1's gamma in earlier versions.
    ("--r1-gamma", "/regularization/gradient_penalty"),
    ("--spectral-norm", "/regularization/spectral_norm"),
    ("--translation", "/regularization/augmentation/translation"),
    ("--cutout", "/regularization/augmentation/cutout"),
    ("--instance-noise", "/regularization/augmentation/noise"),
];

/// The configuration with the values of [`SECTIONS`] at the top level, as runs of every version have
/// them then, and without the directories of absolute paths, which mean nothing on another machine.
pub(crate) fn portable(mut config: Map<String, Value>) -> Map<String, Value> {
    for section in SECTIONS {
        if let Some(Value::Object(mut values)) = config.remove(section) {
            config.append(&mut values);
        }
    }
    for key in PATHS {
        if let Some(Value::String(text)) = config.get_mut(key) {
            // A data set is `KIND:PATH`.
            let path = text.split_once(':').map_or(text.as_str(), |(_, path)| path);
            if Path::new(path).is_absolute() {
                let name = Path::new(path).file_name().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                *text = text.replace(path, &name);
            }
        }
    }
    config
}

/// The command by this program, one flag a line, of a [`portable`] configuration. A value that it
/// lacks gets no flag.
pub(crate) fn command(program: &str, config: &Map<String, Value>) -> String {
    let config = Value::Object(config.clone());
    let mut parts = Vec::new();
    let recipe = config.get("recipe_file").or(config.get("recipe")).and_then(Value::as_str);
    parts.extend(recipe.map(|recipe| option("--recipe", recipe)));
    let classes = config.get("classes").and_then(Value::as_array).map(Vec::as_slice);
    if let Some(classes @ [_, ..]) = classes {
        let classes: Vec<String> = classes.iter().map(plain).collect();
        parts.push(option("--class", &classes.join(",")));
    }
    let set = config.get("set").and_then(Value::as_array).into_iter().flatten();
    parts.extend(set.map(|assignment| option("--set", &plain(assignment))));
    for (flag, pointer) in FLAGS {
        if let Some(value) = config.pointer(pointer) {
            // Names are written with dashes on the command line.
            let value = match (flag, plain(value)) {
                ("--dataset" | "--init-from", name) => name,
                (_, name) => name.replace('_', "-"),
            };
            parts.push(option(flag, &value));
        }
    }
    let rate = |network| config.pointer(&format!("/{network}_adam/lr")).map(plain);
    if let (Some(generator), Some(discriminator)) = (rate("generator"), rate("discriminator")) {
        parts.push(format!("--lr {} {}", shell_word(&generator), shell_word(&discriminator)));
    }
    format!("{program} {}", parts.join(" \\\n  "))
}

/// A value as the command line takes it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// A flag and its value, joined where the value would be read as another flag.
fn option(flag: &str, value: &str) -> String {
    let space = if value.starts_with('-') { "=" } else { " " };
    format!("{flag}{space}{}", shell_word(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(config: Value) -> String {
        let config = portable(config.as_object().cloned().unwrap_or_default());
        command("cargo run -p trainer --", &config)
    }

    #[test]
    fn paths_of_one_machine_are_names() {
        let of = |dataset: &str| {
            let config = json!({ "dataset": dataset, "training": 3 });
            portable(config.as_object().cloned().unwrap_or_default())
        };
        for (dataset, want) in [
            ("folder:/home/me/my icons", "folder:my icons"),
            ("folder:icons/train", "folder:icons/train"),
            ("mnist", "mnist"),
            ("hub:mnist", "hub:mnist"),
            ("idx:/", "idx:"),
        ] {
            let want = json!({ "dataset": want });
            assert_eq!(Value::Object(of(dataset)), want);
        }
    }

    #[test]
    fn flags_are_those_of_the_configuration() {
        let config = json!({
            "recipe": "mine", "recipe_file": "my/mine.toml", "dataset": "idx:my set's", "classes": ["3", "5"], "steps": 300,
            "shards": { "shuffle_buffer": 5, "files": [] },
            "set": ["ema_decay=0.5"], "init_from": "/home/me/runs/a_b",
            "seed": 7, "loss": "least_squares", "precision": "high",
            "regularization": { "gradient_penalty": 0.5 },
            "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.0002 },
            "discriminator": { "condition": { "classes": 2, "by": "projection" } }
        });
        let command = of(config);
        assert_eq!(
            command,
            "cargo run -p trainer -- --recipe my/mine.toml \\\n  --class 3,5 \\\n  \
             --set ema_decay=0.5 \\\n  \
             --init-from a_b \\\n  --dataset 'idx:my set'\\''s' \\\n  --shuffle-buffer 5 \\\n  --steps 300 \\\n  --seed 7 \\\n  \
             --precision high \\\n  --loss least-squares \\\n  --condition projection \\\n  \
             --r1-gamma 0.5 \\\n  --lr 0.001 0.0002"
        );
    }

    #[test]
    fn no_value_is_a_flag_or_a_command() {
        let config = json!({
            "recipe": "-h", "dataset": "--out",
            "generator_adam": { "lr": "1;ls" }, "discriminator_adam": { "lr": "$(ls)" }
        });
        assert_eq!(
            of(config),
            "cargo run -p trainer -- --recipe=-h \\\n  --dataset=--out \\\n  \
             --lr '1;ls' '$(ls)'"
        );
    }

    #[test]
    fn nested_and_flat_configurations_give_one_command() {
        let nested = json!({
            "recipe": "default", "seed": 7, "steps": 300,
            "training": {
                "batch_size": 32, "loss": "hinge", "real_label": 1.0,
                "regularization": { "r1_gamma": 0.5, "augmentation": { "cutout": 0.25 } },
                "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.0002 }
            },
            "schedule": { "sample_every": 25 }
        });
        let flat = json!({
            "recipe": "default", "seed": 7, "steps": 300,
            "batch_size": 32, "loss": "hinge", "real_label": 1.0, "sample_every": 25,
            "regularization": { "gradient_penalty": 0.5, "augmentation": { "cutout": 0.25 } },
            "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.0002 }
        });
        for config in [nested, flat] {
            assert_eq!(
                of(config),
                "cargo run -p trainer -- --recipe default \\\n  --steps 300 \\\n  \
                 --batch-size 32 \\\n  --seed 7 \\\n  --sample-every 25 \\\n  --loss hinge \\\n  \
                 --r1-gamma 0.5 \\\n  --cutout 0.25 \\\n  --lr 0.001 0.0002"
            );
        }
    }

    #[test]
    fn built_in_recipes_are_named_without_an_extension() {
        let config = json!({ "recipe": "default" });
        let command = of(config);
        assert_eq!(command, "cargo run -p trainer -- --recipe default");
    }
}
