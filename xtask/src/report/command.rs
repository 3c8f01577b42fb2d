//! The command that makes a run again, from its configuration.

use serde_json::Value;

use super::Fields;
use super::tables::exact;

/// The flags, and where the configuration has their values.
const FLAGS: [(&str, &str); 15] = [
    ("--dataset", "/dataset"),
    ("--size", "/size"),
    ("--colour", "/colour"),
    ("--steps", "/steps"),
    ("--batch-size", "/batch_size"),
    ("--seed", "/seed"),
    ("--precision", "/precision"),
    ("--sample-every", "/sample_every"),
    ("--loss", "/loss"),
    ("--condition", "/discriminator/condition/by"),
    ("--r1-gamma", "/regularization/gradient_penalty"),
    ("--spectral-norm", "/regularization/spectral_norm"),
    ("--translation", "/regularization/augmentation/translation"),
    ("--cutout", "/regularization/augmentation/cutout"),
    ("--instance-noise", "/regularization/augmentation/noise"),
];

/// One flag a line; what a configuration does not hold is not asked for.
pub(super) fn command(config: &Fields) -> String {
    let config = Value::Object(config.clone());
    let mut parts = Vec::new();
    let recipe = config.get("recipe_file").or(config.get("recipe")).and_then(Value::as_str);
    parts.extend(recipe.map(|recipe| format!("--recipe {}", quoted(recipe))));
    let classes = config.get("classes").and_then(Value::as_array).map(Vec::as_slice);
    if let Some(classes @ [_, ..]) = classes {
        let classes: Vec<String> = classes.iter().map(exact).collect();
        parts.push(format!("--class {}", quoted(&classes.join(","))));
    }
    for (flag, pointer) in FLAGS {
        if let Some(value) = config.pointer(pointer) {
            // Names are written with dashes on the command line.
            let value = match (flag, exact(value)) {
                ("--dataset", name) => name,
                (_, name) => name.replace('_', "-"),
            };
            parts.push(format!("{flag} {}", quoted(&value)));
        }
    }
    let rate = |network| config.pointer(&format!("/{network}_adam/lr")).map(exact);
    if let (Some(generator), Some(discriminator)) = (rate("generator"), rate("discriminator")) {
        parts.push(format!("--lr {generator} {discriminator}"));
    }
    format!("cargo run -p trainer -- {}", parts.join(" \\\n  "))
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/+=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_are_those_of_the_configuration() {
        let config = json!({
            "recipe": "mine", "recipe_file": "my/mine.toml", "dataset": "idx:my set's", "classes": ["3", "5"], "steps": 300,
            "seed": 7, "loss": "least_squares", "precision": "high",
            "regularization": { "gradient_penalty": 0.5 },
            "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.0002 },
            "discriminator": { "condition": { "classes": 2, "by": "projection" } }
        });
        let command = command(config.as_object().unwrap_or(&Fields::new()));
        assert_eq!(
            command,
            "cargo run -p trainer -- --recipe my/mine.toml \\\n  --class 3,5 \\\n  \
             --dataset 'idx:my set'\\''s' \\\n  --steps 300 \\\n  --seed 7 \\\n  \
             --precision high \\\n  --loss least-squares \\\n  --condition projection \\\n  \
             --r1-gamma 0.5 \\\n  --lr 0.001 0.0002"
        );
    }

    #[test]
    fn built_in_recipes_are_named_without_an_extension() {
        let config = json!({ "recipe": "default" });
        let command = command(config.as_object().unwrap_or(&Fields::new()));
        assert_eq!(command, "cargo run -p trainer -- --recipe default");
    }
}
