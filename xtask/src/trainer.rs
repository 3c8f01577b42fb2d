//! The trainer in release mode, whose benchmarks tasks run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::check::built_trainer;

/// The trainer, built in release mode.
pub(crate) struct Trainer {
    program: PathBuf,
}

impl Trainer {
    pub(crate) fn build(root: &Path) -> Result<Self> {
        let status = cargo(root).args(["build", "--release", "-p", "trainer"]).status()?;
        ensure!(status.success(), "building the trainer failed");
        Ok(Self { program: built_trainer(root, "release") })
    }

    /// The built program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The instruction sets that the machine has and the kernels are written for, the widest first.
    pub(crate) fn instruction_sets(&self) -> Result<Vec<String>> {
        let mut command = Command::new(&self.program);
        let command = command.args(["bench", "--recipe", "mlp-small", "--steps", "1", "--json"]);
        let report: Value = serde_json::from_str(&output(command)?)?;
        let sets =
            report["instruction_sets"].as_array().context("bench names no instruction set")?;
        // Code without vectors takes minutes.
        let sets = sets.iter().rev().filter_map(Value::as_str).filter(|set| *set != "scalar");
        let sets: Vec<_> = sets.map(String::from).collect();
        ensure!(!sets.is_empty(), "this processor has no vector instructions to time");
        Ok(sets)
    }

    pub(crate) fn report(
        &self,
        case: (&str, usize, usize),
        set: &str,
        flags: &[&str],
    ) -> Result<Value> {
        let text = self.bench(case, set, &[flags, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("bench printed {text:?}"))
    }

    pub(crate) fn bench(
        &self,
        (recipe, batch, steps): (&str, usize, usize),
        set: &str,
        flags: &[&str],
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.env("GAN_KERNELS_ISA", set).args(["bench", "--recipe", recipe]);
        command.args(["--batch-size", &batch.to_string(), "--steps", &steps.to_string()]);
        output(command.args(flags)).with_context(|| format!("bench of {recipe}"))
    }
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().context("starting the trainer")?;
    ensure!(output.status.success(), "the trainer failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}
