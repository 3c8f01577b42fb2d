//! What the checks share: their error, and the place of the workspace.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// The error of a check that found a fault, as opposed to one that could not run.
#[derive(Debug)]
pub(crate) struct FailedCheck(pub(crate) String);

impl fmt::Display for FailedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FailedCheck {}

/// The directory of the workspace, which is the parent of this package's directory.
///
/// Cargo names the package's directory in the environment. A program started without cargo uses the
/// directory that it was built from.
pub(crate) fn workspace_root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}
