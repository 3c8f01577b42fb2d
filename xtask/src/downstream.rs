//! `cargo xtask downstream`: tests the libraries from a program outside the workspace.

use std::path::Path;

use anyhow::Result;

use crate::check::{copy_lock, run_cargo};

/// Builds and tests `tests/downstream` in a dev build, with the workspace's versions of all
/// dependencies.
///
/// # Errors
/// A failed test or build; a missing `Cargo.lock`.
pub(crate) fn run(root: &Path) -> Result<()> {
    let directory = root.join("tests/downstream");
    copy_lock(root, &directory)?;
    let target = root.join("target/downstream").display().to_string();
    run_cargo(&directory, &["test"], &[("CARGO_TARGET_DIR", &target)])
}
