//! `recipes`: the built-in recipes.

use anyhow::Result;
use gan_training::Recipe;
use std::io::Write;

/// Prints the built-in recipes, one per line.
///
/// # Errors
/// Output that cannot be written.
pub(crate) fn recipes(print: &mut (dyn Write + Send)) -> Result<()> {
    for (name, summary) in Recipe::list() {
        writeln!(print, "{name:<12} {summary}")?;
    }
    writeln!(
        print,
        "Each is crates/gan-training/recipes/NAME.toml; an edited copy is trained by --recipe FILE.toml."
    )?;
    Ok(())
}
