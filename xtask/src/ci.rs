//! `cargo xtask ci`: every check of the workspace, the cheapest first.
//!
//! The run ends at the first check that fails. Each check's output follows a line with its command
//! and precedes a line with its time.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::check::FailedCheck;
use crate::tidy;

/// One check of the workspace.
enum Check {
    /// [`tidy::run`], in this process.
    Tidy,
    /// A command of cargo with these arguments and this environment.
    Cargo { args: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
}

/// The checks, the cheapest first.
const CHECKS: [Check; 5] = [
    cargo(&["fmt", "--all", "--check"]),
    Check::Tidy,
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Check::Cargo {
        args: &["doc", "--workspace", "--no-deps"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    cargo(&["test", "--workspace"]),
];

const fn cargo(args: &'static [&'static str]) -> Check {
    Check::Cargo { args, env: &[] }
}

/// Runs the checks on the workspace at `root`, reporting as it goes.
///
/// # Errors
/// [`FailedCheck`] of the first check that fails, or a check that cannot be started.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    for check in &CHECKS {
        println!("ci: {}", check.command_line());
        let start = Instant::now();
        check.run(root)?;
        println!("ci: passed in {:.1} s", start.elapsed().as_secs_f64());
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("ci: all {} checks passed in {seconds:.1} s", CHECKS.len());
    Ok(())
}

impl Check {
    /// The command that runs the check alone.
    fn command_line(&self) -> String {
        match self {
            Self::Tidy => "cargo xtask tidy".to_owned(),
            Self::Cargo { args, env } => {
                let env: String = env.iter().map(|(k, v)| format!("{k}='{v}' ")).collect();
                format!("{env}cargo {}", args.join(" "))
            }
        }
    }

    fn run(&self, root: &Path) -> Result<()> {
        match self {
            Self::Tidy => tidy::run(root).map(|report| println!("{report}")),
            Self::Cargo { args, env } => run_cargo(root, args, env),
        }
    }
}

/// Runs cargo in the workspace, with this program's output streams.
fn run_cargo(root: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let program = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let status = Command::new(&program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    if status.success() {
        return Ok(());
    }
    let end = match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    };
    Err(FailedCheck(format!("{} failed with {end}", args[0])).into())
}
