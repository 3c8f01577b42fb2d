//! Locks of directories, so that temporary names are cleared only where nobody uses one.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often a lock is tried, and the time between: a program that clears holds its lock for less.
const TRIES: usize = 20;
const BETWEEN: Duration = Duration::from_millis(5);

/// Keeps the temporary names in a directory from being cleared, until the file is dropped or the process
/// dies. `None` where directories have no locks, or another program keeps this one locked.
pub(crate) fn hold(directory: &Path) -> Option<File> {
    let file = open(directory)?;
    for _ in 0..TRIES {
        match file.try_lock_shared() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Keeps other programs from using temporary names in a directory, until the file is dropped. `None`
/// where one does, or where directories have no locks.
pub(crate) fn alone(directory: &Path) -> Option<File> {
    let file = open(directory)?;
    file.try_lock().ok()?;
    Some(file)
}

/// Opens a directory, where the system allows that. Opening a FIFO in its place could wait forever.
fn open(directory: &Path) -> Option<File> {
    directory.is_dir().then(|| File::open(directory).ok()).flatten()
}
