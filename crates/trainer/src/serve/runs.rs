//! The runs of a directory, and the generators that can be used.
//!
//! A name that a request gives is compared with those in the directory, and never becomes part of a path
//! by itself.

use super::reply::Failure;
use super::stats::{self, Cursor};
use crate::config::TrainConfig;
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::run::record::{Distance, StatsLine};
use gan_models::{CONFIG_FILE, WEIGHTS_FILE};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The largest sample grid that is read, in bytes.
const LARGEST_GRID: u64 = 64 << 20;

/// The directories that the page shows.
pub(super) struct Runs {
    directory: PathBuf,
    weights: Option<PathBuf>,
    /// What was read of each run before.
    known: Mutex<HashMap<String, Known>>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Training,
    Stopped,
    Finished,
    /// Its configuration cannot be read.
    Broken,
}

/// A run in the list. Of a broken one, name, state and error are known.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    name: String,
    state: State,
    /// Why the configuration cannot be read.
    error: Option<String>,
    recipe: String,
    dataset: String,
    classes: Vec<String>,
    /// The reason, if the last measurement found that the images have collapsed.
    collapse: Option<String>,
    step: u64,
    steps: u64,
    /// The last measurement.
    distance: Option<Distance>,
    /// The step of the best measurement.
    best_step: Option<u64>,
    images_per_second: Option<f64>,
    seconds_left: Option<f64>,
}

/// A run that is shown alone.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    config: TrainConfig,
    /// The steps of the sample grids.
    samples: Vec<u64>,
    has_checkpoint: bool,
}

/// A generator that can be used.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Choice {
    kind: &'static str,
    name: String,
}

/// What was read of a run.
struct Known {
    /// The configuration, or why it cannot be read.
    config: Result<TrainConfig, String>,
    /// The time of the configuration file.
    modified: Option<SystemTime>,
    cursor: Cursor,
    last: Option<StatsLine>,
    measured: Option<StatsLine>,
}

impl Runs {
    pub(super) fn new(directory: PathBuf, weights: Option<PathBuf>) -> Self {
        Self { directory, weights, known: Mutex::default() }
    }

    /// All runs, by name.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn list(&self) -> Result<Vec<Summary>, Failure> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        let mut before = std::mem::take(&mut *known);
        for (name, path) in directories(&self.directory)? {
            // Whatever is no run, or is removed just now, is left out.
            let Some(of_run) = Known::update(before.remove(&name), &path) else { continue };
            all.push(of_run.summary(&name, &path));
            known.insert(name, of_run);
        }
        Ok(all)
    }

    /// The directory of a run.
    ///
    /// # Errors
    /// No run of this name.
    pub(super) fn find(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = named(&self.directory, name)?;
        match path.join(CONFIG_FILE).is_file() {
            true => Ok(path),
            false => Err(Failure::not_found()),
        }
    }

    /// A run's configuration and what it has.
    ///
    /// # Errors
    /// No run of this name; a configuration that cannot be read.
    pub(super) fn detail(&self, name: &str) -> Result<Detail, Failure> {
        let (directory, config) = RunDirectory::open(&self.find(name)?)?;
        let names = fs::read_dir(directory.samples()).into_iter().flatten().flatten();
        let step = |name: &str| name.strip_suffix(".png")?.parse::<u64>().ok();
        let mut samples: Vec<u64> =
            names.filter_map(|entry| step(entry.file_name().to_str()?)).collect();
        samples.sort_unstable();
        let has_checkpoint = !checkpoint::is_empty(&directory.checkpoints())?;
        Ok(Detail { config, samples, has_checkpoint })
    }

    /// A sample grid, as PNG.
    ///
    /// # Errors
    /// No such run or grid.
    pub(super) fn sample(&self, name: &str, step: u64) -> Result<Vec<u8>, Failure> {
        let run = self.find(name)?;
        let (directory, _) = RunDirectory::open(&run)?;
        let path = directory.samples().join(format!("{step:06}.png"));
        let size = fs::metadata(&path).map_or(u64::MAX, |file| file.len());
        // A link in somebody else's run may lead anywhere.
        match size <= LARGEST_GRID && is_inside(&run, &path).unwrap_or(false) {
            true => gan_files::read(&path).map_err(|_| Failure::not_found()),
            false => Err(Failure::not_found()),
        }
    }

    /// Asks the process that trains a run to write a checkpoint and end.
    ///
    /// # Errors
    /// No such run; one that nobody trains; a directory that cannot be written to.
    pub(super) fn stop(&self, name: &str) -> Result<(), Failure> {
        let (directory, _) = RunDirectory::open(&self.find(name)?)?;
        if !directory.is_training() {
            return Err(Failure::bad("no process trains this run"));
        }
        gan_files::write(&directory.stop(), b"")
            .map_err(|error| Failure::from(anyhow::Error::from(error).context("asking to stop")))
    }

    /// The generators of all runs, and of the directory of weights.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn generators(&self) -> Result<Vec<Choice>, Failure> {
        let mut all = Vec::new();
        for (name, path) in directories(&self.directory)? {
            for (kind, place) in [("run", "generator"), ("best", "best-generator")] {
                if is_generator(&path.join(place)) {
                    all.push(Choice { kind, name: name.clone() });
                }
            }
        }
        let weights = self.weights()?.into_iter().map(|(name, _)| name);
        all.extend(weights.map(|name| Choice { kind: "weights", name }));
        Ok(all)
    }

    /// The directory of a generator.
    ///
    /// # Errors
    /// No such generator.
    pub(super) fn generator(&self, kind: &str, name: &str) -> Result<PathBuf, Failure> {
        let path = match kind {
            "run" => self.find(name)?.join("generator"),
            "best" => self.find(name)?.join("best-generator"),
            "weights" => {
                let found = self.weights()?.into_iter().find(|(of, _)| of == name);
                found.ok_or_else(Failure::not_found)?.1
            }
            _ => return Err(Failure::not_found()),
        };
        if is_generator(&path) { Ok(path) } else { Err(Failure::not_found()) }
    }

    /// The generators of the directory of weights, which may be one itself.
    fn weights(&self) -> Result<Vec<(String, PathBuf)>, Failure> {
        let Some(weights) = &self.weights else { return Ok(Vec::new()) };
        if is_generator(weights) {
            let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(vec![(name, weights.clone())]);
        }
        let all = directories(weights)?;
        Ok(all.into_iter().filter(|(_, path)| is_generator(path)).collect())
    }
}

