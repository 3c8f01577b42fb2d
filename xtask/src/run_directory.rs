//! Finds a run directory and its frames.
//!
//! A run directory has a name such as `00003-mnist-5-default`: a number of five or more digits, then
//! the data set and the recipe. Its frames are `samples/000500.png` and so on, named by their
//! training steps.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Advice where there is no run.
pub(crate) const REMEDY: &str = "`cargo run -p trainer -- --digit 5` makes a run with samples";

/// The run directory with the highest number in `runs`.
///
/// # Errors
/// `runs` is missing, cannot be read, or holds no run directory.
pub(crate) fn newest(runs: &Path) -> Result<PathBuf> {
    let newest = files(runs)?
        .into_iter()
        .filter_map(|path| Some((run_number(&path)?, path)))
        .filter(|(_, path)| path.is_dir())
        .max();
    match newest {
        Some((_, path)) => Ok(path),
        None => {
            bail!(
                "{}: no run directory in it; {REMEDY}, `--run` names another directory",
                runs.display()
            )
        }
    }
}

/// The frames of a run in the order of their steps; at least one.
///
/// Files of `samples` that are not named `DIGITS.png` are ignored.
///
/// # Errors
/// The run or its `samples` is missing or cannot be read, or holds no frame.
pub(crate) fn frames(run: &Path) -> Result<Vec<PathBuf>> {
    ensure!(run.is_dir(), "{}: no such run directory; {REMEDY}", run.display());
    let samples = run.join("samples");
    ensure!(
        samples.is_dir(),
        "{}: no such directory, so the run has nothing to show; {REMEDY}",
        samples.display()
    );

    let files = files(&samples)?;
    let count = files.len();
    let mut frames: Vec<_> =
        files.into_iter().filter_map(|path| Some((step(&path)?, path))).collect();
    ensure!(
        !frames.is_empty(),
        "{}: no frame (an image named by its step, as 000500.png) among {count} files; {REMEDY}",
        samples.display()
    );
    frames.sort();
    Ok(frames.into_iter().map(|(_, path)| path).collect())
}

/// The paths in a directory; none if it does not exist.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading the directory {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    entries.map(|entry| Ok(entry.with_context(context)?.path())).collect()
}

/// The number at the start of a run directory's name.
fn run_number(path: &Path) -> Option<u64> {
    let (digits, _) = path.file_name()?.to_str()?.split_once('-')?;
    let is_number = digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// The training step in the name of a frame.
pub(crate) fn step(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".png")?;
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_five_digits_and_a_dash() {
        let number = |name| run_number(Path::new(name));
        assert_eq!(number("runs/00003-mnist-5-default"), Some(3));
        assert_eq!(number("100000-mnist"), Some(100_000));
        for name in ["0003-mnist", "00003", "+0003-mnist", "notes-00003", ".."] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn a_frame_is_known_by_its_digits() {
        let step = |name| step(Path::new(name));
        assert_eq!(step("samples/000500.png"), Some(500));
        assert_eq!(step("7.png"), Some(7));
        for name in [".png", "reals.png", "+5.png", "000500.jpg", "000500.png.part"] {
            assert_eq!(step(name), None, "{name}");
        }
    }
}
