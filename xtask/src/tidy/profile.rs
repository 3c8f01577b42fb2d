//! The profile for programs outside the workspace: READMEs show the one that `tests/downstream`
//! tests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The manifest whose profile the READMEs show.
const MANIFEST: &str = "tests/downstream/Cargo.toml";

/// READMEs that show the profile, where they exist.
const READMES: [&str; 3] = [
    "crates/gan-kernels/README.md",
    "crates/gan-models/README.md",
    "crates/gan-training/README.md",
];

/// The READMEs that do not show the profile of [`MANIFEST`] in a `toml` block, each with a
/// violation.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let read = |name: &str| fs::read_to_string(root.join(name)).with_context(|| name.to_owned());
    if !root.join(MANIFEST).is_file() {
        return Ok(Vec::new());
    }
    let manifest = read(MANIFEST)?;
    let want = profile(&manifest);
    let mut violations = Vec::new();
    for name in READMES.into_iter().filter(|name| root.join(name).is_file()) {
        let readme = read(name)?;
        let mut blocks =
            readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        if !blocks.any(|block| profile(block) == want) {
            violations.push(format!(
                "{name}: no toml block with the profile of {MANIFEST}:\n{}",
                want.join("\n")
            ));
        }
    }
    Ok(violations)
}

/// The lines from the first profile on, without comments and empty lines.
fn profile(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    let lines = lines.skip_while(|line| !line.starts_with("[profile."));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_shows_the_whole_profile() -> Result<()> {
        let place = tempfile::tempdir()?;
        let write = |name: &str, text: &str| -> Result<()> {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().context("a parent")?)?;
            Ok(fs::write(path, text)?)
        };
        let found = || violations(place.path()).map(|all| all.len());
        assert_eq!(found()?, 0, "nothing to compare");
        write(MANIFEST, "[package]\nname = \"a\"\n\n[profile.dev.package.b]\nopt-level = 3\n")?;
        assert_eq!(found()?, 0, "no README");
        write(READMES[0], "```toml\n[dependencies]\n```\n")?;
        assert_eq!(found()?, 1);
        let block = "```toml\n# Fast.\n[profile.dev.package.b]\nopt-level = 3\n```\n";
        write(READMES[1], block)?;
        assert_eq!(found()?, 1);
        write(READMES[0], &format!("```toml\n[dependencies]\n```\n{block}"))?;
        assert_eq!(found()?, 0);
        write(READMES[0], &block.replace('3', "2"))?;
        assert_eq!(found()?, 1);
        Ok(())
    }
}
