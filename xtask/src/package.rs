//! `cargo xtask package`: packages every crate that is published, in the order of their
//! dependencies.
//!
//! Cargo resolves the dependencies between them from a temporary registry, so none has to be
//! published before. The workspace's manifest is read as configuration too, because a package has no
//! profile of its own; with the same profile, most dependencies need no second build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::check::{copy_lock, run_cargo};

/// The size of the largest package that crates.io takes.
const MAX_BYTES: u64 = 10 << 20;

/// Options of `cargo xtask package`.
#[derive(Args)]
pub(crate) struct Package {
    /// Check all packages together in place of building each alone; seconds in place of minutes
    #[arg(long)]
    quick: bool,
}

impl Package {
    /// Makes `target/package/*.crate` and verifies them. The network is not used.
    ///
    /// # Errors
    /// A crate that cannot be packaged, or a package that cannot be built.
    pub(crate) fn run(&self, root: &Path) -> Result<String> {
        let target = root.join("target").display().to_string();
        let config = root.join("Cargo.toml").display().to_string();
        let env = [("CARGO_TARGET_DIR", target.as_str())];
        let common = ["--workspace", "--offline", "--config", &config];
        let package = ["package", "--exclude", "xtask", "--allow-dirty"];
        let directory = root.join("target/package");
        for file in packages(&directory)? {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
        if self.quick {
            run_cargo(root, &[&package[..], &["--no-verify"], &common].concat(), &env)?;
            let workspace = unpack(root, &directory)?;
            run_cargo(&workspace, &[&["check"][..], &common].concat(), &env)?;
        } else {
            run_cargo(root, &[&package[..], &common].concat(), &env)?;
        }
        let packages = packages(&directory)?;
        for package in &packages {
            let size = fs::metadata(package).with_context(|| package.display().to_string())?.len();
            ensure!(
                size <= MAX_BYTES,
                "{}: {size} bytes, but crates.io takes at most {MAX_BYTES}; exclude files in its Cargo.toml",
                package.display()
            );
        }
        Ok(format!("package: packages in {}: {}", directory.display(), packages.len()))
    }
}

/// The packages in a directory, in the order of their names; none if it does not exist.
fn packages(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let context = || format!("reading the directory {}", directory.display());
    let mut packages = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "crate") {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

/// Unpacks the packages as the members of a workspace of their own, and returns its directory.
fn unpack(root: &Path, directory: &Path) -> Result<PathBuf> {
    let workspace = directory.join("unpacked");
    if workspace.exists() {
        fs::remove_dir_all(&workspace).with_context(|| workspace.display().to_string())?;
    }
    fs::create_dir_all(&workspace).with_context(|| workspace.display().to_string())?;
    let mut members = Vec::new();
    for package in packages(directory)? {
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&package).arg("-C").arg(&workspace);
        let status = tar.status().context("starting tar")?;
        ensure!(status.success(), "unpacking {} failed", package.display());
        members.extend(package.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    let manifest = manifest(&members)?;
    let path = workspace.join("Cargo.toml");
    gan_files::write(&path, manifest.as_bytes())
        .with_context(|| format!("making {}", path.display()))?;
    copy_lock(root, &workspace)?;
    Ok(workspace)
}

/// The manifest of a workspace whose members, named `NAME-VERSION`, take each other's place in the
/// registry.
fn manifest(members: &[String]) -> Result<String> {
    let quoted: Vec<String> = members.iter().map(|member| format!("{member:?}")).collect();
    let mut text = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n",
        quoted.join(", ")
    );
    for member in members {
        let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let mut dashes = member.match_indices('-').map(|(at, _)| member.split_at(at));
        let (name, _) = dashes
            .find(|(_, rest)| is_version(&rest[1..]))
            .with_context(|| format!("{member}: no version"))?;
        text += &format!("{name} = {{ path = {member:?} }}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_replace_the_registry() -> Result<()> {
        let members = ["gan-data-0.1.0".to_string(), "trainer-0.2.0-rc.1".to_string()];
        let want = "[workspace]\nresolver = \"3\"\nmembers = [\"gan-data-0.1.0\", \
                    \"trainer-0.2.0-rc.1\"]\n\n[patch.crates-io]\n\
                    gan-data = { path = \"gan-data-0.1.0\" }\n\
                    trainer = { path = \"trainer-0.2.0-rc.1\" }\n";
        assert_eq!(manifest(&members)?, want);
        assert!(manifest(&["trainer".to_string()]).is_err());
        Ok(())
    }
}
