//! `cargo xtask bench`: times the training step of every recipe and writes the tables of
//! `docs/benchmarks.md`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::say::say;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::instructions;
use crate::trainer::Trainer;

/// The steps to time: recipe, batch size, and steps per round.
const CASES: [(&str, usize, usize); 5] = [
    ("dcgan", 128, 8),
    ("dcgan", 256, 5),
    ("mlp", 128, 40),
    ("mlp-small", 100, 100),
    ("default", 32, 100),
];
/// The recipes whose layers are timed one by one.
const BY_LAYER: [(&str, usize, usize); 3] =
    [("dcgan", 128, 10), ("mlp", 128, 50), ("default", 32, 100)];
/// The lines before and after the tables.
const MARKS: (&str, &str) = ("<!-- cargo xtask bench -->\n", "<!-- end -->\n");

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Rounds through all cases; the tables hold medians of the rounds.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Count each step's instructions instead, and fail if they are more than in docs/instructions.md.
    #[arg(long, conflicts_with = "rounds")]
    instructions: bool,
    /// Write the counts to docs/instructions.md.
    #[arg(long, requires = "instructions")]
    update: bool,
}

impl Bench {
    /// Times everything in release mode and writes the tables, or counts instructions.
    ///
    /// # Errors
    /// A program fails; a document is missing or lacks its marks; counts have grown.
    pub(crate) fn run(&self, root: &Path) -> Result<String> {
        if self.instructions {
            return instructions::run(root, self.update);
        }
        ensure!(self.rounds > 0, "--rounds 0: at least 1 is needed");
        let path = root.join("docs/benchmarks.md");
        let context = || path.display().to_string();
        let text =
            gan_files::read_to_string(&path, gan_files::SETTINGS_LIMIT).with_context(context)?;
        let (before, rest) = text
            .split_once(MARKS.0)
            .with_context(|| format!("{}: no line {:?}", path.display(), MARKS.0))?;
        let (_, after) = rest
            .split_once(MARKS.1)
            .with_context(|| format!("{}: no line {:?}", path.display(), MARKS.1))?;
        let tables = self.tables(root)?;
        let text = format!("{before}{}{tables}{}{after}", MARKS.0, MARKS.1);
        gan_files::write(&path, text.as_bytes()).with_context(context)?;
        Ok(format!("wrote {}", path.display()))
    }

    fn tables(&self, root: &Path) -> Result<String> {
        let trainer = Trainer::build(root)?;
        let sets = trainer.instruction_sets()?;
        let mut reports = vec![Vec::new(); sets.len() * CASES.len()];
        // Every case in every round, so that a slow minute of the machine affects all cases alike.
        for round in 1..=self.rounds {
            say(format_args!("round {round} of {}", self.rounds));
            for (i, reports) in reports.iter_mut().enumerate() {
                let (case, set) = (CASES[i / sets.len()], &sets[i % sets.len()]);
                reports.push(trainer.report(case, set, &[])?);
            }
        }
        say("candle's own operators");
        let mut stock = Vec::new();
        for (recipe, batch, _) in CASES {
            stock.push(trainer.report((recipe, batch, 1), &sets[0], &["--operators", "candle"])?);
        }
        let mut text = format!(
            "\n{}, {} threads, {}, release build, median of {} rounds.\n\n\
             | recipe | batch | instructions | ms/step | images/s | GFLOP/s | sgemm | of sgemm | peak MiB | candle's operators, one step, images/s |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
            today()?,
            reports[0][0]["threads"],
            processor(),
            self.rounds
        );
        for (reports, stock) in reports.chunks_exact(sets.len()).zip(&stock) {
            for reports in reports {
                text += &row(reports, stock)?;
            }
        }
        for case in BY_LAYER {
            say(format_args!("layers of {}", case.0));
            text += &format!("\n{}, batch {}, ms/step in each part:\n\n", case.0, case.1);
            text += "| ms | part |\n|---|---|\n";
            for line in trainer.bench(case, &sets[0], &["--layers"])?.lines() {
                if let Some((ms, part)) = line.split_once(" ms  ") {
                    text += &format!("| {} | {} |\n", ms.trim(), part.replace('"', "`"));
                }
            }
        }
        Ok(text + "\n")
    }
}

/// A row of the table: the medians of a case's reports, and the same case on candle's operators.
fn row(reports: &[Value], stock: &Value) -> Result<String> {
    let median = |name: &str| -> Result<f64> {
        let mut values = Vec::new();
        for report in reports {
            values.push(report[name].as_f64().with_context(|| format!("no {name} in {report}"))?);
        }
        values.sort_by(f64::total_cmp);
        Ok(values[values.len() / 2])
    };
    let text = |name: &str| reports[0][name].as_str().unwrap_or("?").to_string();
    let (rate, sgemm) = (median("gflop_per_s")?, median("sgemm_gflop_per_s")?);
    Ok(format!(
        "| {} | {} | {} | {:.1} | {:.0} | {rate:.0} | {sgemm:.0} | {:.0}% | {:.0} | {:.0} |\n",
        text("recipe"),
        reports[0]["batch"],
        text("isa"),
        median("ms_per_step")?,
        median("images_per_s")?,
        100.0 * rate / sgemm,
        median("peak_rss_mib").unwrap_or(f64::NAN),
        stock["images_per_s"].as_f64().unwrap_or(f64::NAN),
    ))
}

/// The date, in universal time.
fn today() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}

/// The processor's name and, where the system reports them, its instruction sets that matter here.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let Some(name) = value("model name") else {
        return env::consts::ARCH.to_string();
    };
    let flags = value("flags").unwrap_or_default();
    let has = |flag: &str| flags.split(' ').any(|known| known == flag);
    let units: Vec<_> = [("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_bf16", "AMX")]
        .into_iter()
        .filter_map(|(flag, unit)| has(flag).then_some(unit))
        .collect();
    format!("{name} ({})", units.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_holds_medians() {
        let report = |ms: f64| {
            json!({"recipe": "mlp", "batch": 128, "isa": "avx2", "ms_per_step": ms,
                "images_per_s": 128e3 / ms, "gflop_per_s": 70.0, "sgemm_gflop_per_s": 140.0,
                "peak_rss_mib": 100.0})
        };
        let row = row(&[report(50.0), report(10.0), report(20.0)], &json!({"images_per_s": 33.4}));
        let want = "| mlp | 128 | avx2 | 20.0 | 6400 | 70 | 140 | 50% | 100 | 33 |\n";
        assert_eq!(row.expect("all fields"), want);
        let error = super::row(&[json!({})], &json!({})).expect_err("no fields").to_string();
        assert!(error.contains("no gflop_per_s"), "{error}");
    }
}
