//! Finds recipes by name or file.

use anyhow::{Context, Result, bail};
use gan_data::{DatasetInfo, ImageShape};
use gan_files::SETTINGS_LIMIT;
use gan_training::Recipe;
use serde_json::Value;
use std::path::Path;

/// The name of the data set of digits.
const MNIST: &str = "mnist";

/// The images that recipes are chosen for by default, in words.
const MADE_FOR: [(&str, &str); 5] = [
    ("default", "images of one class, up to 32 pixels a side"),
    ("conditional", "digits of several classes"),
    ("garments", "images of several classes, up to 32 pixels a side"),
    ("sprites", "images in colour, up to 32 pixels a side"),
    ("icons", "images of more than 32 pixels a side"),
];

/// Which images a recipe is chosen for by default, in words.
pub(crate) fn made_for(name: &str) -> Option<&'static str> {
    MADE_FOR.iter().find(|(known, _)| *known == name).map(|(_, images)| *images)
}

/// The name of the built-in recipe for a data set: by the size, channels and classes of its images.
pub(crate) fn default_for(info: &DatasetInfo) -> &'static str {
    let ImageShape { channels, height, width } = info.shape();
    let is_small = height.max(width) <= 32;
    // The strides of `sprites` enlarge by 8.
    let halves_thrice = [height, width].iter().all(|side| side.is_multiple_of(8));
    match info.classes().len() {
        _ if !is_small => "icons",
        _ if channels > 1 && halves_thrice => "sprites",
        0 | 1 => "default",
        _ if info.name() == MNIST => "conditional",
        _ => "garments",
    }
}

/// Returns the built-in recipe of this name, or the one in this file (`NAME.toml`), and its name.
///
/// # Errors
/// An unknown name (lists the known ones); a file that cannot be read; a missing or unknown key,
/// named with its line.
pub(crate) fn find(name: &str) -> Result<(String, Recipe)> {
    if let Some(recipe) = Recipe::built_in(name).with_context(|| format!("recipe {name}"))? {
        return Ok((name.to_string(), recipe));
    }
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        let known = Recipe::list().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        bail!("--recipe {name}: no such recipe; there are {known}, or name a file ending in .toml");
    }
    let text = gan_files::read_to_string(path, SETTINGS_LIMIT)
        .with_context(|| format!("--recipe {name}"))?;
    let recipe = Recipe::parse(&text).with_context(|| format!("--recipe {name}"))?;
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok((stem.into_owned(), recipe))
}

/// The recipe with other values, each given as `KEY=VALUE`. A key is a path, such as
/// `training.generator_adam.lr`, or as much of its end as only one key has; a value is JSON, or a
/// word.
///
/// # Errors
/// A key that the recipe lacks or that several have (lists them); a value of another kind.
pub(crate) fn set(recipe: Recipe, assignments: &[String]) -> Result<Recipe> {
    let mut tree = serde_json::to_value(&recipe)?;
    for assignment in assignments {
        assign(&mut tree, assignment).with_context(|| format!("--set {assignment}"))?;
    }
    Ok(serde_json::from_value(tree)?)
}

fn assign(tree: &mut Value, assignment: &str) -> Result<()> {
    let Some((key, value)) = assignment.split_once('=') else {
        bail!("must be KEY=VALUE, such as ema_decay=0.998");
    };
    let pointer = pointer_of(key, tree)?;
    if let Some(place) = tree.pointer_mut(&pointer) {
        *place = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    }
    serde_json::from_value::<Recipe>(tree.clone())?;
    Ok(())
}

/// The JSON pointer of a recipe's only key whose path ends with these parts.
fn pointer_of(key: &str, tree: &Value) -> Result<String> {
    let mut all = Vec::new();
    pointers(tree, "", &mut all);
    let end = format!("/{}", key.replace('.', "/"));
    let found: Vec<&String> = all.iter().filter(|pointer| pointer.ends_with(&end)).collect();
    let names = |pointers: &[&String]| {
        pointers.iter().map(|pointer| pointer[1..].replace('/', ".")).collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [only] => Ok((*only).clone()),
        [] => bail!(
            "the recipe has no key {key}; there are {}",
            names(&all.iter().collect::<Vec<_>>())
        ),
        several => bail!("several keys end so: {}; name one of them", names(several)),
    }
}

/// Collects the JSON pointers of all values in objects.
fn pointers(tree: &Value, at: &str, all: &mut Vec<String>) {
    if let Value::Object(object) = tree {
        for (key, value) in object {
            let pointer = format!("{at}/{key}");
            pointers(value, &pointer, all);
            all.push(pointer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_recipe_follows_from_the_images() -> Result<()> {
        for (channels, height, width, classes, want) in [
            (1, 28, 28, 1, "default"),
            (1, 28, 28, 10, "garments"),
            (1, 32, 32, 2, "garments"),
            (3, 32, 32, 1, "sprites"),
            (3, 32, 24, 5, "sprites"),
            (3, 28, 28, 1, "default"),
            (3, 64, 64, 1, "icons"),
            (1, 48, 32, 3, "icons"),
        ] {
            let shape = ImageShape { channels, height, width };
            let labels: Vec<u32> = (0..classes).collect();
            let names = labels.iter().map(u32::to_string).collect();
            let pixels = vec![0; labels.len() * shape.len()];
            let info =
                DatasetInfo::of(&gan_data::Dataset::new("a", shape, pixels, labels, names)?)?;
            assert_eq!(default_for(&info), want, "{shape:?} {classes}");
            assert!(made_for(want).is_some(), "{want}");
            find(want)?.1.network.generator((channels, height, width).into(), Vec::new(), false)?;
        }
        Ok(())
    }

    fn set_in_default(assignment: &str) -> Result<Recipe> {
        set(find("default")?.1, &[assignment.to_string()])
    }

    #[test]
    fn a_key_may_be_named_by_its_end() -> Result<()> {
        let before = find("default")?.1;
        let mut want = before.clone();
        want.training.ema_decay = 0.75;
        assert_eq!(set_in_default("ema_decay=0.75")?, want);
        assert_eq!(set_in_default("training.ema_decay=0.75")?, want);
        let mut want = before.clone();
        want.training.generator_adam.beta1 = 0.0;
        assert_eq!(set_in_default("generator_adam.beta1=0")?, want);
        let mut want = before;
        want.training.loss = gan_training::GanLoss::Hinge;
        assert_eq!(set_in_default("loss=hinge")?, want);
        Ok(())
    }

    #[test]
    fn wrong_keys_and_values_are_errors() {
        for (assignment, want) in [
            ("ema_decay", "--set ema_decay: must be KEY=VALUE"),
            ("emadecay=1", "the recipe has no key emadecay; there are "),
            ("lr=1", "training.discriminator_adam.lr, training.generator_adam.lr; name one"),
            ("ema_decay=much", "--set ema_decay=much: invalid type: string \"much\", expected f64"),
            ("decay=0.5", "no key decay"),
        ] {
            let error = format!("{:#}", set_in_default(assignment).expect_err(want));
            assert!(error.contains(want), "{error}, not {want}");
        }
    }

    #[test]
    fn unknown_names_list_the_known() {
        let error = format!("{:#}", find("dfault").expect_err("a typing error"));
        assert!(
            error.contains("--recipe dfault")
                && error.contains("default, conditional, garments, icons, sprites, dcgan"),
            "{error}"
        );
    }
}