fn is_generator(path: &Path) -> bool {
    [CONFIG_FILE, WEIGHTS_FILE].iter().all(|name| path.join(name).is_file())
}

/// Names and paths of the directories in a directory, by name; none where there is no such directory.
/// Names that are no text, hidden ones, and links that lead out of the directory are left out.
fn directories(directory: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| {
            let context = format!("reading {}", directory.display());
            Failure::from(anyhow::Error::from(error).context(context))
        })?,
    };
    let mut all: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)))
        .filter(|(name, entry)| !name.starts_with('.') && stays_inside(directory, entry))
        .map(|(name, entry)| (name, entry.path()))
        .filter(|(_, path)| path.is_dir())
        .collect();
    all.sort();
    Ok(all)
}

/// Whether an entry of a directory is no link, or one to a place in the same directory.
fn stays_inside(directory: &Path, entry: &DirEntry) -> bool {
    let leads_inside = || is_inside(directory, &entry.path()).unwrap_or(false);
    entry.file_type().is_ok_and(|kind| !kind.is_symlink() || leads_inside())
}

/// Whether a path leads to a place in a directory, through whatever links.
fn is_inside(directory: &Path, path: &Path) -> io::Result<bool> {
    Ok(fs::canonicalize(path)?.starts_with(fs::canonicalize(directory)?))
}

/// The path of the directory of this name in a directory.
fn named(directory: &Path, name: &str) -> Result<PathBuf, Failure> {
    let found = directories(directory)?.into_iter().find(|(of, _)| of == name);
    found.map(|(_, path)| path).ok_or_else(Failure::not_found)
}

impl Known {
    /// Reads what is new in a run. `None` if it is no run, or gone.
    fn update(before: Option<Self>, path: &Path) -> Option<Self> {
        let modified = fs::metadata(path.join(CONFIG_FILE)).ok()?.modified().ok();
        let mut known = match before {
            Some(known) if known.modified == modified => known,
            _ => {
                let config = RunDirectory::open(path).map(|(_, config)| config);
                let config = config.map_err(|error| format!("{error:#}"));
                Self { config, modified, cursor: Cursor::default(), last: None, measured: None }
            }
        };
        while let Ok((cursor, news)) = stats::read(&path.join("stats.jsonl"), known.cursor) {
            if news.is_new {
                (known.last, known.measured) = (None, None);
            }
            known.cursor = cursor;
            for line in news.lines {
                if line.quality.is_some() {
                    known.measured = Some(line.clone());
                }
                known.last = Some(line);
            }
            if !news.has_more {
                break;
            }
        }
        Some(known)
    }

    fn summary(&self, name: &str, path: &Path) -> Summary {
        let config = match &self.config {
            Ok(config) => config,
            Err(error) => return Summary::broken(name, error),
        };
        let directory = RunDirectory::at(path);
        let checkpoints = directory.checkpoints();
        let of_checkpoint = checkpoint::newest(&checkpoints).ok().flatten();
        let of_checkpoint =
            of_checkpoint.and_then(|path| path.file_name()?.to_str()?.parse::<u64>().ok());
        let step = self.last.as_ref().map_or(0, |line| line.step).max(of_checkpoint.unwrap_or(0));
        let is_training = directory.is_training();
        let state = match step >= config.steps {
            _ if is_training => State::Training,
            true => State::Finished,
            false => State::Stopped,
        };
        let quality = self.measured.as_ref().and_then(|line| line.quality.as_ref());
        let images_per_second = self.last.as_ref().map(|line| line.images_per_second);
        let images = config.steps.saturating_sub(step) as f64 * config.training.batch_size as f64;
        let seconds_left =
            images_per_second.filter(|rate| is_training && *rate > 0.0).map(|rate| images / rate);
        Summary {
            name: name.to_string(),
            state,
            error: None,
            recipe: config.recipe.clone(),
            dataset: config.dataset.clone(),
            classes: config.classes.clone(),
            collapse: quality.and_then(|quality| quality.collapse.clone()),
            step,
            steps: config.steps,
            distance: quality.map(|quality| quality.distance),
            best_step: checkpoint::best_step(&checkpoints),
            images_per_second,
            seconds_left,
        }
    }
}

impl Summary {
    fn broken(name: &str, error: &str) -> Self {
        Self {
            name: name.to_string(),
            state: State::Broken,
            error: Some(error.to_string()),
            recipe: String::new(),
            dataset: String::new(),
            classes: Vec::new(),
            collapse: None,
            step: 0,
            steps: 0,
            distance: None,
            best_step: None,
            images_per_second: None,
            seconds_left: None,
        }
    }
}
