//! Where a task writes about a run: never over its own inputs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use gan_files::parent;

/// The file that a task writes about a run: `out`, or `default` in the run.
///
/// # Errors
/// `out` is one of the `inputs`, or another file in the run than `default`.
pub(crate) fn output(
    run: &Path,
    out: Option<PathBuf>,
    default: &str,
    inputs: &[PathBuf],
) -> Result<PathBuf> {
    let default = run.join(default);
    let out = out.unwrap_or_else(|| default.clone());
    // Where the file will be; a missing directory is the writer's error.
    let place = |path: &Path| Some(fs::canonicalize(parent(path)).ok()?.join(path.file_name()?));
    let (at, run_at) = (place(&out), fs::canonicalize(run).ok());
    let in_run = at.as_ref().zip(run_at).is_some_and(|(at, run)| at.starts_with(run));
    ensure!(
        !in_run || at == place(&default),
        "--out {}: inside the run that is read; name a file outside of it, or leave --out away for {}",
        out.display(),
        default.display()
    );
    let target = fs::canonicalize(&out).ok();
    let is_out = |input: &&PathBuf| target.is_some() && fs::canonicalize(input).ok() == target;
    if let Some(input) = inputs.iter().find(is_out) {
        bail!(
            "--out {}: the same file as {}, which is read; name another file",
            out.display(),
            input.display()
        );
    }
    Ok(out)
}
