//! Writes files atomically, and never over a task's own inputs.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Writes a file of an unpredictable name beside `path` with `fill`, then renames it to `path`. A link
/// at `path` is replaced, not followed. On failure `path` keeps what it held before.
///
/// # Errors
/// The file cannot be written, or `fill` fails.
pub(crate) fn write_atomically<T>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<T>,
) -> Result<T> {
    let write = || -> Result<T> {
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(".").suffix(".tmp");
        // The permissions of any new file.
        #[cfg(unix)]
        temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut part = temporary.tempfile_in(parent(path))?;
        let mut file = BufWriter::new(part.as_file_mut());
        let filled = fill(&mut file)?;
        file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        part.persist(path)?;
        Ok(filled)
    };
    write().with_context(|| format!("making {}", path.display()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

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
