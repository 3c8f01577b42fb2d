//! `cargo xtask bench --instructions`: counts the instructions of recipes' training steps.
//!
//! Unlike times, counts are the same whatever else the machine does. Valgrind knows no AVX-512, so the
//! kernels are held to AVX2.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::check::FailedCheck;
use crate::say::say;
use crate::trainer::Trainer;

/// The steps to count: recipe, image and batch size. Few images, because the programs run fifty times
/// slower.
const CASES: [(&str, &str, usize); 10] = [
    ("default", "1x28x28", 4),
    ("conditional", "1x28x28", 4),
    ("garments", "1x28x28", 4),
    ("sprites", "3x32x32", 2),
    ("icons", "3x64x64", 2),
    ("dcgan", "1x28x28", 2),
    ("ezgan", "1x28x28", 2),
    ("mlp", "1x28x28", 16),
    ("mlp-bn", "1x28x28", 16),
    ("mlp-small", "1x28x28", 16),
];
/// A count may be this much larger than the table's.
const TOLERANCE: f64 = 1.02;
/// The table, from the workspace's directory.
const TABLE: &str = "docs/instructions.md";
/// What precedes the table's rows.
const HEAD: &str = "\
# Instructions of a training step

`cargo xtask bench --instructions` counts them under `valgrind --tool=callgrind`, with AVX2 and one thread,
and fails if a count has grown by more than 2%. `--update` writes this file. Counts are the difference of runs
of one step and of two, so that set-up does not count.

| recipe | image | batch | millions |
|---|---|---|---|
";

/// Counts every step and compares the counts with the table, or writes the table.
///
/// # Errors
/// [`FailedCheck`] if a count has grown; a program that fails; a table that cannot be read or written.
pub(crate) fn run(root: &Path, update: bool) -> Result<String> {
    if cfg!(not(target_arch = "x86_64")) || !valgrind_runs() {
        let how = "`apt install valgrind` or your system's like installs it, on x86-64";
        return Ok(format!("bench: skipped: no valgrind; {how}"));
    }
    let path = root.join(TABLE);
    let context = || path.display().to_string();
    let trainer = Trainer::build(root)?;
    let mut counts = Vec::new();
    for case in CASES {
        let count = millions(&trainer, case)?;
        say(format_args!("{count:9.1} million instructions  {}", case.0));
        counts.push(count);
    }
    if update {
        gan_files::write(&path, table(&counts)?.as_bytes()).with_context(context)?;
        return Ok(format!("wrote {}", path.display()));
    }
    let text = gan_files::read_to_string(&path, gan_files::SETTINGS_LIMIT).with_context(context)?;
    compare(&text, &counts).with_context(context)
}

fn valgrind_runs() -> bool {
    let quiet =
        |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new("valgrind").arg("--version")).is_ok_and(|status| status.success())
}

/// Millions of instructions of a step.
fn millions(trainer: &Trainer, case: (&str, &str, usize)) -> Result<f64> {
    let (one, two) = (count(trainer, case, 1)?, count(trainer, case, 2)?);
    ensure!(two > one, "{}: {one} instructions with one step, {two} with two", case.0);
    Ok((two - one) as f64 / 1e6)
}

/// Instructions of a run of the trainer's benchmark.
fn count(
    trainer: &Trainer,
    (recipe, image, batch): (&str, &str, usize),
    steps: usize,
) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(trainer.program()).args(["bench", "--threads", "1", "--untimed"]);
    command.args(["--recipe", recipe, "--image", image, "--batch-size", &batch.to_string()]);
    command.args(["--steps", &steps.to_string()]).env("GAN_KERNELS_ISA", "avx2");
    let output = command.output().context("starting valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "counting {recipe}: {text}");
    collected(&text).with_context(|| format!("counting {recipe}: no count in {text:?}"))
}

/// The count that callgrind prints at its end.
fn collected(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// The document with these counts, in the order of [`CASES`].
fn table(counts: &[f64]) -> Result<String> {
    let mut text = HEAD.to_string();
    for ((recipe, image, batch), count) in CASES.iter().zip(counts) {
        writeln!(text, "| {recipe} | {image} | {batch} | {count:.1} |")?;
    }
    Ok(text)
}

/// The count of a recipe in the document.
fn known(text: &str, (recipe, image, batch): (&str, &str, usize)) -> Option<f64> {
    let start = format!("| {recipe} | {image} | {batch} | ");
    let rest = text.lines().find_map(|line| line.strip_prefix(&start))?;
    rest.trim_end_matches([' ', '|']).parse().ok()
}

/// Compares counts with those of the document.
fn compare(text: &str, counts: &[f64]) -> Result<String> {
    let mut grown = Vec::new();
    let mut shrunk = false;
    for (case, count) in CASES.iter().zip(counts) {
        let Some(before) = known(text, *case) else {
            bail!("no row of {}; `cargo xtask bench --instructions --update` writes it", case.0);
        };
        if *count > TOLERANCE * before {
            grown.push(format!("{} from {before:.1} to {count:.1} million", case.0));
        }
        shrunk |= *count * TOLERANCE < before;
    }
    if !grown.is_empty() {
        let grown = grown.join(", ");
        let how = "find out why, or accept it with `cargo xtask bench --instructions --update`";
        return Err(FailedCheck(format!("a step's instructions have grown: {grown}; {how}")).into());
    }
    let hint = if shrunk { "; some have shrunk: `--update` keeps that" } else { "" };
    Ok(format!("the instructions of all {} recipes are at most the table's{hint}", CASES.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_compared_with_the_table_of_the_same_cases() -> Result<()> {
        let counts = [100.0; CASES.len()];
        let text = table(&counts)?;
        assert_eq!(compare(&text, &counts)?.split(';').count(), 1);
        let mut more = counts;
        more[2] = 101.9;
        compare(&text, &more)?;
        more[2] = 102.1;
        let error = compare(&text, &more).expect_err("grown");
        assert!(error.is::<FailedCheck>());
        let grown = format!("{} from 100.0 to 102.1 million", CASES[2].0);
        assert!(error.to_string().contains(&grown), "{error}");
        more[2] = 90.0;
        assert!(compare(&text, &more)?.contains("some have shrunk"));
        let error = compare(HEAD, &counts).expect_err("no rows").to_string();
        assert!(error.contains("no row of default") && error.contains("--update"), "{error}");
        Ok(())
    }

    #[test]
    fn callgrind_s_count_is_found() {
        let text = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(collected(text), Some(1_234_567));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
