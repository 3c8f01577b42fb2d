//! Helpers of the checks: their error, the workspace's directory and runs of cargo.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// The error of a check that found a fault. Checks that cannot run have other errors.
#[derive(Debug)]
pub struct FailedCheck(pub(crate) String);

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

/// Copies the workspace's `Cargo.lock` into a directory.
///
/// # Errors
/// It cannot be read or written.
pub(crate) fn copy_lock(root: &Path, directory: &Path) -> Result<()> {
    let lock = root.join("Cargo.lock");
    let bytes = gan_files::read(&lock).with_context(|| lock.display().to_string())?;
    let copy = directory.join("Cargo.lock");
    gan_files::write(&copy, &bytes).with_context(|| format!("making {}", copy.display()))
}

/// The trainer's program, as a build of the workspace at `root` leaves it: `profile` is `debug` or `release`.
pub(crate) fn built_trainer(root: &Path, profile: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join(profile).join(format!("candle-gan{}", env::consts::EXE_SUFFIX))
}

/// The first of these programs that is on the path.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        directories.iter().map(|directory| directory.join(name)).find(|program| program.is_file())
    })
}

/// Runs cargo in a directory, with this program's output streams.
///
/// # Errors
/// [`FailedCheck`] if cargo fails; otherwise cargo cannot be started.
pub(crate) fn run_cargo(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let status = status(cargo(directory, args).envs(env.iter().copied()))?;
    if status.success() {
        return Ok(());
    }
    let end = match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    };
    Err(FailedCheck(format!("{} failed with {end}", args[0])).into())
}

/// Whether a run of cargo succeeds. Its output is not shown.
///
/// # Errors
/// Cargo cannot be started.
pub(crate) fn cargo_succeeds(directory: &Path, args: &[&str]) -> Result<bool> {
    let mut cargo = cargo(directory, args);
    Ok(status(cargo.stdout(Stdio::null()).stderr(Stdio::null()))?.success())
}

fn cargo(directory: &Path, args: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut cargo = Command::new(program);
    cargo.args(args).current_dir(directory);
    cargo
}

fn status(command: &mut Command) -> Result<ExitStatus> {
    let starting = format!("starting {}", command.get_program().display());
    command.status().context(starting)
}
