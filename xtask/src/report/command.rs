//! The command that repeats a run, from its configuration.

use gan_files::shell_word;
use serde_json::Value;

use super::record::Fields;
use super::tables::exact;

/// Each flag, and the JSON pointer of its value in the configuration.
const FLAGS: [(&str, &str); 18] = [
    ("--init-from", "/init_from"),
    ("--dataset", "/dataset"),
    ("--size", "/size"),
    ("--colour", "/colour"),
    ("--holdout", "/holdout"),
    ("--steps", "/steps"),
    ("--batch-size", "/batch_size"),
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

/// The command, one flag a line. A value that the configuration lacks gets no flag.
pub(super) fn command(config: &Fields) -> String {
    let config = Value::Object(config.clone());
    let mut parts = Vec::new();
    let recipe = config.get("recipe_file").or(config.get("recipe")).and_then(Value::as_str);
    parts.extend(recipe.map(|recipe| option("--recipe", recipe)));
    let classes = config.get("classes").and_then(Value::as_array).map(Vec::as_slice);
    if let Some(classes @ [_, ..]) = classes {
        let classes: Vec<String> = classes.iter().map(exact).collect();
        parts.push(option("--class", &classes.join(",")));
    }
    let set = config.get("set").and_then(Value::as_array).into_iter().flatten();
    parts.extend(set.map(|assignment| option("--set", &exact(assignment))));
    for (flag, pointer) in FLAGS {
        if let Some(value) = config.pointer(pointer) {
            // Names are written with dashes on the command line.
            let value = match (flag, exact(value)) {
                ("--dataset" | "--init-from", name) => name,
                (_, name) => name.replace('_', "-"),
            };
            parts.push(option(flag, &value));
        }
    }
    let rate = |network| config.pointer(&format!("/{network}_adam/lr")).map(exact);
    if let (Some(generator), Some(discriminator)) = (rate("generator"), rate("discriminator")) {
        parts.push(format!("--lr {} {}", shell_word(&generator), shell_word(&discriminator)));
    }
    format!("cargo run -p trainer -- {}", parts.join(" \\\n  "))
}

/// A flag and its value, joined where the value would be read as another flag.
fn option(flag: &str, value: &str) -> String {
    let space = if value.starts_with('-') { "=" } else { " " };
    format!("{flag}{space}{}", shell_word(value))
}

#[cfg(test)]
mod tests {
    use super::super::record::without_sections;
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_are_those_of_the_configuration() {
        let config = json!({
            "recipe": "mine", "recipe_file": "my/mine.toml", "dataset": "idx:my set's", "classes": ["3", "5"], "steps": 300,
            "set": ["ema_decay=0.5"], "init_from": "runs/a_b",
            "seed": 7, "loss": "least_squares", "precision": "high",
            "regularization": { "gradient_penalty": 0.5 },
            "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.0002 },
            "discriminator": { "condition": { "classes": 2, "by": "projection" } }
        });
        let command = command(config.as_object().unwrap_or(&Fields::new()));
        assert_eq!(
            command,
            "cargo run -p trainer -- --recipe my/mine.toml \\\n  --class 3,5 \\\n  \
             --set ema_decay=0.5 \\\n  \
             --init-from runs/a_b \\\n  --dataset 'idx:my set'\\''s' \\\n  --steps 300 \\\n  --seed 7 \\\n  \
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
            command(config.as_object().unwrap_or(&Fields::new())),
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
            let config = config.as_object().cloned().unwrap_or_default();
            assert_eq!(
                command(&without_sections(config)),
                "cargo run -p trainer -- --recipe default \\\n  --steps 300 \\\n  \
                 --batch-size 32 \\\n  --seed 7 \\\n  --sample-every 25 \\\n  --loss hinge \\\n  \
                 --r1-gamma 0.5 \\\n  --cutout 0.25 \\\n  --lr 0.001 0.0002"
            );
        }
    }

    #[test]
    fn built_in_recipes_are_named_without_an_extension() {
        let config = json!({ "recipe": "default" });
        let command = command(config.as_object().unwrap_or(&Fields::new()));
        assert_eq!(command, "cargo run -p trainer -- --recipe default");
    }
}
