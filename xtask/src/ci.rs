//! `cargo xtask ci`: every check of the workspace, the cheapest first.
//!
//! The run ends at the first check that fails. Each check's output follows a line with its command
//! and precedes a line with its time.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::check::{cargo_succeeds, run_cargo};
use crate::say::say;
use crate::tidy;

/// One check of the workspace.
enum Check {
    /// [`tidy::run`], in this process.
    Tidy,
    /// [`deny`], where the tool is installed.
    Deny,
    /// A command of cargo with these arguments and this environment.
    Cargo { args: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
}

/// The checks, the cheapest first.
const CHECKS: [Check; 12] = [
    cargo(&["fmt", "--all", "--check"]),
    Check::Tidy,
    Check::Deny,
    // With the features that the tests leave out.
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "trainer/hub,trainer/parquet",
        "--",
        "-D",
        "warnings",
    ]),
    Check::Cargo {
        args: &["doc", "--workspace", "--no-deps"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    cargo(&["xtask", "package", "--quick"]),
    cargo(&["test", "--workspace"]),
    cargo(&["test", "--package", "gan-data", "--features", "parquet", "--lib", "shards"]),
    Check::Cargo {
        args: &["test", "--profile", "checked", "--package", "gan-kernels"],
        env: &[("GAN_KERNELS_CHECKED", "1")],
    },
    cargo(&["xtask", "browser-test"]),
    cargo(&["xtask", "cluster-test"]),
    cargo(&["xtask", "downstream"]),
];

const fn cargo(args: &'static [&'static str]) -> Check {
    Check::Cargo { args, env: &[] }
}

/// Runs the checks on the workspace at `root`, reporting as it goes.
///
/// # Errors
/// [`FailedCheck`](crate::check::FailedCheck) of the first check that fails, or a check that cannot be started.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    for check in &CHECKS {
        say(format_args!("ci: {}", check.command_line()));
        let start = Instant::now();
        check.run(root)?;
        say(format_args!("ci: passed in {:.1} s", start.elapsed().as_secs_f64()));
    }
    let seconds = start.elapsed().as_secs_f64();
    say(format_args!("ci: all {} checks passed in {seconds:.1} s", CHECKS.len()));
    Ok(())
}

impl Check {
    /// The command that runs the check alone.
    fn command_line(&self) -> String {
        match self {
            Self::Tidy => "cargo xtask tidy".to_owned(),
            Self::Deny => "cargo deny check".to_owned(),
            Self::Cargo { args, env } => {
                let env: String = env.iter().map(|(k, v)| format!("{k}='{v}' ")).collect();
                format!("{env}cargo {}", args.join(" "))
            }
        }
    }

    fn run(&self, root: &Path) -> Result<()> {
        match self {
            Self::Tidy => tidy::run(root).map(say),
            Self::Deny => deny(root),
            Self::Cargo { args, env } => run_cargo(root, args, env),
        }
    }
}

/// Checks licences, sources and known vulnerabilities of the dependencies by `deny.toml`.
///
/// What is not to be had is skipped with a line that says so: the tool, and without a network the
/// database of vulnerabilities.
fn deny(root: &Path) -> Result<()> {
    if !cargo_succeeds(root, &["deny", "--version"])? {
        say("ci: skipped: no cargo-deny; `cargo install cargo-deny --locked` installs it");
        return Ok(());
    }
    run_cargo(root, &["deny", "check", "licenses", "bans", "sources"], &[])?;
    if !cargo_succeeds(root, &["deny", "fetch", "db"])? {
        say("ci: advisories skipped: their database cannot be downloaded");
        return Ok(());
    }
    run_cargo(root, &["deny", "check", "advisories"], &[])
}
