//! `cargo xtask sanitize`: the tests of gan-kernels under AddressSanitizer and ThreadSanitizer.
//!
//! gan-kernels is the only crate with `unsafe` code. Sanitizers need a nightly toolchain, and
//! ThreadSanitizer also a standard library that is compiled with it, because it does not see the
//! locks of another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::check::FailedCheck;
use crate::say::say;

const TOOLCHAIN: &str = "nightly";

/// The target for which the nightly toolchain has sanitizers.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Args)]
pub(crate) struct Sanitize {
    /// Run this sanitizer only
    #[arg(value_enum)]
    sanitizer: Option<Sanitizer>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sanitizer {
    /// AddressSanitizer: accesses out of bounds, use after free, leaks
    Address,
    /// ThreadSanitizer: data races
    Thread,
}

impl Sanitize {
    /// Runs the tests of gan-kernels in the workspace at `root`, with each sanitizer.
    ///
    /// # Errors
    /// [`FailedCheck`] if a test fails or a sanitizer reports an error; otherwise a toolchain that
    /// is missing or incomplete.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        for sanitizer in [Sanitizer::Address, Sanitizer::Thread] {
            if self.sanitizer.is_none_or(|only| only == sanitizer) {
                let start = Instant::now();
                sanitizer.run(root)?;
                let seconds = start.elapsed().as_secs_f64();
                say(format_args!("sanitize: {} passed in {seconds:.0} s", sanitizer.name()));
            }
        }
        Ok(())
    }
}

impl Sanitizer {
    /// The name that the compiler takes.
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }

    fn run(self, root: &Path) -> Result<()> {
        check_toolchain(self == Self::Thread)?;
        let mut command = Command::new("rustup");
        command.args(["run", TOOLCHAIN, "cargo", "test", "--package", "gan-kernels"]);
        command.args(["--lib", "--test", "it", "--target", TARGET]);
        if self == Self::Thread {
            command.arg("-Zbuild-std");
        }
        // Flags of its own would compile everything else anew, too.
        command.arg("--target-dir").arg(root.join("target/sanitize"));
        command.env("RUSTFLAGS", format!("-Zsanitizer={}", self.name())).current_dir(root);
        say(format_args!("sanitize: {}", self.name()));
        let status = command.status().context("starting rustup")?;
        if status.success() {
            return Ok(());
        }
        let text = format!("the tests of gan-kernels under {} failed, {status}", self.name());
        Err(FailedCheck(text).into())
    }
}

/// Finds out whether the toolchain is there, with the sources of the standard library if wanted.
fn check_toolchain(with_sources: bool) -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("sanitize runs on {TARGET} only");
    }
    let output = Command::new("rustup")
        .args(["run", TOOLCHAIN, "rustc", "--print", "sysroot"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .context("starting rustup")?;
    if !output.status.success() {
        bail!(
            "there is no {TOOLCHAIN} toolchain: rustup toolchain install {TOOLCHAIN} --component \
             rust-src"
        );
    }
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if with_sources && !sysroot.join("lib/rustlib/src/rust/library").is_dir() {
        bail!(
            "ThreadSanitizer needs the sources of the standard library: rustup component add \
             rust-src --toolchain {TOOLCHAIN}"
        );
    }
    Ok(())
}
