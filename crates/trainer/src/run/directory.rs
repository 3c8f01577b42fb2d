//! The directory of a run, e.g. `runs/00003-mnist-5-default`.

use crate::config::TrainConfig;
use crate::run::checkpoint;
use crate::run::record::StatsLine;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The default of `--out`, the directory of all run directories.
pub(crate) const DEFAULT_RUNS: &str = "runs";

/// The directory of a run and the paths in it.
#[derive(Debug)]
pub(crate) struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes the next run's directory under `runs` and writes the configuration into it.
    ///
    /// # Errors
    /// A directory that cannot be made or written to.
    pub(crate) fn create(runs: &Path, config: &TrainConfig) -> Result<Self> {
        fs::create_dir_all(runs)
            .with_context(|| format!("making the directory of runs {}", runs.display()))?;
        let mut number = all(runs)?.last().map_or(0, |(number, _)| number.saturating_add(1));
        let path = loop {
            let path = runs.join(format!("{number:05}-{}", config.title()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Another run has just taken the number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("making {}", path.display()));
                }
            }
        };
        let directory = Self(path);
        if let Err(error) = directory.fill(config) {
            // An empty directory would be taken for the newest run; the first error is reported.
            let _ = fs::remove_dir_all(directory.path());
            return Err(error);
        }
        Ok(directory)
    }

    fn fill(&self, config: &TrainConfig) -> Result<()> {
        for place in [self.samples(), self.checkpoints()] {
            fs::create_dir(&place).with_context(|| format!("making {}", place.display()))?;
        }
        self.write_config(config)
    }

    /// Removes what a run wrote of steps after `step`, from which it continues.
    ///
    /// # Errors
    /// Files that cannot be read, written or removed.
    pub(crate) fn truncate_after(&self, step: u64) -> Result<()> {
        let path = self.stats();
        if path.exists() {
            let context = || path.display().to_string();
            let text = gan_files::read_to_string(&path).with_context(context)?;
            let made = |line: &&str| {
                let line: Result<StatsLine, _> = serde_json::from_str(line);
                line.is_ok_and(|line| line.step <= step)
            };
            let kept: String = text.lines().filter(made).flat_map(|line| [line, "\n"]).collect();
            gan_data::files::write_atomically(&path, kept.as_bytes())?;
        }
        // A best checkpoint that is missing or damaged is treated like a later one.
        if checkpoint::best_step(&self.checkpoints()).is_none_or(|best| best > step) {
            checkpoint::remove_best(&self.checkpoints())?;
            checkpoint::remove(&self.best_generator())?;
        }
        let samples = self.samples();
        let context = || samples.display().to_string();
        for entry in fs::read_dir(&samples).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let of = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            if of.is_some_and(|of| of > step) {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Opens an existing run and reads its configuration.
    ///
    /// # Errors
    /// A directory that is not a run's.
    pub(crate) fn open(path: &Path) -> Result<(Self, TrainConfig)> {
        ensure!(path.is_dir(), "{}: no such run directory", path.display());
        let directory = Self(path.to_path_buf());
        let path = directory.config();
        let text = gan_files::read(&path).with_context(|| {
            format!("{}: not a run directory, its configuration cannot be read", path.display())
        })?;
        let config = TrainConfig::from_json(&text)
            .with_context(|| format!("{}: not a run's configuration", path.display()))?;
        Ok((directory, config))
    }

    /// The directory of the run named, or of the newest if none is named.
    ///
    /// # Errors
    /// No such directory; no run at all.
    pub(crate) fn named_or_newest(run: Option<&Path>) -> Result<PathBuf> {
        let Some(run) = run else {
            return Self::newest(Path::new(DEFAULT_RUNS));
        };
        ensure!(run.is_dir(), "{}: no such run directory", run.display());
        Ok(run.to_path_buf())
    }

    /// The directory of the newest run under `runs`.
    ///
    /// # Errors
    /// No run there.
    fn newest(runs: &Path) -> Result<PathBuf> {
        match all(runs)?.pop() {
            Some((_, path)) => Ok(path),
            None => bail!(
                "{}: no run directory in it; `cargo run -p trainer -- --digit 5` makes one, `--run` \
                 names another",
                runs.display()
            ),
        }
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write_config(&self, config: &TrainConfig) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(config)?;
        text.push(b'\n');
        Ok(gan_data::files::write_atomically(&self.config(), &text)?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    pub(crate) fn stats(&self) -> PathBuf {
        self.0.join("stats.jsonl")
    }

    pub(crate) fn samples(&self) -> PathBuf {
        self.0.join("samples")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    pub(crate) fn generator(&self) -> PathBuf {
        self.0.join("generator")
    }

    /// The generator of the step that measured best.
    pub(crate) fn best_generator(&self) -> PathBuf {
        self.0.join("best-generator")
    }
}

#[cfg(test)]
impl RunDirectory {
    /// An empty directory that exists.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }
}

/// Returns the run directories in the order of their numbers.
fn all(runs: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(runs) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", runs.display()))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", runs.display()))?.path();
        let number = path.file_name().and_then(|name| {
            let (digits, _) = name.to_str()?.split_once('-')?;
            let plain = digits.len() >= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        });
        if let (Some(number), true) = (number, path.is_dir()) {
            all.push((number, path));
        }
    }
    all.sort();
    Ok(all)
}
