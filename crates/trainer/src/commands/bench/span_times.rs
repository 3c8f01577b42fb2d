//! Measures the time spent in each tracing span of a training step.

use anyhow::Result;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// A tracing layer that sums the time in each span. The key is the path of span names.
#[derive(Clone, Default)]
pub(crate) struct SpanTimes(Arc<Mutex<BTreeMap<String, Duration>>>);

struct Path(String);
struct Entered(Instant);

impl SpanTimes {
    /// Runs `work`, whose spans are timed: those of this thread, and of others that are handed its
    /// dispatcher.
    pub(crate) fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        tracing::subscriber::with_default(Registry::default().with(self.clone()), work)
    }

    /// Milliseconds a step in each span, by path.
    pub(crate) fn per_step(&self, steps: u64) -> Vec<(String, f64)> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |time: &Duration| time.as_secs_f64() * 1e3 / steps as f64;
        times.iter().map(|(path, time)| (path.clone(), ms(time))).collect()
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanTimes {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut path = String::new();
        if let Some(parent) = span.parent()
            && let Some(Path(parent)) = parent.extensions().get()
        {
            path = format!("{parent} / ");
        }
        path += attributes.metadata().name();
        attributes.record(&mut Values(&mut path));
        span.extensions_mut().insert(Path(path));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Entered(Instant::now()));
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let extensions = span.extensions();
        if let (Some(Path(path)), Some(Entered(start))) = (extensions.get(), extensions.get()) {
            let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *times.entry(path.clone()).or_default() += start.elapsed();
        }
    }
}

/// Writes a span's values after its name.
struct Values<'a>(&'a mut String);

impl Visit for Values<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {value:?}");
    }
}
