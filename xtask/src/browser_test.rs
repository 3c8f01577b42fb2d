//! `cargo xtask browser-test`: the program's web page in headless Chromium.
//!
//! `xtask/browser-test/test.mjs` drives the browser with playwright-core, which npm installs below
//! `target/`. Without Chromium, Node or npm the test is skipped with a line that says so.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::check::{FailedCheck, built_trainer, find, run_cargo};
use crate::say::say;

/// What the test consists of, beside the program.
const FILES: [&str; 6] =
    ["package.json", "package-lock.json", "program.mjs", "test.mjs", "soak.mjs", "cost.mjs"];

/// Names of Chromium.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

#[derive(Args)]
pub(crate) struct BrowserTest {
    /// Write screenshots of every view, 1280 and 390 pixels wide, into this directory
    #[arg(long, value_name = "DIR")]
    screenshots: Option<PathBuf>,
    /// Open, reload and close pages for this time instead of the test, which does so for 20 seconds: what
    /// serves them must not grow, and the run must not lose steps
    #[arg(long, value_name = "MINUTES")]
    soak: Option<f64>,
    /// Measure what an open page costs the run that it shows instead of the test, in this many pairs of 20
    /// seconds with and without the page; wants a machine that does nothing else
    #[arg(long, value_name = "PAIRS", conflicts_with = "soak")]
    cost: Option<NonZeroU32>,
}

impl BrowserTest {
    /// Builds the program of the workspace at `root` and tests its page.
    ///
    /// # Errors
    /// [`FailedCheck`] if the page or the build fails; otherwise a program that cannot be started.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        let [browser, node, npm] = [find(&BROWSERS), find(&["node"]), find(&["npm"])];
        let (Some(browser), Some(node), Some(npm)) = (browser, node, npm) else {
            say(
                "browser-test: skipped: it needs Chromium, Node and npm; on Debian, `apt-get install \
                 chromium nodejs npm` installs them",
            );
            return Ok(());
        };
        // As `cargo test --workspace` has built it, which other features would build again.
        run_cargo(root, &["test", "--workspace", "--test", "e2e", "--no-run"], &[])?;
        let place = root.join("target/browser-test");
        fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
        for name in FILES {
            let from = root.join("xtask/browser-test").join(name);
            let text = gan_files::read(&from).with_context(|| from.display().to_string())?;
            gan_files::write(&place.join(name), &text)
                .with_context(|| place.display().to_string())?;
        }
        let mut install = Command::new(npm);
        install.args(["ci", "--silent", "--no-audit", "--no-fund"]);
        if let Err(error) = succeed(&mut install, &place) {
            say(format_args!("browser-test: skipped: playwright-core is not to be had: {error:#}"));
            return Ok(());
        }
        let mut test = Command::new(node);
        test.arg(if self.cost.is_some() { "cost.mjs" } else { "test.mjs" });
        test.env("CHROMIUM", browser).env("WEIGHTS", root.join("assets/weights"));
        test.env("PROGRAM", built_trainer(root, "debug"));
        if let Some(directory) = &self.screenshots {
            test.env("SCREENSHOTS", std::path::absolute(directory)?);
        }
        if let Some(minutes) = self.soak {
            test.env("SOAK", minutes.to_string());
        }
        if let Some(pairs) = self.cost {
            test.env("PAIRS", pairs.to_string());
        }
        succeed(&mut test, &place)
    }
}

/// Runs a program in a directory.
fn succeed(command: &mut Command, directory: &Path) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.current_dir(directory).status();
    let status = status.with_context(|| format!("starting {name}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(FailedCheck(format!("browser-test: {name} failed, {status}")).into()),
    }
}
