//! What the checks share: how one fails, and where the workspace is.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// A check that ran and found fault, as opposed to one that could not run.
#[derive(Debug)]
pub(crate) struct FailedCheck(pub(crate) String);

impl fmt::Display for FailedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FailedCheck {}

/// Folder of the workspace: the one that holds this package's folder.
///
/// Cargo names the package's folder when it runs the program; a program started
/// by hand falls back on the folder that it was built from.
pub(crate) fn workspace_root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}
