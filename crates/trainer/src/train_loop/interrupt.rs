//! Handles Ctrl-C: the first ends training after the current step, the second ends the program.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a program stopped by Ctrl-C, as in shells: a command after `&&` does not take an
/// unfinished run for a finished one.
pub const INTERRUPTED: u8 = 130;

/// Returns whether the user asked to stop.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen for Ctrl-C and SIGTERM.
    ///
    /// # Errors
    /// A handler that the system does not accept.
    pub(crate) fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let handler = flag.clone();
        ctrlc::set_handler(move || {
            if handler.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
            tracing::info!("finishing the step; Ctrl-C again stops at once");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(flag))
    }

    /// Whether it happened.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
