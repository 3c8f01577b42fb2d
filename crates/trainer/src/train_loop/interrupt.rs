//! Handles requests to stop: Ctrl-C, the second of which ends the program at once, and a file in the run
//! directory.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a program stopped by Ctrl-C, as in shells: a command after `&&` does not take an
/// unfinished run for a finished one.
pub const INTERRUPTED: u8 = 130;

/// Returns whether the user asked to stop.
pub(crate) struct Interrupt {
    signal: Arc<AtomicBool>,
    file: PathBuf,
}

impl Interrupt {
    /// Begins to listen for Ctrl-C and SIGTERM, and to look for a file whose existence asks to stop.
    ///
    /// # Errors
    /// A handler that the system does not accept.
    pub(crate) fn listen(file: PathBuf) -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let handler = flag.clone();
        ctrlc::set_handler(move || {
            if handler.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
            tracing::info!("finishing the step; Ctrl-C again stops at once");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self { signal: flag, file })
    }

    /// Leaves Ctrl-C and SIGTERM to rank 0, for the others: its decision ends them in order.
    ///
    /// # Errors
    /// A handler that the system does not accept.
    pub(crate) fn leave_to_first_rank() -> Result<()> {
        ctrlc::set_handler(|| {}).context("listening for Ctrl-C")
    }

    /// Whether it happened.
    pub(crate) fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || self.file.symlink_metadata().is_ok()
    }
}
