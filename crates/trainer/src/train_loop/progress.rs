//! Shows progress: a bar on a terminal, plain lines elsewhere, or lines of JSON.

use crate::cli::values::ProgressName;
use crate::format::duration;
use crate::run::record::{Distance, Quality};
use gan_files::{Line, Plain};
use gan_training::StepStats;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two updates of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Steps after which the time of the others is estimated.
const TIMED: u64 = 20;
/// Training of fewer seconds is not worth an estimate.
const LONG: f64 = 60.0;

/// Time between two lines of JSON.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// How progress is shown.
enum Display {
    /// As a bar on standard error.
    Bar(ProgressBar),
    /// As lines of the log, on standard error.
    Lines,
    /// As [events](event) on standard output.
    Json,
}

/// Prints an event of training as a JSON object on a line of standard output. That nobody reads it is
/// no error.
pub(crate) fn event(name: &str, mut fields: Value) {
    fields["event"] = name.into();
    let mut out = Plain::new(std::io::stdout().lock());
    let _ = writeln!(out, "{fields}").and_then(|()| out.flush());
}

/// Shows the progress of a session.
pub(crate) struct Progress {
    display: Display,
    first_step: u64,
    steps: u64,
    batch_size: usize,
    steps_per_epoch: f64,
    started: Instant,
    shown: Option<Instant>,
    is_estimated: bool,
    /// The last measurement.
    quality: String,
}

impl Progress {
    /// Begins after `done` of so many steps.
    pub(crate) fn new(
        name: ProgressName,
        (done, steps): (u64, u64),
        batch_size: usize,
        steps_per_epoch: f64,
    ) -> Self {
        let display = match name {
            ProgressName::Json => Display::Json,
            ProgressName::Auto if std::io::stderr().is_terminal() => Display::Bar(bar(done, steps)),
            ProgressName::Auto | ProgressName::Plain => Display::Lines,
        };
        let started = Instant::now();
        Self {
            display,
            first_step: done,
            steps,
            batch_size,
            steps_per_epoch,
            started,
            shown: None,
            is_estimated: false,
            quality: String::new(),
        }
    }

    /// Images a second since the session began.
    pub(crate) fn images_per_second(&self, step: u64) -> f64 {
        let images = (step - self.first_step) as f64 * self.batch_size as f64;
        images / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Whether it is time to show a step.
    pub(crate) fn is_due(&self, step: u64) -> bool {
        let every = match self.display {
            Display::Bar(_) => BAR_EVERY,
            Display::Lines => LINE_EVERY,
            Display::Json => JSON_EVERY,
        };
        step == self.steps || self.shown.is_none_or(|shown| shown.elapsed() >= every)
    }

    /// Shows where training is.
    pub(crate) fn show(&mut self, step: u64, stats: &StepStats) {
        self.shown = Some(Instant::now());
        if !self.is_estimated && step - self.first_step >= TIMED {
            self.is_estimated = true;
            self.estimate(step);
        }
        match &self.display {
            Display::Bar(bar) => {
                bar.set_message(self.message(step, stats));
                bar.set_position(step);
            }
            Display::Lines => {
                tracing::info!("step {step}/{} {}", self.steps, self.message(step, stats));
            }
            Display::Json => event("progress", self.fields(step, stats)),
        }
    }

    /// Shows how long training will take, once it is known.
    fn estimate(&self, step: u64) {
        let (time, steps, left) = (self.step_time(step), self.steps - step, self.time_left(step));
        if left > LONG {
            self.note(&format!(
                "a step takes {:.0} ms, so the {steps} steps left take about {}",
                1e3 * time,
                duration(left)
            ));
        }
    }

    /// Seconds of a step, reports included.
    fn step_time(&self, step: u64) -> f64 {
        self.started.elapsed().as_secs_f64() / (step - self.first_step).max(1) as f64
    }

    /// Seconds of the steps after this one, at the speed so far.
    fn time_left(&self, step: u64) -> f64 {
        self.step_time(step) * (self.steps - step) as f64
    }

    /// Shows a measurement, and warns of a collapse when it begins.
    pub(crate) fn measured(&mut self, step: u64, quality: &Quality) {
        if let (Display::Json, Ok(mut fields)) = (&self.display, serde_json::to_value(quality)) {
            fields["step"] = step.into();
            event("measurement", fields);
        }
        let collapsed = quality.collapse.as_ref().map_or("", |_| " COLLAPSED");
        if let (Some(reason), false) = (&quality.collapse, self.quality.ends_with("COLLAPSED")) {
            self.warn(&format!("the generator's images have collapsed: {reason}"));
        }
        self.quality = match quality.distance {
            Distance::Digits(distance) => format!("  FD {distance:.2}{collapsed}"),
            Distance::Random(distance) => format!("  R64 FD {distance:.3}{collapsed}"),
        };
    }

    /// Shows a warning.
    pub(crate) fn warn(&self, text: &str) {
        match &self.display {
            Display::Bar(bar) => bar.println(format!(" WARN {}", Line(text))),
            Display::Lines => tracing::warn!("{text}"),
            Display::Json => event("warning", json!({ "message": text })),
        }
    }

    /// Shows a note that is no warning.
    pub(crate) fn note(&self, text: &str) {
        match &self.display {
            Display::Bar(bar) => bar.println(format!(" INFO {}", Line(text))),
            Display::Lines => tracing::info!("{text}"),
            Display::Json => event("note", json!({ "message": text })),
        }
    }

    /// Leaves the bar as it is, so that what comes after, errors included, has a line of its own.
    pub(crate) fn end(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.abandon();
        }
    }

    /// Where training is, for programs.
    fn fields(&self, step: u64, stats: &StepStats) -> Value {
        json!({
            "step": step,
            "steps": self.steps,
            "epoch": step as f64 / self.steps_per_epoch,
            "discriminator_loss": stats.discriminator_loss,
            "generator_loss": stats.generator_loss,
            "real_score": stats.real_score,
            "fake_score": stats.fake_score,
            "accuracy": stats.accuracy,
            "images_per_second": self.images_per_second(step),
            "seconds_left": self.time_left(step),
        })
    }

    /// Where training is, for people.
    fn message(&self, step: u64, stats: &StepStats) -> String {
        format!(
            "epoch {:.1}/{:.1}  D {:.3} accuracy {:.0}%  G {:.3}{}  {:.0} images/s  {} left",
            step as f64 / self.steps_per_epoch,
            self.steps as f64 / self.steps_per_epoch,
            stats.discriminator_loss,
            100.0 * stats.accuracy,
            stats.generator_loss,
            self.quality,
            self.images_per_second(step),
            duration(self.time_left(step))
        )
    }
}

/// A bar of so many steps.
fn bar(done: u64, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::new(steps).with_position(done);
    // The template is fixed; should it be wrong, the plain style does.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
