//! Writes the statistics of a run: `stats.jsonl`, TensorBoard events and curves.

use crate::run::curves::curves;
use crate::run::directory::RunDirectory;
use crate::run::events::EventFile;
use crate::run::record::{Distance, Quality, STATS_LIMIT, StatsLine};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Minimum time between two drawings of the curves, so that they do not slow training down.
const DRAW_EVERY: Duration = Duration::from_secs(10);

/// A TensorBoard tag, and the function that reads its value from a line.
type Scalar = (&'static str, fn(&StatsLine) -> Option<f64>);

const SCALARS: &[Scalar] = &[
    ("loss/discriminator", |line| Some(line.discriminator_loss)),
    ("loss/generator", |line| Some(line.generator_loss)),
    ("score/real", |line| Some(line.real_score)),
    ("score/fake", |line| Some(line.fake_score)),
    ("score/accuracy", |line| Some(line.accuracy)),
    ("updates/discriminator_on_real", |line| Some(line.updates?.real as f64)),
    ("updates/discriminator_on_fake", |line| Some(line.updates?.fake as f64)),
    ("updates/generator", |line| Some(line.updates?.generator as f64)),
    ("speed/images_per_second", |line| Some(line.images_per_second)),
    ("quality/fd-mnistnet-2k", |line| line.quality.as_ref()?.distance.digits()),
    ("quality/fd-r64-2k", |line| line.quality.as_ref()?.distance.random()),
    ("quality/precision", |line| Some(line.quality.as_ref()?.precision)),
    ("quality/recall", |line| Some(line.quality.as_ref()?.recall)),
    ("quality/class_accuracy", |line| line.quality.as_ref()?.accuracy),
];

/// The statistics of a run, including earlier sessions.
pub(crate) struct Statistics {
    path: PathBuf,
    file: File,
    events: EventFile,
    /// Path of the curves' files, without the extension.
    curves: PathBuf,
    drawn: Option<Instant>,
    lines: Vec<StatsLine>,
}

impl Statistics {
    /// Opens the statistics in the run's directory, for a session whose first step is `first_step`.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn open(directory: &RunDirectory, first_step: u64) -> Result<Self> {
        let path = directory.stats();
        let context = || format!("opening {}", path.display());
        // Read first: opening anything but a regular file could wait forever.
        let lines = read(&path)?;
        let file =
            OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        let events = EventFile::create(directory.path(), first_step)?;
        let curves = curves_path(directory);
        Ok(Self { path, file, events, curves, drawn: None, lines })
    }

    /// The Frechet distance measured at a step.
    pub(crate) fn distance_at(&self, step: u64) -> Option<Distance> {
        Some(self.quality_at(step)?.distance)
    }

    /// The measurement of a step.
    pub(crate) fn quality_at(&self, step: u64) -> Option<&Quality> {
        quality_at(&self.lines, step)
    }

    /// Adds a line to all files; the curves are drawn anew only after some time.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn add(&mut self, line: StatsLine) -> Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let step = line.step;
        let scalars: Vec<(&str, f64)> =
            SCALARS.iter().filter_map(|(tag, value)| Some((*tag, value(&line)?))).collect();
        // First of all, so that `repair` can write it again.
        self.lines.push(line);
        gan_files::append(&mut self.file, &text)
            .with_context(|| format!("writing {}", self.path.display()))?;
        self.events.scalars(step, &scalars)?;
        match self.drawn {
            Some(drawn) if drawn.elapsed() < DRAW_EVERY => Ok(()),
            _ => self.draw(),
        }
    }

    /// The step of the last line that was added, if any was.
    pub(crate) fn last_step(&self) -> Option<u64> {
        Some(self.lines.last()?.step)
    }

    /// Adds a line that [`Statistics::repair`] is to write.
    pub(crate) fn keep(&mut self, line: StatsLine) {
        self.lines.push(line);
    }

    /// Writes the last line again where only a part of it, or nothing, was written.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn repair(&self) -> Result<()> {
        let Some(line) = self.lines.last() else { return Ok(()) };
        if read(&self.path)?.last().is_some_and(|last| last.step == line.step) {
            return Ok(());
        }
        let text = gan_files::read_to_string(&self.path, STATS_LIMIT)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let text = format!("{whole}{}\n", serde_json::to_string(line)?);
        Ok(gan_data::files::write_atomically(&self.path, text.as_bytes())?)
    }

    /// Shows a step's sample grid in TensorBoard.
    ///
    /// # Errors
    /// A grid that cannot be read; files that cannot be written.
    pub(crate) fn sample(&mut self, step: u64, grid: &Path) -> Result<()> {
        let png = gan_files::read(grid).with_context(|| format!("reading {}", grid.display()))?;
        self.events.image(step, "samples", &png)
    }

    /// Draws the curves of all lines.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn draw(&mut self) -> Result<()> {
        for (path, bytes) in drawn(&self.curves, &self.lines)? {
            gan_data::files::write_atomically(&path, &bytes)?;
        }
        self.drawn = Some(Instant::now());
        Ok(())
    }
}

/// Draws the curves of a run anew if other files, or none, are there. Returns whether it did.
///
/// # Errors
/// Statistics that cannot be read; files that cannot be written.
pub(crate) fn draw_if_other(directory: &RunDirectory) -> Result<bool> {
    let mut other = false;
    for (path, bytes) in drawn(&curves_path(directory), &read(&directory.stats())?)? {
        if gan_files::read(&path).ok().as_deref() != Some(&bytes) {
            gan_data::files::write_atomically(&path, &bytes)?;
            other = true;
        }
    }
    Ok(other)
}

/// The measurement of a step among these lines.
pub(crate) fn quality_at(lines: &[StatsLine], step: u64) -> Option<&Quality> {
    lines.iter().rev().find(|line| line.step == step)?.quality.as_ref()
}

/// The files of the curves.
fn drawn(path: &Path, lines: &[StatsLine]) -> Result<[(PathBuf, Vec<u8>); 2]> {
    let drawing = curves(lines);
    Ok([
        (path.with_extension("svg"), drawing.svg().into()),
        (path.with_extension("png"), drawing.png()?),
    ])
}

/// Path of the curves' files, without the extension.
fn curves_path(directory: &RunDirectory) -> PathBuf {
    directory.path().join("curves")
}

/// Reads the whole lines of a run's statistics; none where there is no file.
pub(crate) fn read(path: &Path) -> Result<Vec<StatsLine>> {
    let text = match gan_files::read_to_string(path, STATS_LIMIT) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The curves are not drawn for every line; at the end they show all of them.
    #[test]
    fn curves_are_drawn_now_and_then() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut statistics = Statistics::open(&RunDirectory::at(directory.path()), 0)?;
        let svg = || fs::read_to_string(directory.path().join("curves.svg"));
        let points = |svg: &str| svg.matches("<circle").count();
        statistics.add(StatsLine::blank(50))?;
        let first = svg()?;
        assert_eq!(points(&first), 4);
        for step in 2..100 {
            statistics.add(StatsLine::blank(50 * step))?;
        }
        assert_eq!(svg()?, first);
        statistics.draw()?;
        assert_eq!(points(&svg()?), 0);
        assert!(svg()?.contains(">4,000</text>"));
        Ok(())
    }
}
