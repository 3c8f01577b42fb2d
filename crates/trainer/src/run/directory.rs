//! The directory of a run, e.g. `runs/00003-mnist-5-default`.

use crate::config::TrainConfig;
use crate::run::checkpoint;
use crate::run::lock::RunLock;
use crate::run::record::{STATS_LIMIT, StatsLine};
use anyhow::{Context, Result, bail, ensure};
use gan_files::SETTINGS_LIMIT;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The default of `--out`, the directory of all run directories.
pub(crate) const DEFAULT_RUNS: &str = "runs";

/// Name of the directory of checkpoints in a run directory.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Name of the file of a run's configuration.
pub(crate) const CONFIG: &str = "config.json";

/// Name of the file that asks the process that trains a run to stop.
const STOP: &str = "stop";

/// The directory of a run and the paths in it.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    /// Held by the process that writes.
    lock: Option<RunLock>,
}

impl RunDirectory {
    /// Makes the next run's directory under `runs` and writes the configuration into it. It appears
    /// whole, and locked.
    ///
    /// # Errors
    /// A directory that cannot be made or written to.
    pub(crate) fn create(runs: &Path, config: &TrainConfig) -> Result<Self> {
        fs::create_dir_all(runs)
            .with_context(|| format!("making the directory of runs {}", runs.display()))?;
        // Of sessions that were killed here. What cannot be removed is in nobody's way.
        let _ = gan_files::remove_leftovers(runs);
        let mut number = all(runs)?.last().map_or(0, |(number, _)| number.saturating_add(1));
        loop {
            let path = runs.join(format!("{number:05}-{}", config.title()));
            if !path.exists() {
                match Self::create_at(&path, runs, config) {
                    // Another run has just taken the number.
                    Err(_) if path.exists() => {}
                    made => return made.with_context(|| format!("making {}", path.display())),
                }
            }
            number += 1;
        }
    }

    /// Fills a temporary directory, then gives it its name.
    fn create_at(path: &Path, runs: &Path, config: &TrainConfig) -> Result<Self> {
        let staged = gan_files::staging(runs)?;
        let draft = Self { path: staged.path().to_path_buf(), lock: None };
        for place in [draft.samples(), draft.checkpoints()] {
            fs::create_dir(&place)?;
        }
        draft.write_config(config)?;
        let lock = RunLock::acquire(draft.path())?;
        gan_files::publish(staged, path)?;
        Ok(Self { path: path.to_path_buf(), lock: Some(lock) })
    }

    /// Becomes the only process that writes to the run, until this value is dropped.
    ///
    /// # Errors
    /// Another process that writes to it, by its id; a lock file that cannot be made.
    pub(crate) fn lock(&mut self) -> Result<()> {
        self.lock = Some(RunLock::acquire(&self.path)?);
        // What asked an earlier process to stop. From here on, it asks this one.
        self.clear_stop()
    }

    /// Whether a process trains the run.
    #[cfg(feature = "serve")]
    pub(crate) fn is_training(&self) -> bool {
        RunLock::is_held(&self.path)
    }

    /// Removes what a run wrote of steps after `step`, from which it continues.
    ///
    /// # Errors
    /// Files that cannot be read, written or removed.
    pub(crate) fn truncate_after(&self, step: u64) -> Result<()> {
        let path = self.stats();
        if path.exists() {
            let context = || path.display().to_string();
            let text = gan_files::read_to_string(&path, STATS_LIMIT).with_context(context)?;
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
        gan_files::make(&samples).with_context(context)?;
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
        let directory = Self { path: path.to_path_buf(), lock: None };
        let path = directory.config();
        let text = gan_files::read_to_string(&path, SETTINGS_LIMIT).with_context(|| {
            format!("{}: not a run directory, its configuration cannot be read", path.display())
        })?;
        let config = TrainConfig::from_json(text.as_bytes())
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

    /// Whether the run has had a checkpoint; without one it begins again, which loses nothing.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(crate) fn has_begun(&self) -> Result<bool> {
        Ok(self.generator().exists() || !checkpoint::is_empty(&self.checkpoints())?)
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

    /// The file whose existence asks the process that trains the run to write a checkpoint and end.
    pub(crate) fn stop(&self) -> PathBuf {
        self.path.join(STOP)
    }

    /// Forgets that the run was asked to stop.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub(crate) fn clear_stop(&self) -> Result<()> {
        let path = self.stop();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    pub(crate) fn stats(&self) -> PathBuf {
        self.path.join("stats.jsonl")
    }

    pub(crate) fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// A grid of real images.
    pub(crate) fn real(&self) -> PathBuf {
        self.path.join("real.png")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    pub(crate) fn generator(&self) -> PathBuf {
        self.path.join("generator")
    }

    /// The generator of the step that measured best.
    pub(crate) fn best_generator(&self) -> PathBuf {
        self.path.join("best-generator")
    }
}

#[cfg(any(test, feature = "serve"))]
impl RunDirectory {
    /// The directory of a run, whose configuration is not read.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf(), lock: None }
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
