//! `cargo xtask torture`: attacks the trainer, by the long form of its end-to-end test `torture`.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::check::run_cargo;

/// Options of `torture`.
#[derive(Args)]
pub(crate) struct Torture {
    /// Begin no further run after this time
    #[arg(long, value_name = "N", default_value_t = 5)]
    minutes: u64,
    /// Seed of what happens to the runs
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl Torture {
    /// Builds the trainer of the workspace at `root`, and disturbs its runs.
    ///
    /// # Errors
    /// [`FailedCheck`](crate::check::FailedCheck) if a run differs from an undisturbed one.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        let test = ["--ignored", "--exact", "torture::long", "--nocapture"];
        let args = [&["test", "--workspace", "--test", "e2e", "--"][..], &test].concat();
        let (minutes, seed) = (self.minutes.to_string(), self.seed.to_string());
        run_cargo(root, &args, &[("TORTURE_MINUTES", &minutes), ("TORTURE_SEED", &seed)])
    }
}
