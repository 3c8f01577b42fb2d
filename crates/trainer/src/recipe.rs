//! Finds recipes by name or file.

use anyhow::{Context, Result, bail};
use gan_files::SETTINGS_LIMIT;
use gan_training::Recipe;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_list_the_known() {
        let error = format!("{:#}", find("dfault").expect_err("a typing error"));
        assert!(
            error.contains("--recipe dfault") && error.contains("default, conditional, dcgan"),
            "{error}"
        );
    }
}
