//! What a run tells of its steps: `stats.jsonl`, TensorBoard events and curves.

use crate::curves::curves;
use crate::events::EventFile;
use crate::gan::{StepStats, Updates};
use crate::quality::Quality;
use crate::run_folder::RunFolder;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two drawings of the curves, which must not slow training down.
const DRAW_EVERY: Duration = Duration::from_secs(10);

/// A tag of TensorBoard's, and what it shows of a line.
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
    ("quality/fd-mnistnet-2k", |line| Some(line.quality.as_ref()?.frechet)),
    ("quality/precision", |line| Some(line.quality.as_ref()?.precision)),
    ("quality/recall", |line| Some(line.quality.as_ref()?.recall)),
    ("quality/wanted_class", |line| line.quality.as_ref()?.agreement),
];

/// One line of `stats.jsonl`: means since the line before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatsLine {
    pub(crate) step: u64,
    pub(crate) epoch: f64,
    pub(crate) discriminator_loss: f64,
    pub(crate) generator_loss: f64,
    pub(crate) real_score: f64,
    pub(crate) fake_score: f64,
    /// Share of pictures that the discriminator was right about.
    #[serde(default)]
    pub(crate) accuracy: f64,
    /// Updates made since the line before, where they can be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) updates: Option<Updates>,
    pub(crate) images_per_second: f64,
    /// What the generator was worth at this step, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quality: Option<Quality>,
}

impl StatsLine {
    /// The means over `window`, which is not empty and ends with `step`.
    pub(crate) fn new(
        step: u64,
        steps_per_epoch: f64,
        window: &[StepStats],
        images_per_second: f64,
    ) -> Self {
        let mean = |value: fn(&StepStats) -> f32| {
            window.iter().map(|stats| f64::from(value(stats))).sum::<f64>() / window.len() as f64
        };
        Self {
            step,
            epoch: step as f64 / steps_per_epoch,
            discriminator_loss: mean(|stats| stats.discriminator_loss),
            generator_loss: mean(|stats| stats.generator_loss),
            real_score: mean(|stats| stats.real_score),
            fake_score: mean(|stats| stats.fake_score),
            accuracy: mean(|stats| stats.accuracy),
            updates: window.iter().filter_map(|stats| stats.updates).reduce(|sum, one| Updates {
                real: sum.real + one.real,
                fake: sum.fake + one.fake,
                generator: sum.generator + one.generator,
            }),
            images_per_second,
            quality: None,
        }
    }
}

/// The statistics of a run, those of earlier sessions included.
pub(crate) struct Statistics {
    path: PathBuf,
    file: File,
    events: EventFile,
    /// The curves' files, less their extensions.
    curves: PathBuf,
    drawn: Option<Instant>,
    lines: Vec<StatsLine>,
}

impl Statistics {
    /// Takes up what the run's folder holds, for a session whose first step is `first_step`.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn open(folder: &RunFolder, first_step: u64) -> Result<Self> {
        let path = folder.stats();
        let context = || format!("opening {}", path.display());
        let file =
            OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        let text = fs::read_to_string(&path).with_context(context)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let events = EventFile::create(folder.path(), first_step)?;
        let curves = folder.path().join("curves");
        Ok(Self { path, file, events, curves, drawn: None, lines })
    }

    /// The Frechet distance measured at a step.
    pub(crate) fn distance_at(&self, step: u64) -> Option<f64> {
        let line = self.lines.iter().rev().find(|line| line.step == step)?;
        Some(line.quality.as_ref()?.frechet)
    }

    /// Adds a line everywhere, to the curves not at once.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn add(&mut self, line: StatsLine) -> Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text).with_context(|| format!("writing {}", self.path.display()))?;
        let scalars: Vec<(&str, f64)> =
            SCALARS.iter().filter_map(|(tag, value)| Some((*tag, value(&line)?))).collect();
        self.events.scalars(line.step, &scalars)?;
        self.lines.push(line);
        match self.drawn {
            Some(drawn) if drawn.elapsed() < DRAW_EVERY => Ok(()),
            _ => self.draw(),
        }
    }

    /// Shows a step's sample grid in TensorBoard.
    ///
    /// # Errors
    /// A grid that cannot be read; files that cannot be written.
    pub(crate) fn sample(&mut self, step: u64, grid: &Path) -> Result<()> {
        let png = fs::read(grid).with_context(|| format!("reading {}", grid.display()))?;
        self.events.image(step, "samples", &png)
    }

    /// Draws the curves of all lines.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn draw(&mut self) -> Result<()> {
        let drawing = curves(&self.lines);
        let write = |extension, bytes: &[u8]| {
            gan_data::files::write_atomically(&self.curves.with_extension(extension), bytes)
        };
        write("svg", drawing.svg().as_bytes())?;
        write("png", &drawing.png()?)?;
        self.drawn = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
impl StatsLine {
    /// A line of zeros.
    pub(crate) fn blank(step: u64) -> Self {
        Self::new(step, 1.0, &[StepStats::default()], 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_means_over_their_window() {
        let stats = |loss| StepStats { discriminator_loss: loss, ..StepStats::default() };
        let line = StatsLine::new(10, 4.0, &[stats(1.0), stats(2.0)], 3.0);
        assert_eq!((line.discriminator_loss, line.epoch, line.generator_loss), (1.5, 2.5, 0.0));
        assert_eq!(line.updates, None);
        let updates = |real, fake| {
            let updates = Some(Updates { real, fake, generator: 1 });
            StepStats { updates, ..StepStats::default() }
        };
        let line = StatsLine::new(10, 4.0, &[updates(1, 0), updates(1, 0), updates(0, 1)], 3.0);
        assert_eq!(line.updates, Some(Updates { real: 2, fake: 1, generator: 3 }));
    }

    /// However many lines come, the curves are drawn now and then; in the end, all of them.
    #[test]
    fn curves_are_drawn_at_times() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut statistics = Statistics::open(&RunFolder::at(folder.path()), 0)?;
        let svg = || fs::read_to_string(folder.path().join("curves.svg"));
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
