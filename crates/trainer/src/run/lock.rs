//! The lock of a run directory: one process writes to a run.

use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Name of the lock file. It stays when the lock is released: removing it would let two processes
/// hold locks of two files of this name.
const LOCK: &str = "run.lock";

/// Number of bytes of a process's id at most, of which more are not read.
const LONGEST_ID: u64 = 20;

/// Time after which a lock that is held is tried once more: [`RunLock::is_held`] takes it for a moment.
const MOMENT: Duration = Duration::from_millis(50);

/// The lock of a run. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct RunLock(File);

impl RunLock {
    /// Locks a run directory, and writes the id of this process into the lock file.
    ///
    /// # Errors
    /// A lock that another process holds, by its id; a file that cannot be made, or is no regular one.
    pub(crate) fn acquire(run: &Path) -> Result<Self> {
        let path = run.join(LOCK);
        let context = || format!("locking {}", path.display());
        match gan_files::require_regular(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(context);
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).with_context(context)?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                sleep(MOMENT);
                file.try_lock()
            }
            locked => locked,
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // On some systems a locked file cannot be read.
                let _ = (&file).take(LONGEST_ID).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_string(),
                    id => format!("process {id}"),
                };
                bail!(
                    "{}: {holder} is training this run; wait until it ends, or stop it",
                    run.display()
                );
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!("{}: this file system has no locks", run.display());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let lock = Self(file);
        lock.write(&format!("{}\n", std::process::id())).with_context(context)?;
        Ok(lock)
    }

    /// Whether a process trains the run.
    #[cfg(feature = "serve")]
    pub(crate) fn is_held(run: &Path) -> bool {
        let Ok(file) = gan_files::open(&run.join(LOCK)) else { return false };
        let mut id = String::new();
        match (&file).take(LONGEST_ID).read_to_string(&mut id) {
            // Whoever held it has ended in order.
            Ok(_) if id.trim().is_empty() => false,
            _ => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        }
    }

    /// Replaces the text of the file.
    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The id of a process that has ended may become another's; it is not needed any more.
        let _ = self.write("");
    }
}
