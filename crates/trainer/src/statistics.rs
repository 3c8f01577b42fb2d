//! What a run tells of its steps: `stats.jsonl`, TensorBoard events and `curves.svg`.

use crate::events::EventFile;
use crate::gan::{StepStats, Updates};
use crate::quality::Quality;
use crate::run_folder::RunFolder;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

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
    curves: PathBuf,
    lines: Vec<StatsLine>,
}

impl Statistics {
    /// Takes up what the run's folder holds.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(crate) fn open(folder: &RunFolder) -> Result<Self> {
        let path = folder.stats();
        let context = || format!("opening {}", path.display());
        let file =
            OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        let text = fs::read_to_string(&path).with_context(context)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let events = EventFile::create(folder.path())?;
        Ok(Self { path, file, events, curves: folder.path().join("curves.svg"), lines })
    }

    /// The Frechet distance measured at a step.
    pub(crate) fn distance_at(&self, step: u64) -> Option<f64> {
        let line = self.lines.iter().rev().find(|line| line.step == step)?;
        Some(line.quality.as_ref()?.frechet)
    }

    /// Adds a line everywhere.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn add(&mut self, line: StatsLine) -> Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text).with_context(|| format!("writing {}", self.path.display()))?;
        let mut scalars = vec![
            ("loss/discriminator", line.discriminator_loss),
            ("loss/generator", line.generator_loss),
            ("score/real", line.real_score),
            ("score/fake", line.fake_score),
            ("score/accuracy", line.accuracy),
            ("speed/images_per_second", line.images_per_second),
        ];
        if let Some(updates) = line.updates {
            scalars.extend([
                ("updates/discriminator_on_real", updates.real as f64),
                ("updates/discriminator_on_fake", updates.fake as f64),
                ("updates/generator", updates.generator as f64),
            ]);
        }
        if let Some(quality) = &line.quality {
            scalars.extend([
                ("quality/fd-mnistnet-2k", quality.frechet),
                ("quality/precision", quality.precision),
                ("quality/recall", quality.recall),
            ]);
            scalars.extend(quality.agreement.map(|share| ("quality/wanted_class", share)));
        }
        self.events.scalars(line.step, &scalars)?;
        self.lines.push(line);
        Ok(gan_data::files::write_whole(&self.curves, curves(&self.lines).as_bytes())?)
    }
}

/// A curve's name, colour and values.
type Curve = (&'static str, &'static str, fn(&StatsLine) -> f64);

const LOSSES: [Curve; 2] = [
    ("discriminator loss", "#c0392b", |line| line.discriminator_loss),
    ("generator loss", "#2471a3", |line| line.generator_loss),
];
const SCORES: [Curve; 2] = [
    ("D(x), real", "#c0392b", |line| line.real_score),
    ("D(G(z)), fake", "#2471a3", |line| line.fake_score),
];

/// Losses and scores over steps, one above the other, as SVG.
fn curves(lines: &[StatsLine]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 520\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"760\" height=\"520\" fill=\"white\"/>\n",
    );
    panel(&mut svg, 20.0, &LOSSES, lines);
    panel(&mut svg, 270.0, &SCORES, lines);
    svg.push_str("</svg>\n");
    svg
}

/// One diagram of 700 by 200, its values from 0 to 1 at least.
fn panel(svg: &mut String, top: f64, curves: &[Curve], lines: &[StatsLine]) {
    let values = || curves.iter().flat_map(|(_, _, value)| lines.iter().map(value));
    let (least, most) = (values().fold(0.0, f64::min), values().fold(1.0, f64::max));
    let (left, width, height) = (50.0, 690.0, 200.0);
    let last = lines.last().map_or(1, |line| line.step);
    let bottom = top + height;
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {top}V{bottom}H{}\" fill=\"none\" stroke=\"#888\"/>\n\
         <text x=\"45\" y=\"{}\" text-anchor=\"end\">{most:.2}</text>\n\
         <text x=\"45\" y=\"{bottom}\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">step {last}</text>",
        left + width,
        top + 10.0,
        if least < 0.0 { format!("{least:.2}") } else { "0".to_string() },
        left + width,
        bottom + 16.0,
    );
    for (i, (name, colour, value)) in curves.iter().enumerate() {
        let mut points = String::new();
        for line in lines {
            let x = left + width * line.step as f64 / last as f64;
            let y = bottom - height * (value(line) - least) / (most - least);
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
            points.trim_end(),
            left + 10.0 + 150.0 * i as f64,
            bottom + 16.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, loss: f64, score: f64) -> StatsLine {
        StatsLine {
            step,
            epoch: 0.0,
            discriminator_loss: loss,
            generator_loss: loss / 2.0,
            real_score: score,
            fake_score: 0.0,
            accuracy: 0.0,
            updates: None,
            images_per_second: 1.0,
            quality: None,
        }
    }

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

    #[test]
    fn curves_stand_where_their_values_are() {
        let svg = curves(&[line(50, 2.0, 0.25), line(100, 1.0, 1.0)]);
        // 0 to 2 over 200 pixels up from 220: 2 is at 20, 1 at 120, 0.5 at 170.
        assert!(svg.contains("points=\"395.0,20.0 740.0,120.0\""), "{svg}");
        assert!(svg.contains("points=\"395.0,120.0 740.0,170.0\""), "{svg}");
        // 0 to 1 up from 470.
        assert!(svg.contains("points=\"395.0,420.0 740.0,270.0\""), "{svg}");
        // -2 to 2.
        let svg = curves(&[line(50, 2.0, 0.25), line(100, -2.0, 1.0)]);
        assert!(
            svg.contains("points=\"395.0,20.0 740.0,220.0\"") && svg.contains(">-2.00<"),
            "{svg}"
        );
        assert!(svg.contains("step 100") && svg.ends_with("</svg>\n"));
    }
}
