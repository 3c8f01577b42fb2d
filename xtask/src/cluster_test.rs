//! `cargo xtask cluster-test`: training on two hosts, which are two network namespaces of this machine.
//!
//! Runs on two and four ranks must have the bytes of a run by one process. Then a random rank is
//! killed at a random moment: the others must end within seconds, with a line that names it, and the
//! run must resume to the same bytes on any number of ranks. Without root, `ip` or Open MPI the test
//! is skipped with a line that says so.

mod hosts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::check::{FailedCheck, built_trainer, run_cargo};
use crate::say::say;
use hosts::{Ended, Hosts};

/// The run: its number of steps and what else decides it.
const RUN: &str = "--digit 5 --recipe default --micro-batches 4 --steps 40 --set checkpoint_every=10 \
                   --set sample_every=20 --set measure_every=0";

/// Numbers of ranks, of which half are on each host.
const RANKS: [usize; 2] = [2, 4];

/// Time within which all ranks must end after one is killed.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Times that a moment is drawn for one kill: a run may be over before.
const TRIES: usize = 20;

#[derive(Args)]
pub(crate) struct ClusterTest {
    /// Kill a random rank in this many runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    kills: usize,
    /// Seed of the moments and the ranks
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl ClusterTest {
    /// Builds the trainer of the workspace at `root` with MPI, and trains on two hosts.
    ///
    /// # Errors
    /// [`FailedCheck`] if a run differs from that of one process, or does not end as it must.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        if let Some(missing) = hosts::missing() {
            say(format_args!(
                "cluster-test: skipped: it needs {missing}; on Debian, `apt-get install \
                 libopenmpi-dev openmpi-bin libclang-dev iproute2` as root installs what it needs"
            ));
            return Ok(());
        }
        // With the features that `cargo test --workspace` has built dependencies with.
        let build =
            ["test", "--workspace", "--features", "trainer/mpi", "--test", "e2e", "--no-run"];
        run_cargo(root, &build, &[])?;
        let place = root.join("target/cluster-test");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
        // Later builds leave a copy alone.
        let program = place.join("candle-gan");
        fs::copy(built_trainer(root, "debug"), &program).context("copying the program")?;
        let Some(hosts) = Hosts::make(&place)? else {
            say("cluster-test: skipped: this machine lets nobody make network namespaces");
            return Ok(());
        };
        let mut test = Test { hosts, program, place, random: self.seed, times: Vec::new() };
        test.compare()?;
        (1..=self.kills).try_for_each(|number| test.kill(number))
    }
}

struct Test {
    hosts: Hosts,
    program: PathBuf,
    place: PathBuf,
    /// The state of the random numbers.
    random: u64,
    /// The time of a run that nobody disturbs, for each of [`RANKS`].
    times: Vec<Duration>,
}

impl Test {
    /// Compares runs of several ranks with that of one process.
    fn compare(&mut self) -> Result<()> {
        let ended = self.train(1, &format!("{RUN} --out alone"))?.end()?;
        ensure!(ended.success, FailedCheck(format!("one process failed: {}", ended.output)));
        for ranks in RANKS {
            let start = Instant::now();
            let ended = self.train(ranks, &format!("{RUN} --out ranks-{ranks}"))?.end()?;
            ensure!(ended.success, FailedCheck(format!("{ranks} ranks failed: {}", ended.output)));
            self.times.push(start.elapsed());
            self.require_same(&format!("ranks-{ranks}"), &format!("{ranks} ranks"))?;
            say(format_args!(
                "cluster-test: {ranks} ranks on two hosts have the bytes of one process"
            ));
        }
        Ok(())
    }

