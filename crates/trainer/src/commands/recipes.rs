//! `recipes`: the built-in recipes.

use crate::recipe;
use anyhow::Result;
use std::io::Write;

/// Prints the built-in recipes, a line for each.
///
/// # Errors
/// Output that cannot be written.
pub(crate) fn recipes(print: &mut (dyn Write + Send)) -> Result<()> {
    for (name, summary) in recipe::built_in() {
        writeln!(print, "{name:<12} {summary}")?;
    }
    writeln!(
        print,
        "Each is crates/trainer/configs/NAME.toml; an edited copy is trained by --recipe FILE.toml."
    )?;
    Ok(())
}
