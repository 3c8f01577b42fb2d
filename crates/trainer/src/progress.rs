//! What a person sees while training: a bar on a terminal, plain lines elsewhere.

use crate::gan::StepStats;
use crate::quality::Quality;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Reports to standard error.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    first_step: u64,
    steps: u64,
    batch_size: usize,
    steps_per_epoch: f64,
    started: Instant,
    last_line: Option<Instant>,
    /// What the last measurement found.
    quality: String,
}

impl Progress {
    pub(crate) fn new(done: u64, steps: u64, batch_size: usize, steps_per_epoch: f64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
            let bar = ProgressBar::new(steps).with_position(done);
            // The template is fixed; should it be wrong, the plain style does.
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let started = Instant::now();
        Self {
            bar,
            first_step: done,
            steps,
            batch_size,
            steps_per_epoch,
            started,
            last_line: None,
            quality: String::new(),
        }
    }

    /// Pictures a second since training began or went on.
    pub(crate) fn images_per_second(&self, step: u64) -> f64 {
        let images = (step - self.first_step) as f64 * self.batch_size as f64;
        images / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Shows where training is.
    pub(crate) fn update(&mut self, step: u64, stats: &StepStats) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(step, stats));
            bar.set_position(step);
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY)
            || step == self.steps
        {
            self.last_line = Some(Instant::now());
            tracing::info!("step {step}/{} {}", self.steps, self.message(step, stats));
        }
    }

    /// Takes in a measurement, and tells of a collapse when it begins.
    pub(crate) fn measured(&mut self, quality: &Quality) {
        let collapsed = quality.collapse.as_ref().map_or("", |_| " COLLAPSED");
        if let (Some(reason), false) = (&quality.collapse, self.quality.ends_with("COLLAPSED")) {
            let text = format!("the generator's pictures have collapsed: {reason}");
            match &self.bar {
                Some(bar) => bar.println(format!(" WARN {text}")),
                None => tracing::warn!("{text}"),
            }
        }
        self.quality = format!("  FD {:.2}{collapsed}", quality.frechet);
    }

    fn message(&self, step: u64, stats: &StepStats) -> String {
        let left = self.started.elapsed().as_secs_f64() / (step - self.first_step).max(1) as f64
            * (self.steps - step) as f64;
        format!(
            "epoch {:.1}/{:.1}  D {:.3} right {:.0}%  G {:.3}{}  {:.0} images/s  {} left",
            step as f64 / self.steps_per_epoch,
            self.steps as f64 / self.steps_per_epoch,
            stats.discriminator_loss,
            100.0 * stats.accuracy,
            stats.generator_loss,
            self.quality,
            self.images_per_second(step),
            duration(left)
        )
    }
}

/// Leaves the bar as it stands, so that what comes after, an error too, has a line of its own.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// Seconds as people write them: 42 s, 3 min 07 s, 2 h 05 min.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(187.0), "3 min 07 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
    }
}
