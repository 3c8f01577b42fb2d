//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, each for a number of executions.
//!
//! They need nightly Rust and cargo-fuzz. An input that fails is kept in `fuzz/regressions/TARGET`,
//! where the test `fuzz` reads it from then on; what a target learns stays in `fuzz/corpus/TARGET`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::check::{FailedCheck, copy_lock};
use crate::say::say;

/// What no input may take: 1 s, which the sanitizer and a busy machine make 5 s; 1 GiB in one piece;
/// 2 GiB with the fuzzer's own memory.
const LIMITS: [&str; 3] = ["-timeout=5", "-malloc_limit_mb=1024", "-rss_limit_mb=2048"];

/// Networks may be as large as on a machine of 64 MiB, which takes milliseconds to build. Errors do
/// not record where they come from, which takes longer than most inputs.
const ENVIRONMENT: [(&str, &str); 2] =
    [("CANDLE_GAN_MEMORY", "67108864"), ("RUST_LIB_BACKTRACE", "0")];

/// Where temporary files are in memory.
const MEMORY_FILES: &str = "/dev/shm";

/// Options of `fuzz`.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Run this target only
    target: Option<String>,
    /// Executions of each target
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    runs: u64,
}

impl Fuzz {
    /// Runs the targets of the workspace at `root`, under AddressSanitizer.
    ///
    /// # Errors
    /// [`FailedCheck`] if an input fails, or the targets cannot be built; otherwise files that cannot
    /// be read or written.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        let directory = root.join("fuzz");
        copy_lock(root, &directory)?;
        let targets = targets(&directory.join("seeds"))?;
        let is_chosen = |target: &&String| self.target.as_ref().is_none_or(|only| only == *target);
        let chosen: Vec<_> = targets.iter().filter(is_chosen).collect();
        ensure!(!chosen.is_empty(), "no such target; there are {}", targets.join(", "));
        chosen.into_iter().try_for_each(|target| self.run_target(root, target))
    }

    fn run_target(&self, root: &Path, target: &str) -> Result<()> {
        let [corpus, seeds, regressions] = ["corpus", "seeds", "regressions"]
            .map(|directory| root.join("fuzz").join(directory).join(target));
        for directory in [&corpus, &regressions] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "fuzz", "run", "-O", "--sanitizer", "address"]);
        command.arg("--target-dir").arg(root.join("target/fuzz")).arg(target);
        command.args([&corpus, &seeds, &regressions]).arg("--").args(LIMITS);
        command.arg(format!("-artifact_prefix={}/", regressions.display()));
        command.arg(format!("-runs={}", self.runs)).arg("-detect_leaks=0");
        command.envs(ENVIRONMENT).current_dir(root);
        if Path::new(MEMORY_FILES).is_dir() {
            command.env("TMPDIR", MEMORY_FILES);
        }
        say(format_args!("fuzz: {target}"));
        let status = command.status().context("starting rustup")?;
        if status.success() {
            return Ok(());
        }
        Err(FailedCheck(format!("the fuzz target {target} failed, {status}")).into())
    }
}

/// The names of the targets: each has a directory of seeds.
fn targets(seeds: &Path) -> Result<Vec<String>> {
    let context = || seeds.display().to_string();
    let mut targets = Vec::new();
    for entry in fs::read_dir(seeds).with_context(context)? {
        targets.push(entry.with_context(context)?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    Ok(targets)
}