    /// Kills a random rank at a random moment, and resumes the run.
    fn kill(&mut self, number: usize) -> Result<()> {
        let out = format!("killed-{number}");
        for _ in 0..TRIES {
            let _ = fs::remove_dir_all(self.place.join(&out));
            let index = self.below(RANKS.len());
            let ranks = RANKS[index];
            let rank = self.below(ranks);
            let moment = self.times[index].mul_f64(self.below(1000) as f64 / 1000.0);
            let mut running = self.train(ranks, &format!("{RUN} --out {out}"))?;
            std::thread::sleep(moment);
            if !running.kill(&self.program, rank)? {
                // It was over, or had not begun.
                running.end()?;
                continue;
            }
            let start = Instant::now();
            let ended = running.end()?;
            let seconds = start.elapsed().as_secs_f64();
            let what = format!("rank {rank} of {ranks} killed after {:.1} s", moment.as_secs_f64());
            require_clean(&ended, rank, start.elapsed(), &what)?;
            let step = self.newest_checkpoint(&out);
            let resumed = self.resume(&out, &what)?;
            self.require_same(&out, &what)?;
            say(format_args!(
                "cluster-test: {number}: {what}, all ended in {seconds:.1} s; resumed from step {step} on \
                 {resumed}, the same bytes"
            ));
            return Ok(());
        }
        Err(FailedCheck(format!("no run of {TRIES} could be killed")).into())
    }

    /// The step of a run's newest checkpoint, 0 where there is none.
    fn newest_checkpoint(&self, out: &str) -> u64 {
        let run = run_in(&self.place.join(out));
        let entries = run.and_then(|run| fs::read_dir(run.join("checkpoints")).ok());
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).max().unwrap_or(0)
    }

    /// Resumes a run on a random number of ranks, or begins it where it had not begun. Returns that
    /// number.
    fn resume(&mut self, out: &str, what: &str) -> Result<usize> {
        let ranks = [1, 2, 4][self.below(3)];
        let run = run_in(&self.place.join(out));
        let more = match &run {
            Some(run) => format!("--resume {}", run.display()),
            None => format!("{RUN} --out {out}"),
        };
        let ended = self.train(ranks, &more)?.end()?;
        let text = format!("{what}, then resumed on {ranks}: {}", ended.output);
        ensure!(ended.success, FailedCheck(text));
        Ok(ranks)
    }

    /// Starts training on so many ranks.
    fn train(&self, ranks: usize, arguments: &str) -> Result<hosts::Running> {
        let mut command = match ranks {
            1 => Command::new(&self.program),
            _ => self.hosts.launch(&self.program, ranks),
        };
        command
            .args(arguments.split_whitespace())
            .args(["--threads", "1"])
            .current_dir(&self.place);
        hosts::Running::start(command)
    }

    /// Checks that the last checkpoint of a run is that of one process.
    fn require_same(&self, out: &str, what: &str) -> Result<()> {
        for file in ["state.safetensors", "state.json"] {
            let [want, got] = ["alone", out].map(|out| -> Result<Vec<u8>> {
                let run =
                    run_in(&self.place.join(out)).with_context(|| format!("no run in {out}"))?;
                let path = run.join("checkpoints/000040").join(file);
                fs::read(&path).with_context(|| path.display().to_string())
            });
            ensure!(
                want? == got?,
                FailedCheck(format!("{what}: {file} is not that of one process"))
            );
        }
        Ok(())
    }

    /// A random number below `bound` (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// The only run in a directory, if it has a configuration.
fn run_in(out: &Path) -> Option<PathBuf> {
    let run = fs::read_dir(out).ok()?.next()?.ok()?.path();
    run.join("config.json").exists().then_some(run)
}

/// Checks that the ranks ended soon, with an error that names the one that was killed.
fn require_clean(ended: &Ended, rank: usize, time: Duration, what: &str) -> Result<()> {
    let is_named = ended.output.contains(&format!("rank {rank} "));
    let text = format!("{what}: ended after {:.1} s: {}", time.as_secs_f64(), ended.output);
    ensure!(!ended.success && is_named && time < AT_ONCE, FailedCheck(text));
    Ok(())
}
